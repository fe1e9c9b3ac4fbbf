"""Talking to LLMs: who is asked, what was answered, what the answers are worth."""
