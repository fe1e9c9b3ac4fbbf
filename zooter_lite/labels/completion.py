"""Rewards that were not observed, filled in: what the expert would have earned there.

Experts that were asked different queries cannot be compared by their mean rewards: one that
was asked the easy ones looks good. A reward is taken apart into the level of its query (how
much everybody earns there), the effect of its expert in the query's subset, and what a ridge
regression on the embedding adds. The levels of a two-way fit cancel wherever a query has several
rewards, so which queries an expert was asked does not matter as far as the levels tell. A
complete table is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.blocks import for_blocks
from zooter_lite.labels.soft import Filled, sum_groups

Array = NDArray[np.float64]
Texts = Sequence[str] | NDArray[np.object_]

STRENGTH = 20.0  # pseudo-count, in queries, of an expert's effect in a subset
PENALTY = 20.0  # of the ridge, on unit embeddings
DOUBT = 1.5  # standard errors of the effect by which a reward that nobody saw is put lower
FEW = 50.0  # rewards of an expert; with so many its standard error counts 1.4 times
ROUNDS = 30  # of the two-way fit; each takes a query's level, then the experts' effects
MOST_WEIGHT = 20.0  # of one observation, where the propensity of its choice is known


@dataclass(frozen=True)
class Completion:
    """What is needed to fill in a row.

    A query with a single reward takes the mean level of its subset: it cannot tell its level
    from its expert's effect.
    """

    places: dict[str, int]  # number of each subset; the last of the below is for any other
    effects: Array  # (n_subsets + 1, n_experts) of each expert, beside the level of the query
    errors: Array  # (n_subsets + 1, n_experts) standard errors of the effects
    weight: Array  # (n_experts, dim) of the ridge; zero for an expert observed everywhere
    levels: Array  # (n_subsets + 1,) means
    variances: Array  # (n_experts,) of a reward around what is expected

    def fill(
        self,
        rewards: NDArray[np.floating],
        embeddings: Any,
        subsets: Texts,
        *,
        doubt: float = DOUBT,
        dtype: Any = np.float64,
        jobs: int = 1,
    ) -> Filled:
        """Fill every hole in the rewards, in arrays of `dtype`.

        Rewards are (n_queries, n_experts), NaN where not observed, at least one observed per
        query; embeddings (n_queries, dim) unit vectors, read block by block. A reward is put
        lower by `doubt` standard errors of the effect.
        """
        groups = _groups(self.places, subsets)
        filled = np.empty(rewards.shape, dtype=dtype)

        def work(rows: slice) -> None:
            values, places = rewards[rows].astype(np.float64), groups[rows]
            expected = self.effects[places]
            expected = expected + embeddings[rows].astype(np.float64) @ self.weight.T
            observed = ~np.isnan(values)
            count = observed.sum(axis=1)
            level = np.where(observed, values - expected, 0.0).sum(axis=1) / count.clip(1)
            level = np.where(count > 1, level, self.levels[places])
            guess = level[:, None] + expected - doubt * self.errors[places]
            filled[rows] = np.where(observed, values, guess)

        for_blocks(work, len(filled), jobs)
        return Filled(filled, np.where(np.isnan(rewards), self.variances, 0.0).astype(dtype))


def learn_completion(
    rewards: NDArray[np.floating],
    embeddings: NDArray[np.floating],
    subsets: Texts,
    propensities: Array | None = None,
) -> Completion:
    """Learn to fill in the rewards of these queries, and of others like them.

    `propensities` (n_queries,) are the chances with which a query's only observed expert was
    chosen; its observation counts by the inverse, up to `MOST_WEIGHT`. NaN, or None: once.
    """
    places = {name: place for place, name in enumerate(sorted(set(subsets)))}
    groups, n_groups = _groups(places, subsets), len(places) + 1
    observed, values = ~np.isnan(rewards), np.nan_to_num(rewards.astype(np.float64))
    level, levels, _ = _two_way(values, observed, groups, n_groups)
    weights = observed.astype(np.float64)
    if propensities is not None:
        weights *= np.nan_to_num(1 / propensities, nan=1.0).clip(1.0, MOST_WEIGHT)[:, None]
    effects, counts = _effects(values - level[:, None], weights, groups, n_groups)
    rest = values - level[:, None] - effects[groups]
    total = observed.sum(axis=0)
    variance = np.where(observed, rest**2, 0.0).sum(axis=0) / total.clip(1)
    shrunk = STRENGTH / (counts + STRENGTH)
    errors = np.sqrt(variance * (1 / (counts + STRENGTH) + shrunk**2 / total.clip(1)))
    errors *= np.sqrt(1 + FEW / total.clip(1))
    weight = np.zeros((rewards.shape[1], embeddings.shape[1]))
    inputs = embeddings.astype(np.float64)
    for expert in np.flatnonzero(~observed.all(axis=0)).tolist():
        rows = observed[:, expert]
        weighted = inputs[rows] * weights[rows, expert, None]
        gram = inputs[rows].T @ weighted + PENALTY * np.eye(inputs.shape[1])
        weight[expert] = np.linalg.solve(gram, weighted.T @ rest[rows, expert])
    return Completion(places, effects, errors, weight, levels, variance)


def completed(
    rewards: NDArray[np.floating],
    embeddings: NDArray[np.floating],
    subsets: Texts,
    propensities: Array | None = None,
) -> Filled:
    """Fill every hole in the rewards by what the same rows teach."""
    if not np.isnan(rewards).any():
        return Filled(rewards)
    learned = learn_completion(rewards, embeddings, subsets, propensities)
    return learned.fill(rewards, embeddings, subsets)


def _groups(places: dict[str, int], subsets: Texts) -> NDArray[np.int64]:
    """(n,) number of each query's subset; of one without a number, the last."""
    numbers = (places.get(name, len(places)) for name in subsets)
    return np.fromiter(numbers, dtype=np.int64, count=len(subsets))


