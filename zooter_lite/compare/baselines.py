"""What a router must beat. Everything here is learned on the training rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import faiss
import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.measure.metrics import Array, IntArray, paired_means, reward_of
from zooter_lite.measure.partial import levels_of
from zooter_lite.measure.system import (
    ALWAYS,
    BEST_PER_SUBSET,
    BEST_SINGLE,
    KNN,
    ORACLE,
    RANDOM,
    ROUTER,
    FloatArray,
    Role,
    System,
    TrainedOn,
    chooser,
)
from zooter_lite.router.decision import Predictions, choose
from zooter_lite.router.directory.config import Point
from zooter_lite.table.reward_table import RewardTable

NEIGHBOURS = (10, 30, 100, 300)
MOST_NEIGHBOURS = 50_000  # training queries that are compared with each other


def usual_systems(
    table: RewardTable,
    predicted: Predictions,
    embeddings: FloatArray,
    train: TrainedOn,
    scored: Mapping[str, Array] | None = None,
) -> list[System]:
    """Put the router beside the baselines, each single expert, and the bounds.

    The router stands first, the oracle last.

    Parameters
    ----------
    table
        The n rows to evaluate on; experts in the router's order.
    predicted, embeddings
        The router's outputs for these rows; embeddings (n, dim).
    scored
        Scores (n, n_experts) of further baselines on the same rows, such as rivals.
    """
    rewards = table.rewards.astype(np.float64)

    def always(name: str, role: Role, expert: int) -> System:
        return System(name, role, rewards[:, expert], np.full(len(table), expert, dtype=np.intp))

    systems = [_router(predicted, rewards), always(BEST_SINGLE, "baseline", train.best_single)]
    further = dict(scored or {})
    if train.table is not None:
        best = best_per_subset(train.table, table.subsets, train.best_single)
        systems.append(System(BEST_PER_SUBSET, "baseline", reward_of(best, rewards), best))
        further = {KNN: nearest_neighbours(train, embeddings)[0]} | further
    systems += [chooser(name, "baseline", rewards, scores) for name, scores in further.items()]
    systems += [best_answer(n, s, table, train.mean_rewards) for n, s in table.scores.items()]
    whole = ~np.isnan(rewards).any(axis=1)  # what all earn, and the best, is known there alone
    systems += [
        System(RANDOM, "bound", np.where(whole, rewards.mean(axis=1), np.nan)),
        *(always(ALWAYS + e, "single", i) for i, e in enumerate(table.experts)),
        System(ORACLE, "bound", np.where(whole, rewards.max(axis=1), np.nan)),
    ]
    return _levelled(systems, table)


def _levelled(systems: list[System], table: RewardTable) -> list[System]:
    """Add the levels of the rows where some rewards were not observed."""
    if not np.isnan(table.rewards).any():
        return systems
    rewards = table.rewards.astype(np.float64)
    levels = levels_of(rewards, table.subsets, [system.choices for system in systems])
    return [replace(s, level=level) for s, level in zip(systems, levels, strict=True)]


def _router(predicted: Predictions, rewards: Array) -> System:
    """Return the router as it chooses by itself: the most probable expert."""
    known = predicted.rewards is not None and predicted.costs is not None
    scores = predicted.rewards if known else predicted.probs
    router = chooser(ROUTER, "router", rewards, predicted.probs.astype(np.float64))
    return replace(router, scores=np.asarray(scores, dtype=np.float64), costs=predicted.costs)


def points_of(predicted: Predictions, points: Sequence[Point], table: RewardTable) -> list[System]:
    """Return the router at each of its operating points; those that need costs only with them."""
    rewards, systems = table.rewards.astype(np.float64), []
    for point in points:
        if not point.cost_weight or predicted.costs is not None:
            chosen = choose(predicted, point, table.experts).experts
            systems.append(System(point.name, "router", reward_of(chosen, rewards), chosen))
    return _levelled(systems, table)


def best_per_subset(train: RewardTable, subsets: Sequence[str], best_single: int) -> IntArray:
    """(n,) for each row the best expert of its subset on train; the best single where unseen."""
    names = np.asarray(train.subsets)
    best = {
        str(name): int(np.nanargmax(observed_mean(train.rewards[names == name])))
        for name in np.unique(names)
    }
    return np.asarray([best.get(subset, best_single) for subset in subsets], dtype=np.intp)


def nearest_neighbours(train: TrainedOn, embeddings: FloatArray) -> tuple[Array, int]:
    """Score the experts by their mean reward among the k nearest training queries.

    k is the one of `NEIGHBOURS` whose leave-one-out choices earn most on train, over the
    rows where every k chose an observed expert. Of more training queries than
    `MOST_NEIGHBOURS`, so many are drawn to be neighbours. Returns (n, n_experts) scores for
    `embeddings` (n, dim), -inf for an expert that none of the neighbours observed, and k.
    """
    if train.table is None or train.embeddings is None:
        raise ValueError("the neighbours need the training rows")
    rows = np.arange(len(train.embeddings))
    if len(rows) > MOST_NEIGHBOURS:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_NEIGHBOURS])
    known = np.ascontiguousarray(train.embeddings[rows], dtype=np.float32)
    rewards = train.table.rewards[rows]

    def nearest(queries: FloatArray, k: int) -> NDArray[np.int64]:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, len(known))
        return np.asarray(faiss.knn(queries, known, k, metric=faiss.METRIC_INNER_PRODUCT)[1])

    sizes = [k for k in NEIGHBOURS if k < len(known)] or [len(known) - 1 or 1]
    others = _without_self(nearest(known, max(sizes) + 1))
    votes = [_vote(others[:, :k], rewards, train.best_single) for k in sizes]
    chosen = [reward_of(vote.argmax(axis=1), rewards) for vote in votes]
    earned = paired_means(np.stack(chosen, axis=1))
    best = sizes[max(range(len(sizes)), key=lambda place: (earned[place], place))]
    return _vote(nearest(embeddings, best), rewards, train.best_single), best


def _without_self(neighbours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop each row's own position; where a duplicate pushed it out, drop the farthest."""
    kept = neighbours != np.arange(len(neighbours))[:, None]
    kept[kept.all(axis=1), -1] = False
    return np.asarray(neighbours[kept].reshape(len(neighbours), -1))


