"""Where the reward is lost against the oracle: by subset, and the worst rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.measure.metrics import Array, Draws, Estimate, estimate, ratio, reward_of
from zooter_lite.table.reward_table import RewardTable

WORST = 20


@dataclass(frozen=True)
class Part:
    """Mean regret on the rows of one subset, and the share of all regret that they have."""

    name: str
    regret: Estimate
    share: float


@dataclass(frozen=True)
class WorstRow:
    """A query on which much was lost, and the probability that the chosen expert had."""

    query_id: str
    query: str
    subset: str
    chosen: str
    chosen_reward: float
    best: str
    best_reward: float
    regret: float
    probability: float


@dataclass(frozen=True)
class Regret:
    """Reward lost against the oracle: over all rows, by subset, and the worst rows."""

    mean: Estimate
    by_subset: list[Part]
    worst: list[WorstRow]


def regret(
    table: RewardTable, choices: NDArray[np.integer], probability: Array, draws: Draws
) -> Regret:
    """Describe where the choices lose reward; rows whose chosen reward is unknown count nowhere.

    `choices` (n,) are the chosen experts, `probability` (n,) what the router gave each of them.
    The worst rows are those with the highest regret above 0; of equal ones, those where the
    router was surest.
    """
    lost = np.nanmax(table.rewards, axis=1) - reward_of(choices, table.rewards)
    sums, counts = (values[..., 0] for values in draws.observed(lost[:, None]))
    means, shares = ratio(sums, counts), ratio(sums[0], np.full(len(sums[0]), sums[0].sum()))
    worst = np.lexsort((-probability, -np.nan_to_num(lost)))[:WORST].tolist()
    return Regret(
        estimate(ratio(sums.sum(axis=1), counts.sum(axis=1))),
        [
            Part(name, estimate(mean), share)
            for name, mean, share in zip(draws.subsets, means.T, shares.tolist(), strict=True)
        ],
        [
            _worst_row(table, row, int(choices[row]), float(probability[row]))
            for row in worst
            if lost[row] > 0
        ],
    )


def _worst_row(table: RewardTable, row: int, chosen: int, probability: float) -> WorstRow:
    rewards = table.rewards[row].astype(np.float64)
    best = int(np.nanargmax(rewards))
    return WorstRow(
        query_id=table.query_ids[row],
        query=table.queries[row],
        subset=table.subsets[row],
        chosen=table.experts[chosen],
        chosen_reward=float(rewards[chosen]),
        best=table.experts[best],
        best_reward=float(rewards[best]),
        regret=float(rewards[best] - rewards[chosen]),
        probability=probability,
    )
