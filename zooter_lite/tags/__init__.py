"""Where tags come from, and which queries and tags lie near a query."""
