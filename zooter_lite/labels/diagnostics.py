"""What the rewards say before anything is learned: headroom, ties, entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.completion import mean_rewards
from zooter_lite.labels.soft import normalise

FEW_SHARED = 30  # queries


@dataclass(frozen=True)
class Diagnostics:
    """Properties of a reward table, in reward units unless said otherwise."""

    best_single: int  # position of the expert with the highest mean, holes filled in
    best_single_reward: float  # that mean
    oracle_reward: float  # mean over queries of the best observed reward
    headroom: float  # oracle less the best single expert, on the queries where it was observed
    tie_share: float  # of the queries, whose best reward several experts reach
    entropy: float  # of the normalised rewards (the paper's Figure 3), as a share of the uniform's

    def summary(self, experts: Sequence[str]) -> str:
        """One line for people; rewards times 100."""
        return (
            f"best single expert {experts[self.best_single]} "
            f"{100 * self.best_single_reward:.2f}, oracle {100 * self.oracle_reward:.2f}, "
            f"headroom {100 * self.headroom:.2f}; ties for the best {self.tie_share:.0%}, "
            f"reward entropy {self.entropy:.2f} of 1"
        )


def diagnose(rewards: NDArray[np.floating], subsets: Sequence[str] | None = None) -> Diagnostics:
    """Describe `rewards` (n_queries, n_experts), NaN where not observed.

    `subsets` name each query's subset, for the means of experts that were asked few queries.
    """
    values = np.asarray(rewards, dtype=np.float64)
    means = mean_rewards(values, ["all"] * len(values) if subsets is None else subsets)
    best_rewards = np.nanmax(values, axis=1)
    best = int(np.nanargmax(means))
    return Diagnostics(
        best_single=best,
        best_single_reward=float(means[best]),
        oracle_reward=float(best_rewards.mean()),
        headroom=float(np.nanmean(best_rewards - values[:, best])),
        tie_share=float(((values == best_rewards[:, None]).sum(axis=1) > 1).mean()),
        entropy=float(reward_entropy(values).mean() / np.log(max(2, values.shape[1]))),
    )


def observed_mean(rewards: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n_experts,) mean observed reward; NaN for an expert never observed."""
    count = (~np.isnan(rewards)).sum(axis=0)
    total = np.nansum(rewards, axis=0, dtype=np.float64)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def overlaps(rewards: NDArray[np.floating], experts: Sequence[str]) -> list[str]:
    """Say which experts share too few queries to be compared there; nothing where none do."""
    seen = (~np.isnan(rewards)).astype(np.float64)
    shared = (seen.T @ seen).astype(np.int64)
    pairs = sorted((int(shared[pair]), *pair) for pair in combinations(range(len(experts)), 2))
    few = sum(count < FEW_SHARED for count, *_ in pairs)
    if not few:
        return []
    count, one, two = pairs[0]
    return [
        f"{few} of {len(pairs)} pairs of experts share fewer than {FEW_SHARED} training queries "
        f"({experts[one]} and {experts[two]}: {count}); they are compared through other experts "
        "and the level of each query, which cannot be checked here"
    ]


def reward_entropy(rewards: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n_queries,) entropy in nats of the softmax over each query's observed rewards."""
    labels = normalise(rewards)
    logs = np.log(labels, where=labels > 0, out=np.zeros_like(labels))
    return np.asarray(-np.nansum(labels * logs, axis=1))
