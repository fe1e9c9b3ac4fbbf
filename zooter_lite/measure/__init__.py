"""Numbers with intervals: rewards, ranks, calibration, regret, costs. Pure numpy."""
