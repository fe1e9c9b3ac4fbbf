"""What raises the reward of the chosen expert, measured on training rows alone."""
