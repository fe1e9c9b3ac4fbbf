"""The same blocks through workers on a Ray cluster."""
