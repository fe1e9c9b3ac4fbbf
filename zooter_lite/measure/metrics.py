"""Mean rewards with bootstrap intervals, paired over the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
CHUNK = 2**22  # numbers held at a time while drawing and summing


@dataclass(frozen=True)
class Estimate:
    """A mean reward and its 95% bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """Bootstrap means of several methods over the same resamples.

    Attributes
    ----------
    micro, macro
        Per method (n_resamples,): mean over queries, and unweighted mean over subsets.
    """

    micro: dict[str, Array]
    macro: dict[str, Array]


def reward_of(choices: NDArray[np.integer], rewards: NDArray[np.floating]) -> Array:
    """(n,) reward of the chosen expert of each row; NaN where it was not observed."""
    return np.asarray(rewards[np.arange(len(rewards)), choices], dtype=np.float64)


def micro_mean(values: Array) -> float:
    """Mean over the rows with an observed reward; NaN where there is none."""
    observed = ~np.isnan(values)
    return float(values[observed].mean()) if observed.any() else float("nan")


def subset_means(values: Array, subsets: Sequence[str]) -> dict[str, float]:
    """Mean per subset, by name; subsets without an observed reward are NaN."""
    names = np.asarray(subsets)
    return {str(name): micro_mean(values[names == name]) for name in np.unique(names)}


def macro_mean(values: Array, subsets: Sequence[str]) -> float:
    """Unweighted mean of the subset means.

    Examples
    --------
    >>> macro_mean(np.array([1.0, 0.0, 0.5]), ["a", "a", "b"])
    0.5
    """
    return micro_mean(np.asarray(list(subset_means(values, subsets).values())))


@dataclass(frozen=True)
class Draws:
    """Bootstrap resamples of n rows, drawn with replacement within each subset.

    One object serves every statistic of the same rows, so that all of them are paired.

    Attributes
    ----------
    subsets
        Names of the subsets, sorted.
    rows
        Per subset the positions of its rows.
    counts
        Per subset (n_resamples, n_rows_of_subset): how often a resample holds each row.
        They take n x n_resamples bytes in all. A row is drawn once on average, more than
        255 times with a probability below 1e-500, so a byte holds the count.
    """

    subsets: list[str]
    rows: list[NDArray[np.intp]]
    counts: list[NDArray[np.uint8]]

    @property
    def n_resamples(self) -> int:
        """Number of resamples."""
        return len(self.counts[0])

    def sums(self, columns: Array) -> Array:
        """Sum each of the `columns` (n, k) by resample and subset: (n_resamples, n_subsets, k)."""
        found = np.empty((self.n_resamples, len(self.subsets), columns.shape[1]))
        for place, (rows, counts) in enumerate(zip(self.rows, self.counts, strict=True)):
            values = np.ascontiguousarray(columns[rows])
            step = max(1, CHUNK // max(1, len(rows)))
            for start in range(0, len(counts), step):
                part = counts[start : start + step].astype(np.float64)
                found[start : start + step, place] = part @ values
        return found

    def means(self, columns: Array) -> Array:
        """(n_resamples, k) mean of each of the `columns` (n, k) over its rows that are not NaN."""
        total = self.sums(np.nan_to_num(columns)).sum(axis=1)
        if not np.isnan(columns).any():
            return np.asarray(total / len(columns))
        return ratio(total, self.sums((~np.isnan(columns)).astype(np.float64)).sum(axis=1))


def draw(subsets: Sequence[str], seed: int | Sequence[int], n_resamples: int = RESAMPLES) -> Draws:
    """Draw the resamples of rows whose subsets are given; the seed may be several numbers."""
    labels = np.asarray(subsets)
    random = np.random.default_rng(seed)
    names = [str(name) for name in np.unique(labels)]
    positions, drawn = [], []
    for name in names:
        rows = np.flatnonzero(labels == name)
        counts = np.empty((n_resamples, len(rows)), dtype=np.uint8)
        step = max(1, CHUNK // len(rows))
        for start in range(0, n_resamples, step):
            part = counts[start : start + step]
            part[:] = random.multinomial(
                len(rows), np.full(len(rows), 1 / len(rows)), size=len(part)
            )
        positions.append(rows)
        drawn.append(counts)
    return Draws(names, positions, drawn)


def ratio(total: Array, count: Array) -> Array:
    """Divide, with NaN where the count is zero."""
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def resample(
    methods: Mapping[str, Array], subsets: Sequence[str], seed: int, n_resamples: int = RESAMPLES
) -> Resampled:
    """Bootstrap all methods together, drawing rows with replacement within each subset.

    Parameters
    ----------
    methods
        Per method (n,) rewards of the same rows, NaN where not observed.
    subsets
        Subset of each row.
    """
    return resampled_means(methods, draw(subsets, seed, n_resamples))


def resampled_means(methods: Mapping[str, Array], draws: Draws) -> Resampled:
    """Micro and macro means of each method (n,) on every resample; NaN counts nowhere."""
    values = np.stack(list(methods.values()), axis=1)
    sums = draws.sums(np.nan_to_num(values))
    seen = draws.sums((~np.isnan(values)).astype(np.float64))
    micro = ratio(sums.sum(axis=1), seen.sum(axis=1))
    by_subset = ratio(sums, seen)
    known = (~np.isnan(by_subset)).sum(axis=1)
    macro = ratio(np.nansum(by_subset, axis=1), known)
    return Resampled(
        {name: micro[:, i] for i, name in enumerate(methods)},
        {name: macro[:, i] for i, name in enumerate(methods)},
    )


def mean_estimates(columns: Array, draws: Draws) -> list[Estimate]:
    """Mean of each of the `columns` (n, k) with its interval; NaN counts nowhere."""
    resampled = draws.means(columns)
    return [estimate(micro_mean(columns[:, i]), resampled[:, i]) for i in range(columns.shape[1])]


def estimate(value: float, resampled: Array) -> Estimate:
    """Attach the percentile interval of the resampled means to a value."""
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def probability_of_gain(first: Array, second: Array) -> float:
    """Share of the paired resamples in which the first mean is higher; ties count half.

    Resamples without an observed reward of either count nowhere; NaN where all are such.
    """
    gap = first - second
    return micro_mean(np.where(np.isnan(gap), np.nan, (gap > 0) + 0.5 * (gap == 0)))
