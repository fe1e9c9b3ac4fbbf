"""What people read: terminal, model card, HTML page, pictures."""
