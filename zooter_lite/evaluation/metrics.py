"""Mean rewards with bootstrap intervals, paired over the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000


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


def reward_of(choices: NDArray[np.int64], rewards: NDArray[np.floating]) -> Array:
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
    names = list(methods)
    values = np.stack([methods[name] for name in names], axis=1)
    observed = (~np.isnan(values)).astype(np.float64)
    filled = np.nan_to_num(values)
    labels = np.asarray(subsets)
    random = np.random.default_rng(seed)
    total = np.zeros((n_resamples, len(names)))
    count = np.zeros_like(total)
    means = []
    for subset in np.unique(labels):
        rows = np.flatnonzero(labels == subset)
        sums, seen = np.zeros_like(total), np.zeros_like(total)
        for start in range(0, n_resamples, 250):  # bounds the memory of the draws
            part = slice(start, min(start + 250, n_resamples))
            draws = random.multinomial(
                len(rows), np.full(len(rows), 1 / len(rows)), size=part.stop - part.start
            ).astype(np.float64)
            sums[part], seen[part] = draws @ filled[rows], draws @ observed[rows]
        total += sums
        count += seen
        means.append(np.divide(sums, seen, out=np.full_like(sums, np.nan), where=seen > 0))
    micro = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    by_subset = np.stack(means)
    known = (~np.isnan(by_subset)).sum(axis=0)
    summed = np.nansum(by_subset, axis=0)
    macro = np.divide(summed, known, out=np.full_like(summed, np.nan), where=known > 0)
    return Resampled(
        {name: micro[:, i] for i, name in enumerate(names)},
        {name: macro[:, i] for i, name in enumerate(names)},
    )


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
