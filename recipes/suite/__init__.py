"""The paper's protocol over six real tables: ranks, rivals, intervals."""
