"""Mean task rank and uplift over the subsets of one or several tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zooter_lite.measure.metrics import Array, Draws, Estimate, estimate, micro_mean, ratio
from zooter_lite.measure.system import ALWAYS, BEST_SINGLE, Role, Slice, System

TIE = 1e-7  # rewards are kept in 32 bits: means closer than this, relative to 1, are equal


@dataclass(frozen=True)
class RankedSystem:
    """How one system does over all tasks; a task is a subset of a slice.

    Attributes
    ----------
    average
        Unweighted mean over the tasks of the mean reward.
    mtr
        Mean rank over the tasks, 1 is best (MTR in Lu et al. 2023, section 4.1).
    uplift
        Share of the tasks in which no system is better (%Uplift there).
    groups
        Mean rank over the tasks of each group.
    """

    name: str
    role: Role
    average: Estimate
    mtr: Estimate
    uplift: Estimate
    groups: dict[str, float]


@dataclass(frozen=True)
class Ranking:
    """Standings of the systems that every slice has, over all their subsets.

    Attributes
    ----------
    subsets
        Number of tasks that were ranked.
    left_out
        Tasks left out because a system was never observed.
    slices
        Names of the slices.
    systems
        In the order of the first slice.
    """

    subsets: int
    left_out: int
    slices: list[str]
    systems: list[RankedSystem]


def ranked_systems(slices: Sequence[Slice]) -> list[System]:
    """Systems of the first slice that can be ranked: in every slice, and no bound.

    A single expert that is the best single on train of every slice is ranked under that
    name alone.
    """
    names = [{s.name for s in part.systems if s.role != "bound"} for part in slices]
    twins = {ALWAYS + part.table.experts[part.known.best_single] for part in slices}
    common = set.intersection(*names) if names else set()
    if BEST_SINGLE in common and len(twins) == 1:
        common -= twins
    return [system for system in slices[0].systems if system.name in common] if slices else []


def ranking(slices: Sequence[Slice], draws: Sequence[Draws]) -> Ranking:
    """Rank the systems that every slice has, over all subsets of all slices.

    Parameters
    ----------
    draws
        Per slice the resamples of its rows; slices should be drawn from different seeds.
    """
    systems = ranked_systems(slices)
    if not systems:
        return Ranking(0, 0, [], [])
    by_name = [{system.name: system for system in part.systems} for part in slices]
    means = [
        np.stack([of[s.name].means(drawn) for s in systems], axis=2)
        for of, drawn in zip(by_name, draws, strict=True)
    ]
    subsets, left_out, figures = rank_means(means, draws, [part.groups for part in slices])
    return Ranking(
        subsets,
        left_out,
        [part.name for part in slices],
        [
            RankedSystem(system.name, system.role, **found)
            for system, found in zip(systems, figures, strict=True)
        ],
    )


def rank_means(
    means: Sequence[Array], draws: Sequence[Draws], groups: Sequence[Mapping[str, str]]
) -> tuple[int, int, list[dict[str, Any]]]:
    """Rank systems by their mean in every subset of every slice, with bootstrap intervals.

    A rank is one more than the number of systems that are better, ties averaged. A task that a
    system has no mean of is left out; in a resample likewise.

    Noise in the means draws every rank to the middle. The intervals are for what tables of
    this size show on average (simulated MTR of near-equal systems over 20 and 26 tasks: held
    in 95 to 97 of 100), not for the ranks that endless tables would show (65 to 88 of 100).

    Parameters
    ----------
    means
        Per slice (1 + n_resamples, n_subsets, n_systems); the same systems in every slice.
    draws
        Per slice the resamples of its rows.
    groups
        Per slice the group of each subset; subsets without one are in no group.

    Returns
    -------
    Number of tasks that were ranked, of those left out, and the figures of each system as
    `RankedSystem` names them.
    """
    whole = np.concatenate(means, axis=1)
    ahead, ranks = _places(whole)
    first = np.where(np.isnan(ahead), np.nan, (ahead == 0).astype(np.float64))
    known = np.where(np.isnan(ranks), np.nan, whole)
    average, mtr, uplift = (_over_tasks(values) for values in (known, ranks, first))
    labels = [
        of_slice.get(subset)
        for drawn, of_slice in zip(draws, groups, strict=True)
        for subset in drawn.subsets
    ]
    names = list(dict.fromkeys(label for label in labels if label is not None))
    members = {name: [label == name for label in labels] for name in names}
    figures = [
        {
            "average": estimate(float(average[0, i]), average[1:, i]),
            "mtr": estimate(float(mtr[0, i]), mtr[1:, i]),
            "uplift": estimate(float(uplift[0, i]), uplift[1:, i]),
            "groups": {name: micro_mean(ranks[0, inside, i]) for name, inside in members.items()},
        }
        for i in range(whole.shape[2])
    ]
    left_out = int(np.isnan(ranks[0, :, 0]).sum())
    return len(labels) - left_out, left_out, figures


def _places(means: Array) -> tuple[Array, Array]:
    """Count the better systems, and rank: each (1 + n_resamples, n_tasks, k).

    All ranks of a task are NaN where a system has no mean.
    """
    ahead, tied = np.zeros_like(means), np.zeros_like(means)
    for other in range(means.shape[2]):
        theirs = means[..., other, None]
        limit = TIE * np.maximum(1.0, np.maximum(np.abs(means), np.abs(theirs)))
        ahead += theirs - means > limit
        tied += np.abs(theirs - means) <= limit
    unknown = np.isnan(means).any(axis=2, keepdims=True)
    rank = ahead + (tied + 1) / 2  # a system is tied with itself
    return np.where(unknown, np.nan, ahead), np.where(unknown, np.nan, rank)


def _over_tasks(values: Array) -> Array:
    """Mean of (1 + n_resamples, n_tasks, k) over the tasks that are not NaN."""
    return ratio(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1).astype(np.float64))
