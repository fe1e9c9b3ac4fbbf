"""What a router is compared with: baselines, rivals, ablations, on slices of tables."""
