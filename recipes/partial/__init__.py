"""Hidden rewards and new experts: what they cost and bring on the real tables."""
