"""Fits and runs that are larger than one machine's comfort."""
