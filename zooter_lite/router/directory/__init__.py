"""The router directory, format version 1: its layout and its typed config."""
