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
        Tasks left out because two systems have no row there on which both were observed.
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
    by_name = [{system.name: system.rewards for system in part.systems} for part in slices]
    rewards = [np.stack([of[s.name] for s in systems], axis=1) for of in by_name]
    subsets, left_out, figures = rank_columns(rewards, draws, [part.groups for part in slices])
    return Ranking(
        subsets,
        left_out,
        [part.name for part in slices],
        [
            RankedSystem(system.name, system.role, **found)
            for system, found in zip(systems, figures, strict=True)
        ],
    )


def rank_columns(
    rewards: Sequence[Array], draws: Sequence[Draws], groups: Sequence[Mapping[str, str]]
) -> tuple[int, int, list[dict[str, Any]]]:
    """Rank the columns of `rewards` in every subset of every slice, with bootstrap intervals.

    Two systems are compared over the rows where both were observed, so a rank is one more
    than the number of systems that are better so, ties averaged. A task in which two systems
    have no such row is left out; in a resample likewise.

    Noise in the means draws every rank to the middle. The intervals are for what tables of
    this size show on average (simulated MTR of near-equal systems over 20 and 26 tasks: held
    in 95 to 97 of 100), not for the ranks that endless tables would show (65 to 88 of 100).

    Parameters
    ----------
    rewards
        Per slice (n, n_systems) reward earned on each row, NaN where not observed; the
        columns are the same systems in every slice.
    draws
        Per slice the resamples of its rows.
    groups
        Per slice the group of each subset; subsets without one are in no group.

    Returns
    -------
    Number of tasks that were ranked, of those left out, and the figures of each system as
    `RankedSystem` names them.
    """
    parts = [_places(values, drawn) for values, drawn in zip(rewards, draws, strict=True)]
    means, ahead, ranks = (np.concatenate(stack, axis=1) for stack in zip(*parts, strict=True))
    first = np.where(np.isnan(ahead), np.nan, (ahead == 0).astype(np.float64))
    known = np.where(np.isnan(ranks), np.nan, means)
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
        for i in range(means.shape[2])
    ]
    left_out = int(np.isnan(ranks[0, :, 0]).sum())
    return len(labels) - left_out, left_out, figures


def _places(values: Array, draws: Draws) -> tuple[Array, Array, Array]:
    """Mean reward, number of better systems, and rank, each (1 + n_resamples, n_subsets, k).

    The first entry is of the rows as they are. All ranks of a task are NaN where two systems
    have no row in common.
    """
    means = _task_means(values, draws)
    ahead, tied = np.zeros_like(means), np.zeros_like(means)
    unknown = np.isnan(means).any(axis=2, keepdims=True)
    missing = np.isnan(values)
    for other in range(values.shape[1]):
        ours, theirs = means, means[..., other, None]
        if missing.any():
            ours = _task_means(np.where(missing[:, other, None], np.nan, values), draws)
            theirs = _task_means(np.where(missing, np.nan, values[:, other, None]), draws)
        lead = theirs - ours
        limit = TIE * np.maximum(1.0, np.maximum(np.abs(ours), np.abs(theirs)))
        ahead += lead > limit
        tied += np.abs(lead) <= limit
        unknown = unknown | np.isnan(lead).any(axis=2, keepdims=True)
    rank = ahead + (tied + 1) / 2  # a system is tied with itself
    return means, np.where(unknown, np.nan, ahead), np.where(unknown, np.nan, rank)


def _task_means(values: Array, draws: Draws) -> Array:
    """(1 + n_resamples, n_subsets, k) mean by subset: of the rows, then of each resample."""
    whole = np.stack([[micro_mean(column) for column in values[rows].T] for rows in draws.rows])
    return np.concatenate([whole[None], ratio(*draws.observed(values))])


def _over_tasks(values: Array) -> Array:
    """Mean of (1 + n_resamples, n_tasks, k) over the tasks that are not NaN."""
    return ratio(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1).astype(np.float64))
