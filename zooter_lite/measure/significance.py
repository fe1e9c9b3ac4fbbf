"""Is a difference more than noise: paired bootstrap, corrected for many comparisons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zooter_lite.measure.metrics import Array, Draws, Estimate, measured

LEVEL = 0.05  # of the Holm-corrected p below which a difference is called one
ROUNDING = 1e-12  # differences of means below it are none
SMALLEST = 1e-6  # p-value that the tail of a normal distribution is trusted for

Outcome = Literal["better", "worse", "unclear", "unknown"]


@dataclass(frozen=True)
class Gap:
    """Mean difference in reward between two systems, over all queries and paired by them.

    A reward that was not observed counts as measure/partial.py estimates it.

    Attributes
    ----------
    p
        Two-sided bootstrap p-value; NaN where one of the two was never observed.
    p_holm
        The same after Holm's correction for all the comparisons made together.
    macro
        Unweighted mean of the subsets' differences.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float
    macro: Estimate
    subsets: dict[str, float]

    @property
    def outcome(self) -> Outcome:
        """How the first system stands: `better` or `worse` where `p_holm` is below `LEVEL`."""
        if np.isnan(self.value):
            return "unknown"
        if not self.p_holm < LEVEL:
            return "unclear"
        return "better" if self.value > 0 else "worse"


def paired_gaps(differences: Array, draws: Draws) -> list[Gap]:
    """Compare one system with several on the same rows and resamples.

    Parameters
    ----------
    differences
        (1 + n_resamples, n_subsets, k) its mean minus each of theirs, by subset, as
        `measure.partial.subset_means` measures them; Holm's family is these k.
    """
    found = measured(np.where(np.abs(differences) < ROUNDING, 0.0, differences), draws)
    p_values = [two_sided_p(resampled) for resampled in found.means[1:].T]
    return [
        Gap(micro.value, micro.low, micro.high, p, corrected, macro, subsets)
        for micro, macro, subsets, p, corrected in zip(
            *(found.micro, found.macro, found.subsets, p_values, holm(p_values)), strict=True
        )
    ]


def two_sided_p(resampled: Array) -> float:
    """P-value of "the mean difference is 0" from resampled mean differences (n_resamples,).

    Twice the smaller of the shares of resamples on either side of 0 (those at 0 are on
    both), each counted with one resample more, so that it is never 0 (Davison and Hinkley
    1997, section 4.2). It is below 0.05 where the 95% percentile interval excludes 0.

    Where all resamples are on one side their number is the limit, which Holm's correction
    for many experts would push above any level: there a smaller tail of the normal
    distribution of their mean and deviation counts, down to `SMALLEST`.
    """
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return float("nan")
    crossed = min(int((known <= 0).sum()), int((known >= 0).sum()))
    p = min(1.0, 2 * (1 + crossed) / (1 + len(known)))
    mean, deviation = abs(float(known.mean())), float(known.std())
    if crossed or not deviation > 1e-9 * mean:
        return p
    return min(p, max(SMALLEST, math.erfc(mean / deviation / math.sqrt(2))))


def holm(p_values: list[float]) -> list[float]:
    """Adjust p-values for k comparisons so that the chance of any false alarm keeps its level.

    Holm 1979: the i-th smallest of k is multiplied by k - i + 1, and no adjusted value is
    below that of a smaller one. NaN stays NaN and is not counted among the k.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = [int(place) for place in np.argsort(values, kind="stable") if values[place] >= 0]
    adjusted = np.full(len(values), np.nan)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, float(values[place]) * (len(order) - rank)))
        adjusted[place] = largest
    return [float(value) for value in adjusted]
