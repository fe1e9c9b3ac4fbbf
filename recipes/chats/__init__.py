"""Which turns of a chat should be routed."""
