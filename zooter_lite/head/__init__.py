"""Labels and embeddings to a head: cross-validation, prior, distillation, calibration."""
