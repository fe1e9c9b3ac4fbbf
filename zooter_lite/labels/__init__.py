"""Rewards to soft labels: normalise, smooth by tag, diagnose. Pure numpy."""
