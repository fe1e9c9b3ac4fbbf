"""Reward entropy against quality: Figure 3 of Lu et al. 2023."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.diagnostics import reward_entropy
from zooter_lite.measure.calibration import binned_means, equal_mass_bins
from zooter_lite.measure.metrics import (
    UNKNOWN,
    Array,
    Draws,
    Estimate,
    IntArray,
    estimate,
    reward_of,
)

BINS = 8


@dataclass(frozen=True)
class EntropyBin:
    """Queries of similar reward entropy.

    Attributes
    ----------
    low, high
        Smallest and largest entropy in the bin, in nats.
    count
        Number of queries.
    entropy, quality
        Means in the bin.
    quality_low, quality_high
        95% bootstrap interval of the mean quality.
    """

    low: float
    high: float
    count: int
    entropy: float
    quality: float
    quality_low: float
    quality_high: float


@dataclass(frozen=True)
class EntropyCurve:
    """Quality by reward entropy, and their rank correlation (Spearman's rho)."""

    bins: list[EntropyBin]
    spearman: Estimate


def entropy_curve(
    rewards: NDArray[np.floating], choices: NDArray[np.integer], draws: Draws, n_bins: int = BINS
) -> EntropyCurve:
    """Bin the queries by reward entropy and measure the router's choices in each bin.

    Entropy: of the softmax over the query's observed rewards, in nats. Quality: reward of the
    chosen expert minus the mean observed reward of the query. Part of the relation holds by
    construction: where all rewards are equal the entropy is highest and the quality is 0.

    Parameters
    ----------
    rewards
        (n, n_experts), NaN where not observed; rows whose chosen reward is NaN are left out.
    choices
        (n,) chosen expert.
    draws
        Resamples of the n rows.
    n_bins
        Bins of equal mass; queries of one entropy share a bin, so fewer may result.
    """
    values = np.asarray(rewards, dtype=np.float64)
    quality = reward_of(choices, values) - np.nanmean(values, axis=1)
    # equal rewards in another order may differ in the last bits of the sum
    entropy = np.where(np.isnan(quality), np.nan, np.round(reward_entropy(values), 9))
    if np.isnan(quality).all():
        return EntropyCurve([], UNKNOWN)
    bins = binned_means(entropy, quality, equal_mass_bins(entropy, n_bins), draws)
    return EntropyCurve([EntropyBin(*part) for part in bins], spearman(entropy, quality, draws))


def spearman(first: Array, second: Array, draws: Draws) -> Estimate:
    """Rank correlation of two columns (n,) with its interval; rows with a NaN are left out.

    Every resample is ranked anew, ties averaged. NaN where a column does not vary or no row
    is left.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    if not known.any():
        return UNKNOWN
    places = [np.unique(column[known], return_inverse=True)[1] for column in (first, second)]
    held = np.empty(len(known))
    resampled = np.empty(draws.n_resamples)
    for i in range(draws.n_resamples):
        for rows, counts in zip(draws.rows, draws.counts, strict=True):
            held[rows] = counts[i]
        resampled[i] = _correlation(held[known], *places)
    return estimate(_correlation(np.ones(int(known.sum())), *places), resampled)


def _correlation(counts: Array, first: IntArray, second: IntArray) -> float:
    """Correlation of the ranks of rows of which each is held `counts` (n,) times.

    The columns (n,) hold the position of each value among the distinct ones.
    """
    one, other = (_ranks(counts, places) - (counts.sum() + 1) / 2 for places in (first, second))
    scale = float(np.sqrt((counts * one) @ one * ((counts * other) @ other)))
    return float((counts * one) @ other) / scale if scale > 0 else float("nan")


def _ranks(counts: Array, places: IntArray) -> Array:
    """(n,) averaged rank of each row among the rows held, from 1."""
    held = np.bincount(places, weights=counts)
    return np.asarray((np.cumsum(held) - (held - 1) / 2)[places])
