"""Do the probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zooter_lite.measure.metrics import Array, Draws, Estimate, IntArray, estimate, ratio

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from frequencies.

    Attributes
    ----------
    ece
        Expected calibration error (Naeini et al. 2015), over bins of equal mass.
    brier
        Mean squared difference between probability and event (Brier 1950).
    """

    ece: Estimate
    brier: Estimate


def calibration(confidence: Array, events: Array, draws: Draws, n_bins: int = BINS) -> Calibration:
    """Compare probabilities with what happened.

    The plug-in ECE is biased upwards: noise in a bin counts as miscalibration, and in a
    resample more so. Its interval is therefore the basic bootstrap one (Davison and Hinkley
    1997, section 5.2), 2 x value - quantiles of the resamples, cut at 0, and stretched to
    hold the value where the bias alone would push it out. On simulated tables of 800 queries
    it held the true error in 86 to 91 of 100; it reaches down to 0 too seldom where the
    probabilities are nearly perfect.

    Parameters
    ----------
    confidence
        (n,) probability of the chosen expert.
    events
        (n,) in [0, 1]: is the chosen expert a best one, 1/k where k tie. NaN counts nowhere.
    n_bins
        Bins of equal mass; queries of one confidence are never parted, so fewer may result.
    """
    known = ~np.isnan(events)
    gaps = confidence.astype(np.float64) - events
    places = equal_mass_bins(np.where(known, confidence, np.nan), n_bins)
    inside = places[:, None] == np.arange(places.max() + 1)
    off = draws.sums(inside * np.nan_to_num(gaps)[:, None]).sum(axis=1)
    rows = draws.sums(known.astype(np.float64)[:, None]).sum(axis=(1, 2))
    ece = estimate(ratio(np.abs(off).sum(axis=1), rows))
    low = float(np.clip(2 * ece.value - ece.high, 0.0, ece.value))
    high = max(ece.value, 2 * ece.value - ece.low)
    brier = estimate(draws.means(gaps[:, None] ** 2)[:, 0])
    return Calibration(Estimate(ece.value, low, high), brier)


def equal_mass_bins(values: Array, n_bins: int) -> IntArray:
    """(n,) bin of each value, numbered from 0 without gaps, by quantiles; -1 for NaN.

    Equal values share a bin.
    """
    known = ~np.isnan(values)
    places = np.full(len(values), -1, dtype=np.intp)
    if known.any():
        edges = np.quantile(values[known], np.linspace(0, 1, n_bins + 1)[1:-1])
        # a value on an edge belongs above it, or the mass of ties at the top would be parted
        bins = np.searchsorted(np.unique(edges), values[known], side="right")
        places[known] = np.unique(bins, return_inverse=True)[1]
    return places
