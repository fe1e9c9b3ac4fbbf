"""What the rewards say before anything is learned: headroom, ties, entropy, agreement."""

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
    """Properties of a reward table, in reward units unless said otherwise.

    Attributes
    ----------
    best_single, best_single_reward
        Position of the expert with the highest mean reward, and that mean; what was not
        observed is filled in.
    oracle_reward
        Mean over queries of the best observed reward.
    tie_share
        Share of queries whose best reward is reached by more than one expert.
    entropy
        Mean entropy of the normalised rewards, as a share of that of the uniform label (the
        paper's Figure 3 uses the entropy): at 1 the rewards cannot tell the experts apart.
    headroom
        What a perfect router gains over the best single expert, on the queries where
        that expert was observed.
    agreement
        Mean correlation of two experts' rewards over the queries both answered; NaN
        where no pair varies.
    """

    best_single: int
    best_single_reward: float
    oracle_reward: float
    tie_share: float
    entropy: float
    headroom: float
    agreement: float

    def summary(self, experts: Sequence[str]) -> str:
        """One line for people; rewards times 100."""
        return (
            f"best single expert {experts[self.best_single]} "
            f"{100 * self.best_single_reward:.2f}, oracle {100 * self.oracle_reward:.2f}, "
            f"headroom {100 * self.headroom:.2f}; ties for the best {self.tie_share:.0%}, "
            f"reward entropy {self.entropy:.2f} of 1, expert agreement {self.agreement:.2f}"
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
        tie_share=float(((values == best_rewards[:, None]).sum(axis=1) > 1).mean()),
        entropy=float(reward_entropy(values).mean() / np.log(max(2, values.shape[1]))),
        headroom=float(np.nanmean(best_rewards - values[:, best])),
        agreement=_agreement(values),
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
    pairs = [(int(shared[pair]), *pair) for pair in combinations(range(len(experts)), 2)]
    few = [pair for pair in pairs if pair[0] < FEW_SHARED]
    if not few:
        return []
    count, one, two = min(few)
    return [
        f"{len(few)} of {len(pairs)} pairs of experts share fewer "
        f"than {FEW_SHARED} training queries ({experts[one]} and {experts[two]}: {count}); they "
        "are compared through other experts and the level of each query, which cannot be "
        "checked here"
    ]


def reward_entropy(rewards: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n_queries,) entropy in nats of the softmax over each query's observed rewards."""
    labels = normalise(rewards)
    logs = np.log(labels, where=labels > 0, out=np.zeros_like(labels))
    return np.asarray(-np.nansum(labels * logs, axis=1))


def _agreement(values: NDArray[np.float64]) -> float:
    correlations = []
    for one, other in combinations(values.T, 2):
        both = ~np.isnan(one) & ~np.isnan(other)
        a, b = one[both], other[both]
        if len(a) > 1 and a.std() > 0 and b.std() > 0:
            correlations.append(float(np.corrcoef(a, b)[0, 1]))
    return float(np.mean(correlations)) if correlations else float("nan")
