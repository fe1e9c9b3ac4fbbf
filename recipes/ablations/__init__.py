"""Refits with other labels, less training data, and reworded prompts, over six real tables."""
