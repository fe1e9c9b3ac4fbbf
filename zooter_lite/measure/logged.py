"""Rewards of a log of routed prompts, reweighted by the propensities of its choices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.measure.metrics import Array, Draws, Estimate, IntArray, estimate, ratio


@dataclass(frozen=True)
class Logged:
    """What a system would have earned on the rows of a log, by two estimators.

    Attributes
    ----------
    rows
        Rows with one reward and the propensity of its choice.
    agreed
        Those of them on which the system chooses the expert of the log; both estimates rest
        on them.
    inverse_propensity
        Self-normalised inverse propensity estimate of the mean reward (Swaminathan and
        Joachims 2015).
    doubly_robust
        Doubly robust estimate (Dudik, Langford and Li 2011), with the expert's mean reward in
        the query's subset of train for a model.
    """

    rows: int
    agreed: int
    inverse_propensity: Estimate
    doubly_robust: Estimate


def logged_means(
    rewards: NDArray[np.floating],
    propensities: Array,
    choices: IntArray,
    model: Array,
    draws: Draws,
) -> Logged | None:
    """Estimate the mean reward of the chosen experts on the rows with a propensity.

    Parameters
    ----------
    rewards
        (n, n_experts); rows with a propensity have one that is not NaN.
    propensities
        (n,) chance of the logged choice, NaN for rows that do not count.
    choices
        (n,) expert that the system chooses.
    model
        (n, n_experts) expected rewards, learned elsewhere.
    draws
        Resamples of the n rows.

    Returns
    -------
    None where no row has a propensity.
    """
    counted = ~np.isnan(propensities)
    if not counted.any():
        return None
    rows = np.arange(len(choices))
    own, expected = rewards[rows, choices].astype(np.float64), model[rows, choices]
    agreed = counted & ~np.isnan(own)
    weight = np.where(agreed, 1 / np.where(counted, propensities, 1.0), 0.0)
    earned = np.where(agreed, own, 0.0)
    robust = np.where(counted, expected + weight * (earned - np.where(agreed, expected, 0.0)), 0.0)
    terms = np.stack([weight * earned, weight, robust, counted], axis=1)
    sums = draws.whole_and_sums(terms.astype(np.float64)).sum(axis=1)
    by_weight, by_model = ratio(sums[:, 0], sums[:, 1]), ratio(sums[:, 2], sums[:, 3])
    return Logged(
        int(counted.sum()),
        int(agreed.sum()),
        *(estimate(float(values[0]), values[1:]) for values in (by_weight, by_model)),
    )
