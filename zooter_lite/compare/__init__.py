"""What a router is compared with: baselines and rivals, on slices of tables."""
