"""What the LiteLLM plugin costs, loses and keeps."""
