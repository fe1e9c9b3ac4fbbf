"""The router's graphs, and the gate that compares each with what was fitted."""
