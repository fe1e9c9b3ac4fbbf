"""Talking to LLMs: who is asked, what was answered, what it cost."""
