"""The paper's protocol over four real tables: ranks, rivals, intervals."""
