"""Mean task rank and uplift over the subsets of one or several tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zooter_lite.measure.metrics import Draws, Estimate, estimate, over_subsets
from zooter_lite.measure.system import ALWAYS, BEST_SINGLE, Role, Slice, System

TIE = 1e-7  # rewards are kept in 32 bits: means closer than this, relative to 1, are equal


@dataclass(frozen=True)
class RankedSystem:
    """Means over all tasks, the subsets of the slices, of what one system does.

    `average` is of its mean reward, `mtr` of its rank, 1 being best, and `uplift` the share of
    tasks in which no system is better (MTR and %Uplift in Lu et al. 2023, section 4.1).
    """

    name: str
    role: Role
    average: Estimate
    mtr: Estimate
    uplift: Estimate


@dataclass(frozen=True)
class Ranking:
    """Standings, over `subsets` tasks of the `slices`, of the systems that every slice has."""

    subsets: int
    slices: list[str]
    systems: list[RankedSystem]


def ranking(slices: Sequence[Slice], draws: Sequence[Draws]) -> Ranking:
    """Rank systems by their mean in every task, with bootstrap intervals.

    A rank is one more than the number of systems that are better, ties averaged. A task that a
    system has no mean of is left out; in a resample likewise. The resamples of the rows of two
    slices should be drawn from different seeds.

    Noise in the means draws every rank to the middle. The intervals are for what tables of
    this size show on average (simulated MTR of near-equal systems over 20 and 26 tasks: held
    in 95 to 97 of 100), not for the ranks that endless tables would show (65 to 88 of 100).
    """
    systems = _shared(slices)
    if not systems:
        return Ranking(0, [], [])
    by_slice = []
    for part, drawn in zip(slices, draws, strict=True):
        by_name = {system.name: system for system in part.systems}
        by_slice.append(np.stack([by_name[s.name].means(drawn) for s in systems], axis=2))
    means = np.concatenate(by_slice, axis=1)  # (1 + n_resamples, n_tasks, n_systems)
    unknown = np.isnan(means.sum(axis=2, keepdims=True))
    ahead, tied = np.zeros_like(means), np.zeros_like(means)
    for other in range(len(systems)):
        theirs = means[..., other, None]
        limit = TIE * np.maximum(1.0, np.maximum(np.abs(means), np.abs(theirs)))
        ahead += theirs - means > limit
        tied += np.abs(theirs - means) <= limit
    ranks = ahead + (tied + 1) / 2  # a system is tied with itself
    average, mtr, uplift = (
        [estimate(column) for column in over_subsets(np.where(unknown, np.nan, values)).T]
        for values in (means, ranks, ahead == 0)
    )
    return Ranking(
        int((~unknown[0]).sum()),
        [part.name for part in slices],
        [
            RankedSystem(s.name, s.role, average[i], mtr[i], uplift[i])
            for i, s in enumerate(systems)
        ],
    )


def _shared(slices: Sequence[Slice]) -> list[System]:
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
