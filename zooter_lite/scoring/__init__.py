"""What answers are worth: verifiers, reward models, judges, and rewards made of them."""
