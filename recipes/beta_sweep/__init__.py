"""How much of the label should come from the query's tags: the paper's beta sweep."""
