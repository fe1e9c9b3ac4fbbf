"""Means over every row where some rewards were not observed, so that systems can be compared.

The mean over the rows that happen to have a reward flatters a system that was observed on easy
queries. Here each row whose reward is missing counts with what the system earns on rows like
it: of the same subset, and of the same level, which is what the other experts earned there. It
is the regression estimator of survey sampling (Cochran 1977, chapter 7) with a slope common to
all subsets, and the mean of a subset's rows of about the same level where there are some. What
the other experts cannot tell, such as rewards that are missing because of their own value, it
cannot make good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.completion import expert_effects
from zooter_lite.measure.metrics import (
    Array,
    Draws,
    Estimate,
    IntArray,
    estimate,
    ratio,
    reward_of,
)
from zooter_lite.table.reward_table import RewardTable

BINS = 4  # of the level
STRENGTH = 5.0  # pseudo-count, in rows, of the regression within a bin of a subset


def levels_of(
    rewards: NDArray[np.floating], subsets: Sequence[str], choices: Sequence[IntArray | None]
) -> list[Array]:
    """(n,) level of each row for each system: what experts other than its choice earned there.

    A mean of rewards minus the experts' effects. Rows where no other was observed have the
    mean level of their subset.

    Parameters
    ----------
    rewards
        (n, n_experts), NaN where not observed.
    choices
        (n,) chosen expert for each system; None for one that chooses none.
    """
    beside = rewards - expert_effects(rewards, subsets)
    labels, levels = np.asarray(subsets), []
    for chosen in choices:
        others = beside.copy()
        if chosen is not None:
            others[np.arange(len(others)), chosen] = np.nan
        count = (~np.isnan(others)).sum(axis=1)
        level = np.where(count > 0, np.nansum(others, axis=1) / count.clip(1), np.nan)
        overall = np.nanmean(level) if (count > 0).any() else 0.0
        for name in np.unique(labels):
            own, known = labels == name, (labels == name) & (count > 0)
            level[own & (count == 0)] = level[known].mean() if known.any() else overall
        levels.append(level)
    return levels


def subset_means(values: Array, level: Array | None, draws: Draws) -> Array:
    """(1 + n_resamples, n_subsets) mean over all rows of each subset: as measured, then resampled.

    Parameters
    ----------
    values
        (n,), NaN where not observed; without such, or without a level, the plain mean of what
        was observed.
    level
        (n,) as `levels_of` returns it.
    """
    observed = ~np.isnan(values)
    if level is None or observed.all():
        return ratio(*draws.observed(values[:, None]))[..., 0]
    known = np.where(observed, values, 0.0)
    own = np.where(observed, level, 0.0)
    terms = [observed, known, own, own * known, own**2, np.ones(len(level)), level]
    bins = np.searchsorted(np.quantile(level, np.arange(1, BINS) / BINS), level)
    columns = [term * (bins == place) for place in range(BINS) for term in terms]
    sums = draws.sums(np.stack(columns, axis=1).astype(np.float64))
    cells = sums.reshape(*sums.shape[:2], BINS, len(terms))
    count, total, at, products, squares, *_ = np.moveaxis(cells.sum(axis=2), 2, 0)
    # the slope of reward on level within subsets
    part = np.nansum(products - ratio(at * total, count), axis=1)
    spread = np.nansum(squares - ratio(at**2, count), axis=1)
    slope = np.where(spread > 1e-9, part / np.maximum(spread, 1e-9), 0.0)[:, None]
    # a subset in which nothing was observed is taken for the mean of all
    mean, place = (
        np.where(count > 0, ratio(term, count), ratio(term.sum(axis=1), count.sum(axis=1))[:, None])
        for term in (total, at)
    )
    seen, earned, where, _, _, rows, everywhere = np.moveaxis(cells, 3, 0)
    missing = rows - seen
    there = np.divide(everywhere - where, missing, out=np.zeros_like(rows), where=missing > 0.5)
    guess = mean[..., None] + slope[..., None] * (there - place[..., None])
    guess = (earned + STRENGTH * guess) / (seen + STRENGTH)
    sums = (earned + np.where(missing > 0.5, missing * guess, 0.0)).sum(axis=2)
    return ratio(sums, rows.sum(axis=2))


@dataclass(frozen=True)
class Logged:
    """What a system would have earned on the rows of a log, by two estimators.

    Attributes
    ----------
    rows, agreed
        Rows with one reward and the propensity of its choice; those of them on which the
        system chooses the expert of the log, on which both estimates rest.
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
    table: RewardTable, choices: IntArray, expected: Array, draws: Draws
) -> Logged | None:
    """Estimate the mean reward of the chosen experts on the rows with a propensity.

    Those have one reward; `choices` (n,) are what the system chooses, and `expected`
    (n, n_experts) rewards that were learned elsewhere. None where no row has a propensity.
    """
    if table.propensities is None or np.isnan(table.propensities).all():
        return None
    counted = ~np.isnan(table.propensities)
    own, model = reward_of(choices, table.rewards), reward_of(choices, expected)
    agreed = counted & ~np.isnan(own)
    weight = np.where(agreed, 1 / np.where(counted, table.propensities, 1.0), 0.0)
    earned, model = np.where(agreed, own, 0.0), np.where(counted, model, 0.0)
    robust = model + weight * (earned - np.where(agreed, model, 0.0))
    sums = draws.sums(np.stack([weight * earned, weight, robust, counted], axis=1)).sum(axis=1)
    return Logged(
        int(counted.sum()),
        int(agreed.sum()),
        estimate(ratio(sums[:, 0], sums[:, 1])),
        estimate(ratio(sums[:, 2], sums[:, 3])),
    )
