"""Pocket experts: a demonstration reward table made by small programs that really ran."""
