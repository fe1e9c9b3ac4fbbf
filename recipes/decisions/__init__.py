"""What decisions earn and cost on the real tables."""
