"""The temperature that turns a head's logits into calibrated probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.soft import harden

Array = NDArray[np.floating]


def calibration_temperature(logits: Array, rewards: Array) -> float:
    """Temperature that makes out-of-fold probabilities of "is the best expert" likeliest.

    Minimises the cross-entropy between softmax(logits / temperature) over the observed
    experts and the best observed expert, ties shared (temperature scaling, Guo et al.
    2017, with soft targets).
    """
    from scipy.optimize import minimize_scalar

    observed = ~np.isnan(rewards)
    target = np.nan_to_num(harden(rewards))
    masked = np.where(observed, logits, -np.inf)

    def loss(log_temperature: float) -> float:
        scaled = masked / np.exp(log_temperature)
        top = scaled.max(axis=1, keepdims=True)
        log_norm = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
        return float((log_norm - (target * np.where(observed, scaled, 0.0)).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=(-7.0, 7.0), method="bounded")
    return float(np.exp(found.x))
