"""From prompts and a pool of experts to a router: every command once, on a real LLM."""
