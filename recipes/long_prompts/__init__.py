"""What is beyond the tokens that the encoder reads, and whether reading it pays."""
