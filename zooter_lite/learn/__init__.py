"""Everything that trains: encoders, embeddings, heads, selection, export. torch lives here."""
