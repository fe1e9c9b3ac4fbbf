"""Do the probabilities mean what they say, and does sending only the sure queries pay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.measure.metrics import (
    UNKNOWN,
    Array,
    Draws,
    Estimate,
    IntArray,
    estimate,
    mean_estimates,
    micro_mean,
    ratio,
)

BINS = 10
COVERAGES = tuple(k / 20 for k in range(1, 21))


@dataclass(frozen=True)
class ReliabilityBin:
    """Queries of similar confidence: what was promised and what came.

    Attributes
    ----------
    low, high
        Smallest and largest confidence in the bin.
    count
        Number of queries.
    confidence, accuracy
        Mean probability and mean of the event.
    accuracy_low, accuracy_high
        95% bootstrap interval of the accuracy.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from frequencies.

    Attributes
    ----------
    ece
        Expected calibration error (Naeini et al. 2015), over bins of equal mass.
    noise
        The ECE that perfectly calibrated probabilities would show on average over as many
        queries, in the normal approximation: an ECE near it is no sign of miscalibration.
    brier
        Mean squared difference between probability and event (Brier 1950).
    bins
        Points of the reliability diagram, by rising confidence.
    """

    ece: Estimate
    noise: float
    brier: Estimate
    bins: list[ReliabilityBin]


@dataclass(frozen=True)
class SelectiveCurve:
    """Mean reward of the router's choice when it answers only the queries it is surest of.

    Attributes
    ----------
    coverage
        Share of the queries kept.
    reward, low, high
        Mean reward over those, with its 95% interval, the confidence threshold held fixed.
    overall
        Mean reward over all of them.
    """

    coverage: list[float]
    reward: list[float]
    low: list[float]
    high: list[float]
    overall: float


def best_share(choices: NDArray[np.integer], rewards: NDArray[np.floating]) -> Array:
    """(n,) the event that calibration is about: is the chosen expert a best one.

    Where k experts tie for the best observed reward each of them is it by 1/k, so that the
    events of all experts of a query sum to 1 as their probabilities do. NaN where the chosen
    expert's reward was not observed.

    Examples
    --------
    >>> best_share(np.array([0, 1]), np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.5]]))
    array([0.5, 0. ])
    """
    best = rewards == np.nanmax(rewards, axis=1, keepdims=True)
    rows = np.arange(len(rewards))
    share = best[rows, choices] / best.sum(axis=1)
    return np.asarray(np.where(np.isnan(rewards[rows, choices]), np.nan, share))


def calibration(confidence: Array, events: Array, draws: Draws, n_bins: int = BINS) -> Calibration:
    """Compare probabilities with what happened.

    The plug-in ECE is biased upwards: noise in a bin counts as miscalibration, and in a
    resample more so. Its interval is therefore the basic bootstrap one (Davison and Hinkley
    1997, section 5.2), 2 x value - quantiles of the resamples, cut at 0, and stretched to
    hold the value where the bias alone would push it out. On simulated tables of 800 queries
    it held the true error in 86 to 91 of 100, the percentile interval in 92 down to 3 as
    the error fell from 0.1 to 0.025. It reaches down to 0 too seldom where the probabilities
    are nearly perfect: there compare the value with `noise`.

    Parameters
    ----------
    confidence
        (n,) probability of the chosen expert.
    events
        (n,) in [0, 1], such as `best_share`; rows with NaN count nowhere.
    draws
        Resamples of the n rows.
    n_bins
        Bins of equal mass; queries of one confidence are never parted, so fewer may result.
    """
    known = ~np.isnan(events)
    if not known.any():
        return Calibration(UNKNOWN, float("nan"), UNKNOWN, [])
    confidence = confidence.astype(np.float64)
    places = equal_mass_bins(np.where(known, confidence, np.nan), n_bins)
    members = (places[:, None] == np.arange(places.max() + 1)).astype(np.float64)
    gaps = np.where(known, confidence - np.nan_to_num(events), 0.0)
    counts = draws.sums(members).sum(axis=1)
    off = draws.sums(members * gaps[:, None]).sum(axis=1)
    hits = draws.sums(members * np.nan_to_num(events)[:, None]).sum(axis=1)
    bins = []
    for place, accuracies in enumerate(ratio(hits, counts).T):
        inside, rows = confidence[places == place], int((places == place).sum())
        accuracy = estimate(float(events[places == place].mean()), accuracies)
        ends = (float(inside.min()), float(inside.max()), rows, float(inside.mean()))
        bins.append(ReliabilityBin(*ends, accuracy.value, accuracy.low, accuracy.high))
    return Calibration(
        ece=_basic(
            float(np.abs(members.T @ gaps).sum() / known.sum()),
            np.abs(off).sum(axis=1) / np.maximum(counts.sum(axis=1), 1),
        ),
        noise=_noise(members, confidence),
        brier=mean_estimates(np.where(known, gaps**2, np.nan)[:, None], draws)[0],
        bins=bins,
    )


def _noise(members: Array, confidence: Array) -> float:
    """Mean ECE if every event came with its probability: E|x| of a normal x in each bin."""
    deviations = np.sqrt(members.T @ (confidence * (1 - confidence)))
    return float(np.sqrt(2 / np.pi) * deviations.sum() / members.sum())


def equal_mass_bins(values: Array, n_bins: int) -> IntArray:
    """(n,) bin of each value, numbered from 0 without gaps, by quantiles; -1 for NaN.

    Equal values share a bin.

    Examples
    --------
    >>> equal_mass_bins(np.array([0.1, 0.9, 0.3, 0.9]), 2)
    array([0, 1, 0, 1])
    """
    known = ~np.isnan(values)
    edges = np.quantile(values[known], np.linspace(0, 1, n_bins + 1)[1:-1])
    # a value on an edge belongs above it, or the mass of ties at the top would be parted
    bins = np.searchsorted(np.unique(edges), values[known], side="right")
    places = np.full(len(values), -1, dtype=np.intp)
    places[known] = np.unique(bins, return_inverse=True)[1]
    return places


def _basic(value: float, resampled: Array) -> Estimate:
    """Attach the basic bootstrap interval of a statistic that is never negative."""
    around = estimate(value, resampled)
    low, high = 2 * value - around.high, 2 * value - around.low
    return Estimate(value, max(0.0, min(value, low)), max(value, high))


def selective_curve(
    confidence: Array, rewards: Array, draws: Draws, coverages: tuple[float, ...] = COVERAGES
) -> SelectiveCurve:
    """Keep the most confident share of the queries (El-Yaniv and Wiener 2010).

    Queries tied at the threshold are kept in equal part, so their order does not matter.

    Parameters
    ----------
    confidence
        (n,) probability of the chosen expert.
    rewards
        (n,) reward of the router's choice; rows with NaN are left out before anything else.
    draws
        Resamples of the n rows.
    coverages
        Shares to keep, each in (0, 1].
    """
    known = ~np.isnan(rewards)
    if not known.any():
        unknown = [float("nan")] * len(coverages)
        return SelectiveCurve(list(coverages), unknown, unknown, unknown, float("nan"))
    kept = np.stack([kept_weights(confidence, known, share) for share in coverages], axis=1)
    weighed = kept * np.nan_to_num(rewards)[:, None]
    resampled = ratio(draws.sums(weighed).sum(axis=1), draws.sums(kept).sum(axis=1))
    values = weighed.sum(axis=0) / kept.sum(axis=0)
    points = [estimate(float(v), column) for v, column in zip(values, resampled.T, strict=True)]
    return SelectiveCurve(
        coverage=list(coverages),
        reward=[point.value for point in points],
        low=[point.low for point in points],
        high=[point.high for point in points],
        overall=micro_mean(rewards),
    )


def kept_weights(scores: Array, known: NDArray[np.bool_], share: float) -> Array:
    """(n,) weight in [0, 1] with which each row belongs to the top `share` of the known rows.

    Rows tied at the threshold share what is left to fill.

    Examples
    --------
    >>> kept_weights(np.array([0.9, 0.5, 0.5, 0.1]), np.full(4, True), 0.5)
    array([1. , 0.5, 0.5, 0. ])
    """
    wanted = share * known.sum()
    descending = -np.sort(-scores[known])
    threshold = descending[min(len(descending), max(1, int(np.ceil(wanted - 1e-9)))) - 1]
    above, tied = known & (scores > threshold), known & (scores == threshold)
    part = (wanted - above.sum()) / tied.sum()
    return np.where(above, 1.0, np.where(tied, part, 0.0))
