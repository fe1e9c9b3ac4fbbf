"""The router at run time: directory format, text session, head, tags, decision. No torch."""