def mean_rewards(rewards: NDArray[np.floating], subsets: Texts) -> Array:
    """(n_experts,) mean reward over all queries, holes filled in; NaN for one never observed."""
    nowhere, filled = np.zeros((len(rewards), 0)), rewards
    if np.isnan(rewards).any():
        learned = learn_completion(rewards, nowhere, subsets)
        filled = learned.fill(rewards, nowhere, subsets, doubt=0.0).rewards
    return np.where(np.isnan(rewards).all(axis=0), np.nan, filled.mean(axis=0, dtype=np.float64))


def expert_effects(rewards: NDArray[np.floating], subsets: Texts) -> Array:
    """(n_queries, n_experts) effect of each expert in the query's subset, by the two-way fit."""
    places = {name: place for place, name in enumerate(sorted(set(subsets)))}
    groups, observed = _groups(places, subsets), ~np.isnan(rewards)
    values = np.where(observed, rewards, 0.0).astype(np.float64)
    return np.asarray(_two_way(values, observed, groups, len(places) + 1)[2][groups])


def _two_way(
    values: Array, observed: NDArray[np.bool_], groups: NDArray[np.int64], n_groups: int
) -> tuple[Array, Array, Array]:
    """Level of each query (n,) and subset (n_groups,), and effects (n_groups, n_experts).

    A query with a single reward has the mean level of its subset, and no part in the effects; a
    subset of such queries alone has the mean level of all others.
    """
    count = observed.sum(axis=1)
    known = count > 1
    telling = np.where(known[:, None], observed, False).astype(np.float64)
    members = np.bincount(groups[known], minlength=n_groups)
    effects = np.zeros((n_groups, values.shape[1]))
    for turn in range(ROUNDS + 1):
        beside = np.where(observed, values - effects[groups], 0.0)
        level = beside.sum(axis=1) / count.clip(1)
        overall = float(level[known].mean()) if known.any() else 0.0
        total = np.bincount(groups[known], weights=level[known], minlength=n_groups)
        levels = np.where(members > 0, total / members.clip(1), overall)
        level = np.where(known, level, levels[groups])
        if turn < ROUNDS:
            effects, _ = _effects(values - level[:, None], telling, groups, n_groups)
            effects -= effects.mean(axis=1, keepdims=True)
    return level, levels, effects


def _effects(
    beside: Array, weights: Array, groups: NDArray[np.int64], n_groups: int
) -> tuple[Array, Array]:
    """(n_groups, n_experts) mean of `beside` by subset, shrunk to that of all, and its weight."""
    rows = np.arange(len(beside))
    total = sum_groups(beside * weights, rows, groups, n_groups)
    count = sum_groups(weights, rows, groups, n_groups)
    overall = total.sum(axis=0) / count.sum(axis=0).clip(1e-12)
    return (total + STRENGTH * overall) / (count + STRENGTH), count