def _vote(neighbours: NDArray[np.int64], rewards: NDArray[np.float32], best_single: int) -> Array:
    """(n, n_experts) mean observed reward among each row's neighbours, -inf where none is."""
    known, seen = np.nan_to_num(rewards.astype(np.float64)), ~np.isnan(rewards)
    total, count = (np.zeros((len(neighbours), rewards.shape[1])) for _ in range(2))
    for place in neighbours.T:  # one neighbour at a time, which bounds the memory
        total += known[place]
        count += seen[place]
    means = np.where(count > 0, total / np.maximum(count, 1), -np.inf)
    means[:, best_single] += 1e-9  # the best single expert wins exact ties
    return means


def best_answer(scorer: str, scores: Array, part: RewardTable, mean_rewards: Array) -> System:
    """Reward ranking: ask every expert, then take the answer that a scorer likes best.

    It needs all answers before it chooses, so it is a bound, not a router; the paper compares
    with it all the same. Ties go to the expert with the best mean on train. It has no
    `scores`: they are made of the answers, whose cost is spent by then.
    """
    liked = np.where(np.isnan(scores), -np.inf, scores)
    preferred = np.nan_to_num(mean_rewards, nan=-np.inf)
    tied = liked == liked.max(axis=1, keepdims=True)
    choices = np.where(tied, preferred, -np.inf).argmax(axis=1)
    name = f"reward ranking ({scorer})"
    return System(name, "bound", reward_of(choices, part.rewards), choices)
