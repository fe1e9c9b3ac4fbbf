"""Where the reward is lost: confusion with the oracle, regret by subset, the worst rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.soft import harden
from zooter_lite.measure.metrics import Array, Draws, Estimate, estimate, ratio, reward_of
from zooter_lite.table.reward_table import RewardTable

WORST = 20


@dataclass(frozen=True)
class Part:
    """Regret on the rows of one subset.

    `regret` is the mean over its `rows` with a known regret, `share` their part of all regret.
    """

    name: str
    rows: int
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


def confusion(choices: NDArray[np.integer], rewards: NDArray[np.floating]) -> Array:
    """Cross the oracle's best expert (row) with the chosen one (column): shares of all queries.

    Experts that tie for the best observed reward share their query. The chosen expert counts
    whether its reward was observed or not.

    Returns
    -------
    (n_experts, n_experts), sums to 1.
    """
    chosen = np.eye(rewards.shape[1])[choices]
    return np.asarray(np.nan_to_num(harden(rewards)).T @ chosen / len(rewards))


def regret(
    table: RewardTable, choices: NDArray[np.integer], probability: Array, draws: Draws
) -> Regret:
    """Describe where the choices lose reward; rows whose chosen reward is unknown count nowhere.

    `choices` (n,) are the chosen experts, `probability` (n,) what the router gave each of them.
    """
    lost = np.nanmax(table.rewards, axis=1) - reward_of(choices, table.rewards)
    sums, counts = (values[..., 0] for values in draws.observed(lost[:, None]))
    total = float(sums[0].sum())
    return Regret(
        mean=estimate(ratio(sums.sum(axis=1), counts.sum(axis=1))),
        by_subset=[
            Part(
                name=name,
                rows=int(counts[0, place]),
                regret=estimate(mean),
                share=float(sums[0, place]) / total if total > 0 else float("nan"),
            )
            for place, (name, mean) in enumerate(
                zip(draws.subsets, ratio(sums, counts).T, strict=True)
            )
        ],
        worst=_worst_rows(table, choices, probability, lost),
    )


def _worst_rows(
    table: RewardTable, choices: NDArray[np.integer], probability: Array, lost: Array
) -> list[WorstRow]:
    """Rows with the highest regret above 0; of equal ones those where the router was surest."""
    order = np.lexsort((-probability, -np.nan_to_num(lost)))
    worst = []
    for row in [int(row) for row in order[:WORST] if lost[row] > 0]:
        best, chosen = int(np.nanargmax(table.rewards[row])), int(choices[row])
        worst.append(
            WorstRow(
                *(table.query_ids[row], table.queries[row], table.subsets[row]),
                *(table.experts[chosen], float(table.rewards[row, chosen])),
                *(table.experts[best], float(table.rewards[row, best])),
                *(float(lost[row]), float(probability[row])),
            )
        )
    return worst
