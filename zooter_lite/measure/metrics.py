"""Mean rewards with bootstrap intervals, paired over the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


def reward_of(choices: NDArray[np.integer], rewards: NDArray[np.floating]) -> Array:
    """(n,) reward of the chosen expert of each row; NaN where it was not observed."""
    return np.asarray(rewards[np.arange(len(rewards)), choices], dtype=np.float64)


def micro_mean(values: Array) -> float:
    """Mean over the rows with an observed reward; NaN where there is none."""
    observed = ~np.isnan(values)
    return float(values[observed].mean()) if observed.any() else float("nan")


def macro_mean(values: Array, subsets: Sequence[str]) -> float:
    """Unweighted mean of the subset means.

    Examples
    --------
    >>> macro_mean(np.array([1.0, 0.0, 0.5]), ["a", "a", "b"])
    0.5
    """
    names = np.asarray(subsets)
    return micro_mean(np.asarray([micro_mean(values[names == name]) for name in np.unique(names)]))


def paired_means(columns: Array) -> Array:
    """(k,) mean of each of the `columns` (n, k) over the rows where all of them were observed.

    NaN where there is no such row.

    Examples
    --------
    >>> paired_means(np.array([[1.0, 0.0], [np.nan, 1.0], [0.0, 0.5]]))
    array([0.5 , 0.25])
    """
    complete = ~np.isnan(columns).any(axis=1)
    return np.asarray([micro_mean(np.where(complete, column, np.nan)) for column in columns.T])


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
    rows: list[IntArray]
    counts: list[NDArray[np.uint8]]

    @property
    def n_resamples(self) -> int:
        """Number of resamples."""
        return len(self.counts[0])

    def sums(self, columns: Array) -> Array:
        """Sum each of the `columns` (n, k) by resample and subset: (n_resamples, n_subsets, k)."""
        sums = np.empty((self.n_resamples, len(self.subsets), columns.shape[1]))
        for place, (rows, counts) in enumerate(zip(self.rows, self.counts, strict=True)):
            values = np.ascontiguousarray(columns[rows])
            step = max(1, CHUNK // max(1, len(rows)))
            for start in range(0, len(counts), step):
                part = counts[start : start + step].astype(np.float64)
                sums[start : start + step, place] = part @ values
        return sums

    def whole_and_sums(self, columns: Array) -> Array:
        """Sum by subset as measured, then by resample: (1 + n_resamples, n_subsets, k)."""
        whole = np.stack([columns[rows].sum(axis=0) for rows in self.rows])
        return np.concatenate([whole[None], self.sums(columns)])

    def observed(self, columns: Array) -> tuple[Array, Array]:
        """Sum and count what is not NaN, by resample and subset: twice as `sums` returns it."""
        sums = self.sums(np.nan_to_num(columns))
        if np.isnan(columns).any():
            return sums, self.sums((~np.isnan(columns)).astype(np.float64))
        sizes = np.asarray([len(rows) for rows in self.rows], dtype=np.float64)
        return sums, np.broadcast_to(sizes[:, None], sums.shape)

    def means(self, columns: Array) -> Array:
        """(n_resamples, k) mean of each of the `columns` (n, k) over its rows that are not NaN."""
        sums, counts = self.observed(columns)
        return ratio(sums.sum(axis=1), counts.sum(axis=1))


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
    """Means of k columns over the same rows and resamples.

    Attributes
    ----------
    micro, macro
        Mean over the rows, and unweighted over the subsets; NaN counts nowhere.
    subsets
        Mean by subset.
    resampled
        (n_resamples, k) the mean over the rows on every resample.
    """

    micro: list[Estimate]
    macro: list[Estimate]
    subsets: list[dict[str, float]]
    resampled: Array


def measure(columns: Array, draws: Draws) -> Measured:
    """Measure each of the `columns` (n, k): means, and intervals over the resamples."""
    sums, counts = draws.observed(columns)
    micro = ratio(sums.sum(axis=1), counts.sum(axis=1))
    by_subset = ratio(sums, counts)
    macro = ratio(np.nansum(by_subset, axis=1), (~np.isnan(by_subset)).sum(axis=1))
    means = np.asarray([[micro_mean(column[rows]) for rows in draws.rows] for column in columns.T])
    return Measured(
        [estimate(micro_mean(c), drawn) for c, drawn in zip(columns.T, micro.T, strict=True)],
        [estimate(micro_mean(m), drawn) for m, drawn in zip(means, macro.T, strict=True)],
        [dict(zip(draws.subsets, row, strict=True)) for row in means.tolist()],
        micro,
    )


def measured(means: Array, draws: Draws) -> Measured:
    """Measure k columns by their means (1 + n_resamples, n_subsets, k) over all rows of subsets.

    Parameters
    ----------
    means
        As `measure.partial.subset_means` returns them, or differences of such.
    """
    sizes = np.asarray([len(rows) for rows in draws.rows], dtype=np.float64)[:, None]
    known = ~np.isnan(means)
    micro = ratio(np.nansum(means * sizes, axis=1), (known * sizes).sum(axis=1))
    macro = ratio(np.nansum(means, axis=1), known.sum(axis=1).astype(np.float64))
    return Measured(
        [estimate(float(column[0]), column[1:]) for column in micro.T],
        [estimate(float(column[0]), column[1:]) for column in macro.T],
        [dict(zip(draws.subsets, row, strict=True)) for row in means[0].T.tolist()],
        micro[1:],
    )


def mean_estimates(columns: Array, draws: Draws) -> list[Estimate]:
    """Mean of each of the `columns` (n, k) with its interval; NaN counts nowhere."""
    return measure(columns, draws).micro


def estimate(value: float, resampled: Array) -> Estimate:
    """Attach the percentile interval of the resampled means to a value."""
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def plain(value: Any) -> Any:
    """Return dataclasses, arrays and mappings as what JSON holds; None for NaN and infinities."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {part.name: getattr(value, part.name) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
