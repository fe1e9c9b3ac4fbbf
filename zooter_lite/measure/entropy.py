"""Reward entropy against quality: Figure 3 of Lu et al. 2023."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.diagnostics import reward_entropy
from zooter_lite.measure.calibration import equal_mass_bins
from zooter_lite.measure.metrics import Draws, Estimate, estimate, mean_estimates, reward_of

Array = NDArray[np.float64]

BINS = 8
CHUNK = 2**21  # numbers held at a time while ranking resamples


@dataclass(frozen=True)
class EntropyBin:
    """Queries of similar reward entropy.

    Attributes
    ----------
    low, high
        Smallest and largest entropy in the bin, in nats.
    entropy, quality
        Means in the bin.
    quality_low, quality_high
        95% bootstrap interval of the mean quality.
    count
        Number of queries.
    """

    low: float
    high: float
    entropy: float
    quality: float
    quality_low: float
    quality_high: float
    count: int


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
        return EntropyCurve([], Estimate(float("nan"), float("nan"), float("nan")))
    places = equal_mass_bins(entropy, n_bins)
    columns = np.stack(
        [np.where(places == place, quality, np.nan) for place in range(places.max() + 1)], axis=1
    )
    bins = []
    for place, found in enumerate(mean_estimates(columns, draws)):
        inside = entropy[places == place]
        bins.append(
            EntropyBin(
                low=float(inside.min()),
                high=float(inside.max()),
                entropy=float(inside.mean()),
                quality=found.value,
                quality_low=found.low,
                quality_high=found.high,
                count=len(inside),
            )
        )
    return EntropyCurve(bins, spearman(entropy, quality, draws))


def spearman(first: Array, second: Array, draws: Draws) -> Estimate:
    """Rank correlation of two columns (n,) with its interval; rows with a NaN are left out.

    Every resample is ranked anew, ties averaged. NaN where a column does not vary or no row
    is left.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"))
    places = [np.unique(column[known], return_inverse=True)[1] for column in (first, second)]
    value = _correlation(np.ones((int(known.sum()), 1)), places)[0]
    resampled = [_correlation(counts, places) for counts in _chunks(draws, known)]
    return estimate(float(value), np.concatenate(resampled))


def _chunks(draws: Draws, known: NDArray[np.bool_]) -> Iterator[Array]:
    """(n_known, some resamples): how often each resample holds each known row."""
    step = max(1, CHUNK // len(known))
    for start in range(0, draws.n_resamples, step):
        part = slice(start, start + step)
        size = len(draws.counts[0][part])
        counts = np.empty((len(known), size))
        for rows, drawn in zip(draws.rows, draws.counts, strict=True):
            counts[rows] = drawn[part].T
        yield counts[known]


def _correlation(counts: Array, places: list[NDArray[np.intp]]) -> Array:
    """(n_resamples,) correlation of the ranks of rows held `counts` (n, n_resamples) times.

    `places` holds for each of the two columns (n,) the position of each value among the
    distinct ones.
    """
    middle = (counts.sum(axis=0) + 1) / 2
    one, other = (_ranks(counts, place) - middle for place in places)
    product = np.einsum("ij,ij,ij->j", counts, one, other)
    squares = [np.einsum("ij,ij,ij->j", counts, ranks, ranks) for ranks in (one, other)]
    scale = np.sqrt(squares[0] * squares[1])
    found = np.full_like(product, np.nan)
    return np.asarray(np.divide(product, scale, out=found, where=scale > 0))


def _ranks(counts: Array, place: NDArray[np.intp]) -> Array:
    """(n, n_resamples) averaged rank of each row among the rows held, from 1."""
    order = np.argsort(place, kind="stable")
    last = np.flatnonzero(np.append(np.diff(place[order]), 1))  # of each distinct value
    upto = np.cumsum(counts[order], axis=0)[last]
    held = np.diff(upto, axis=0, prepend=0)
    return np.asarray((upto - (held - 1) / 2)[place])
