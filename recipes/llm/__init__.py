"""A small LLM that two packages bring along, served over HTTP on this machine."""
