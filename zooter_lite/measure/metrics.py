"""Mean rewards with bootstrap intervals, paired over the same resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.diagnostics import observed_mean

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

RESAMPLES = 2000
CHUNK = 2**22  # numbers held at a time while drawing and summing


@dataclass(frozen=True)
class Estimate:
    """A value, such as a mean reward, and its 95% bootstrap interval; NaN where unknown."""

    value: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The value, by the name that a mean reward has."""
        return self.value


def estimate(values: Array) -> Estimate:
    """Take the first of the values (1 + n_resamples,), and the percentile interval of the others.

    NaN counts nowhere.
    """
    known = values[1:][~np.isnan(values[1:])]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return Estimate(float(values[0]), float(low), float(high))


def reward_of(choices: NDArray[np.integer], rewards: NDArray[np.floating]) -> Array:
    """(n,) reward of the chosen expert of each row; NaN where it was not observed."""
    return np.asarray(rewards[np.arange(len(rewards)), choices], dtype=np.float64)


def paired_means(columns: Array) -> Array:
    """(k,) mean of each of the `columns` (n, k) over the rows where all of them were observed.

    NaN where there is no such row.
    """
    return observed_mean(columns[~np.isnan(columns).any(axis=1)])


@dataclass(frozen=True)
class Draws:
    """Bootstrap resamples of n rows, drawn with replacement within each subset.

    One object serves every statistic of the same rows, so that all of them are paired.

    Attributes
    ----------
    subsets, rows
        Names of the subsets, sorted, and per subset the positions of its rows.
    counts
        Per subset (n_resamples, n_rows_of_subset): how often a resample holds each row, which
        fits in a byte.
    """

    subsets: list[str]
    rows: list[IntArray]
    counts: list[NDArray[np.uint8]]

    def sums(self, columns: Array) -> Array:
        """Sum each of the `columns` (n, k) by subset: (1 + n_resamples, n_subsets, k)."""
        sums = np.empty((1 + len(self.counts[0]), len(self.rows), columns.shape[1]))
        for place, (rows, counts) in enumerate(zip(self.rows, self.counts, strict=True)):
            values = np.ascontiguousarray(columns[rows])
            sums[0, place] = values.sum(axis=0)
            step = max(1, CHUNK // len(rows))
            for start in range(0, len(counts), step):
                part = counts[start : start + step].astype(np.float64)
                sums[1 + start : 1 + start + len(part), place] = part @ values
        return sums

    def observed(self, columns: Array) -> tuple[Array, Array]:
        """Sum and count what is not NaN: twice as `sums` returns it."""
        sums = self.sums(np.nan_to_num(columns))
        if np.isnan(columns).any():
            return sums, self.sums((~np.isnan(columns)).astype(np.float64))
        return sums, np.broadcast_to(self.sizes, sums.shape)

    def means(self, columns: Array) -> Array:
        """(1 + n_resamples, k) mean of each of the `columns` (n, k); NaN counts nowhere."""
        sums, counts = self.observed(columns)
        return ratio(sums.sum(axis=1), counts.sum(axis=1))

    @property
    def sizes(self) -> Array:
        """(n_subsets, 1) number of rows."""
        return np.asarray([[len(rows)] for rows in self.rows], dtype=np.float64)


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


@dataclass(frozen=True)
class Measured:
    """Means of k columns: over the rows, unweighted over the subsets, and by subset.

    `means` (1 + n_resamples, k) are those over the rows, as measured and on every resample.
    """

    micro: list[Estimate]
    macro: list[Estimate]
    subsets: list[dict[str, float]]
    means: Array


def measure(columns: Array, draws: Draws) -> Measured:
    """Measure each of the `columns` (n, k) where it is not NaN."""
    sums, counts = draws.observed(columns)
    return measured(ratio(sums, counts), draws, counts)


def measured(means: Array, draws: Draws, weights: Array | None = None) -> Measured:
    """Measure k columns by their means (1 + n_resamples, n_subsets, k) in the subsets.

    Parameters
    ----------
    means
        As `measure.partial.subset_means` returns them, or differences of such.
    weights
        Of the subsets in the mean over the rows; None for their sizes.
    """
    weights = np.where(np.isnan(means), 0.0, draws.sizes if weights is None else weights)
    micro = ratio(np.nansum(means * weights, axis=1), weights.sum(axis=1))
    return Measured(
        [estimate(column) for column in micro.T],
        [estimate(column) for column in over_subsets(means).T],
        [dict(zip(draws.subsets, row, strict=True)) for row in means[0].T.tolist()],
        micro,
    )


def over_subsets(means: Array) -> Array:
    """(1 + n_resamples, k) unweighted mean over the second axis, without NaN."""
    return ratio(np.nansum(means, axis=1), (~np.isnan(means)).sum(axis=1).astype(np.float64))
