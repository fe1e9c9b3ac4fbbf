"""Fine-tuning in one process and in two: the same curve, and how long each takes."""
