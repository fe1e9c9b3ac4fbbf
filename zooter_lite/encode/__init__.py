"""Queries to embeddings: find an encoder, export it, embed by the exported graph, remember."""
