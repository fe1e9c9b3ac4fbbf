"""Routing files in bulk: inputs, pieces of them, workers, and jobs that survive a kill."""
