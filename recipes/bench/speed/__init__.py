"""Speed of routing, beside the peers, the raw session and the machine's own limit."""
