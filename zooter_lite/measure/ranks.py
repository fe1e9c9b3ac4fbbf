"""Mean task rank and uplift over the subsets of one or several tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zooter_lite.measure.metrics import (
    Array,
    Draws,
    Estimate,
    estimate,
    micro_mean,
    over_subsets,
)
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
    subsets, left_out
        Number of tasks that were ranked, and of those in which a system was never observed.
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

    The resamples of the rows of two slices should be drawn from different seeds.
    """
    systems = ranked_systems(slices)
    if not systems:
        return Ranking(0, 0, [], [])
    means, groups = [], list[str | None]()
    for part, drawn in zip(slices, draws, strict=True):
        by_name = {system.name: system for system in part.systems}
        means.append(np.stack([by_name[s.name].means(drawn) for s in systems], axis=2))
        groups += [part.groups.get(subset) for subset in drawn.subsets]
    left_out, ranked = rank_means(systems, np.concatenate(means, axis=1), groups)
    names = [part.name for part in slices]
    return Ranking(len(groups) - left_out, left_out, names, ranked)


def rank_means(
    systems: Sequence[System], means: Array, groups: Sequence[str | None]
) -> tuple[int, list[RankedSystem]]:
    """Rank systems by their mean in every task, with bootstrap intervals.

    A rank is one more than the number of systems that are better, ties averaged. A task that a
    system has no mean of is left out; in a resample likewise.

    Noise in the means draws every rank to the middle. The intervals are for what tables of
    this size show on average (simulated MTR of near-equal systems over 20 and 26 tasks: held
    in 95 to 97 of 100), not for the ranks that endless tables would show (65 to 88 of 100).

    Parameters
    ----------
    means
        (1 + n_resamples, n_tasks, n_systems)
    groups
        Of each task, or None.

    Returns
    -------
    Number of tasks that were left out, and the systems.
    """
    unknown = np.isnan(means.sum(axis=2, keepdims=True))
    ahead, tied = np.zeros_like(means), np.zeros_like(means)
    for other in range(len(systems)):
        theirs = means[..., other, None]
        limit = TIE * np.maximum(1.0, np.maximum(np.abs(means), np.abs(theirs)))
        ahead += theirs - means > limit
        tied += np.abs(theirs - means) <= limit
    ranks = np.where(unknown, np.nan, ahead + (tied + 1) / 2)  # a system is tied with itself
    first = np.where(unknown, np.nan, ahead == 0)
    average, mtr, uplift = (
        [estimate(column) for column in over_subsets(values).T]
        for values in (np.where(unknown, np.nan, means), ranks, first)
    )
    members = {name: [group == name for group in groups] for name in dict.fromkeys(groups) if name}
    return int(unknown[0].sum()), [
        RankedSystem(
            *(system.name, system.role, average[i], mtr[i], uplift[i]),
            {name: micro_mean(ranks[0, inside, i]) for name, inside in members.items()},
        )
        for i, system in enumerate(systems)
    ]
