"""What a router must beat. Everything here is learned on the training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.measure.metrics import reward_of
from zooter_lite.measure.system import (
    ALWAYS,
    BEST_PER_SUBSET,
    BEST_SINGLE,
    KNN,
    ORACLE,
    RANDOM,
    ROUTER,
    IntArray,
    Role,
    System,
)
from zooter_lite.table.reward_table import RewardTable

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]

NEIGHBOURS = (10, 30, 100, 300)
MOST_NEIGHBOURS = 50_000  # training queries that are compared with each other


@dataclass(frozen=True)
class TrainedOn:
    """What the baselines know of the training rows.

    Attributes
    ----------
    mean_rewards
        (n_experts,) mean observed reward.
    table, embeddings
        The training rows and their unit embeddings (n, dim); None where the evaluated
        file has no training rows: only the best single expert is known then.
    """

    mean_rewards: Array
    table: RewardTable | None = None
    embeddings: FloatArray | None = None

    @property
    def best_single(self) -> int:
        """Position of the expert with the highest mean reward on train."""
        return int(np.nanargmax(self.mean_rewards))


def best_per_subset(train: TrainedOn, subsets: Sequence[str]) -> IntArray:
    """(n,) for each row the best expert of its subset on train; the best single where unseen."""
    if train.table is None:
        raise ValueError("the best expert per subset needs the training rows")
    names = np.asarray(train.table.subsets)
    best = {
        str(name): int(np.nanargmax(observed_mean(train.table.rewards[names == name])))
        for name in np.unique(names)
    }
    chosen = [best.get(subset, train.best_single) for subset in subsets]
    return np.asarray(chosen, dtype=np.intp)


def nearest_neighbours(train: TrainedOn, embeddings: FloatArray) -> tuple[Array, int]:
    """Score the experts by their mean reward among the k nearest training queries.

    k is the one of `NEIGHBOURS` whose leave-one-out choices earn most on train. Of more
    training queries than `MOST_NEIGHBOURS`, so many are drawn to be neighbours.

    Returns
    -------
    (n, n_experts) scores for `embeddings` (n, dim), -inf for an expert that none of the
    neighbours observed, and k.
    """
    if train.table is None or train.embeddings is None:
        raise ValueError("the neighbours need the training rows")
    rows = np.arange(len(train.embeddings))
    if len(rows) > MOST_NEIGHBOURS:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_NEIGHBOURS])
    known = np.ascontiguousarray(train.embeddings[rows], dtype=np.float32)
    index = faiss.IndexFlatIP(known.shape[1])
    index.add(known)
    rewards = train.table.rewards[rows]
    sizes = [k for k in NEIGHBOURS if k < len(known)] or [len(known) - 1 or 1]
    others = _without_self(index.search(known, min(max(sizes) + 1, len(known)))[1])
    earned = {}
    for k in sizes:
        choices = _vote(others[:, :k], rewards, train.best_single).argmax(axis=1)
        earned[k] = float(np.nanmean(reward_of(choices, rewards)))
    best = max(earned, key=lambda k: (earned[k], k))
    found = index.search(np.ascontiguousarray(embeddings, dtype=np.float32), min(best, len(known)))
    return _vote(found[1], rewards, train.best_single), best


def chooser(name: str, role: Role, rewards: Array, scores: Array) -> System:
    """Make the system that takes the best-scored expert of each row.

    Parameters
    ----------
    rewards, scores
        (n, n_experts) of the same rows.
    """
    choices = scores.argmax(axis=1)
    return System(name, role, reward_of(choices, rewards), choices, scores)


def usual_systems(
    table: RewardTable,
    probs: NDArray[np.floating],
    embeddings: FloatArray,
    train: TrainedOn,
    others: Sequence[System] = (),
) -> list[System]:
    """Put the router beside the baselines, each single expert, and the bounds.

    Parameters
    ----------
    table
        The rows to evaluate on; experts in the router's order.
    probs, embeddings
        The router's outputs for these rows, (n, n_experts) and (n, dim).
    train
        What the baselines may know.
    others
        Further baselines on the same rows, such as rivals.

    Returns
    -------
    The router first, the oracle last.
    """
    rewards = table.rewards.astype(np.float64)

    def fixed(name: str, role: Role, choices: IntArray) -> System:
        return System(name, role, reward_of(choices, rewards), choices)

    def always(expert: int) -> IntArray:
        return np.full(len(table), expert, dtype=np.intp)

    systems = [chooser(ROUTER, "router", rewards, np.asarray(probs, dtype=np.float64))]
    systems.append(fixed(BEST_SINGLE, "baseline", always(train.best_single)))
    if train.table is not None:
        systems.append(fixed(BEST_PER_SUBSET, "baseline", best_per_subset(train, table.subsets)))
        systems.append(chooser(KNN, "baseline", rewards, nearest_neighbours(train, embeddings)[0]))
    systems += others
    systems.append(System(RANDOM, "bound", np.nanmean(rewards, axis=1), None))
    systems += [fixed(ALWAYS + e, "single", always(i)) for i, e in enumerate(table.experts)]
    systems.append(System(ORACLE, "bound", np.nanmax(rewards, axis=1), None))
    return systems


def _without_self(neighbours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop each row's own position; where a duplicate pushed it out, drop the farthest."""
    kept = neighbours != np.arange(len(neighbours))[:, None]
    kept[kept.all(axis=1), -1] = False
    return np.asarray(neighbours[kept].reshape(len(neighbours), -1))


def _vote(neighbours: NDArray[np.int64], rewards: NDArray[np.float32], best_single: int) -> Array:
    """(n, n_experts) mean observed reward among each row's neighbours, -inf where none is."""
    means = np.empty((len(neighbours), rewards.shape[1]))
    for start in range(0, len(neighbours), 1024):  # bounds the memory of the gathered rewards
        part = slice(start, start + 1024)
        gathered = rewards[neighbours[part]].astype(np.float64)
        count = (~np.isnan(gathered)).sum(axis=1)
        means[part] = np.where(
            count > 0, np.nansum(gathered, axis=1) / np.maximum(count, 1), -np.inf
        )
    means[:, best_single] += 1e-9  # the best single expert wins exact ties
    return means
