"""Predictions for RouterArena."""
