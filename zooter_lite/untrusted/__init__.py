"""What a router directory from a stranger may do: checked bytes, bounded memory and time."""
