"""Training the encoder itself towards the smoothed labels."""
