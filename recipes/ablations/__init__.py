"""Refits with other labels, less training data, and reworded prompts, over four real tables."""
