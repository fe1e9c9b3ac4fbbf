"""Compare a router with the baselines on one split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.data.table import RewardTable
from zooter_lite.evaluation import metrics
from zooter_lite.evaluation.baselines import TrainedOn, best_per_subset, nearest_neighbours
from zooter_lite.evaluation.metrics import Estimate

ROUTER, RANDOM, ORACLE = "router", "random", "oracle"
CERTAIN = 0.975  # paired probability above which a difference is called one


@dataclass(frozen=True)
class MethodScore:
    """Mean reward of one method: over queries, over subsets, and in each subset."""

    name: str
    micro: Estimate
    macro: Estimate
    subsets: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The router beside the baselines on one split.

    Attributes
    ----------
    split, rows, subset_rows
        What was evaluated.
    best_single
        Name of the expert that was best on train.
    methods
        The router first, then the baselines, each single expert, the oracle last.
    gap
        Router minus best single expert: mean difference over the queries where the
        rewards of both were observed.
    micro_gain, macro_gain
        Paired probability, over the same queries, that the router's mean is above that
        of the best single expert.
    shares
        Share of the queries that the router sends to each expert.
    unobserved
        Rows whose chosen expert has no observed reward; they count nowhere.
    """

    split: str
    rows: int
    subset_rows: dict[str, int]
    best_single: str
    methods: list[MethodScore]
    gap: float
    micro_gain: float
    macro_gain: float
    shares: dict[str, float]
    unobserved: int

    def method(self, name: str) -> MethodScore:
        """Return the score of the method of this name."""
        return next(score for score in self.methods if score.name == name)

    @property
    def gap_closed(self) -> float:
        """Share of the way from random to the oracle, by the mean over queries."""
        low, high = self.method(RANDOM).micro.value, self.method(ORACLE).micro.value
        span = high - low
        return (self.method(ROUTER).micro.value - low) / span if span > 0 else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and texts; None for a mean over nothing."""
        plain: dict[str, Any] = _without_nan(asdict(self) | {"gap_closed": self.gap_closed})
        return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def compare(
    split: str,
    table: RewardTable,
    probs: NDArray[np.floating],
    embeddings: NDArray[np.float32],
    train: TrainedOn,
    seed: int = 0,
) -> Comparison:
    """Evaluate the router's choices on the rows of `table`.

    Parameters
    ----------
    split
        Name of the split, for the report.
    table
        The rows to evaluate on; experts in the router's order.
    probs, embeddings
        The router's outputs for these rows, (n, n_experts) and (n, dim).
    train
        What the baselines may know.
    seed
        Of the bootstrap.
    """
    rewards = table.rewards.astype(np.float64)
    choices = probs.argmax(axis=1)
    best = table.experts[train.best_single]
    values = {ROUTER: metrics.reward_of(choices, rewards)}
    values[f"best single on train ({best})"] = rewards[:, train.best_single]
    if train.table is not None:
        per_subset = best_per_subset(train, table.subsets)
        values["best per subset on train"] = metrics.reward_of(per_subset, rewards)
        neighbours, k = nearest_neighbours(train, embeddings)
        values[f"kNN (k={k})"] = metrics.reward_of(neighbours, rewards)
    values[RANDOM] = np.nanmean(rewards, axis=1)
    values |= {f"always {expert}": rewards[:, i] for i, expert in enumerate(table.experts)}
    values[ORACLE] = np.nanmax(rewards, axis=1)
    difference = values[ROUTER] - values[f"always {best}"]
    both = np.where(np.isnan(difference), np.nan, 0.0)
    paired = {
        "paired router": values[ROUTER] + both,
        "paired single": values[f"always {best}"] + both,
    }
    drawn = metrics.resample(values | paired, table.subsets, seed)
    return Comparison(
        split=split,
        rows=len(table),
        subset_rows={
            str(s): int(n)
            for s, n in zip(*np.unique(table.subsets, return_counts=True), strict=True)
        },
        best_single=best,
        methods=[
            MethodScore(
                name,
                metrics.estimate(metrics.micro_mean(reward), drawn.micro[name]),
                metrics.estimate(metrics.macro_mean(reward, table.subsets), drawn.macro[name]),
                metrics.subset_means(reward, table.subsets),
            )
            for name, reward in values.items()
        ],
        gap=metrics.micro_mean(difference),
        micro_gain=metrics.probability_of_gain(*(drawn.micro[name] for name in paired)),
        macro_gain=metrics.probability_of_gain(*(drawn.macro[name] for name in paired)),
        shares={e: float((choices == i).mean()) for i, e in enumerate(table.experts)},
        unobserved=int(np.isnan(values[ROUTER]).sum()),
    )
