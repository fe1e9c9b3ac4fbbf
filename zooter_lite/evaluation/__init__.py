"""How good is a router: metrics, baselines, the report. numpy and faiss only."""
