"""The baselines: hand-made tables, and neighbours against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor

from tests.helpers import table, units
from zooter_lite.compare.baselines import (
    NEIGHBOURS,
    best_answer,
    best_per_subset,
    nearest_neighbours,
)
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.measure.system import TrainedOn

FloatArray = NDArray[np.float32]
NAN = float("nan")


def trained(rewards: NDArray[np.floating], embeddings: FloatArray) -> TrainedOn:
    return TrainedOn(observed_mean(rewards), table(rewards), embeddings)


def by_hand(
    rewards: NDArray[np.floating], known: FloatArray, queries: FloatArray, k: int
) -> NDArray[np.int64]:
    """Arg max of scikit-learn's mean reward of the k nearest by Euclidean distance."""
    regressor = KNeighborsRegressor(k, algorithm="brute").fit(known, rewards)
    return np.asarray(regressor.predict(queries).argmax(axis=1))


def test_best_per_subset_by_hand() -> None:
    rewards = [[1.0, 0, NAN], [1, 0, 0.2], [0, 0.5, NAN], [0, 0.5, 0.9], [NAN, NAN, 0.1]]
    train = table(rewards, subsets=["math", "math", "code", "code", "odd"])
    known = TrainedOn(observed_mean(train.rewards), train)
    assert known.best_single == 0  # 0.5 against 0.25 and 0.4
    found = best_per_subset(train, ["code", "unseen", "math", "odd"], known.best_single)
    assert found.tolist() == [2, 0, 0, 2]


def test_neighbours_are_scikit_learns() -> None:
    known, queries = (units(n, 4, seed).astype(np.float32) for n, seed in ((150, 0), (60, 1)))
    rewards = known[:, :3] + 0.5 * np.random.default_rng(0).normal(size=(150, 3))
    scores, k = nearest_neighbours(trained(rewards, known), queries)
    choices = scores.argmax(axis=1)
    assert k in NEIGHBOURS
    np.testing.assert_array_equal(choices, by_hand(rewards, known, queries, k))


def test_duplicates_that_crowd_a_row_out_are_not_the_row() -> None:
    # all rows stand at one point, so a row may be missing from its own neighbours
    known = np.tile(units(1, 4, 0), (30, 1)).astype(np.float32)
    rewards = np.tile([0.0, 1.0], (30, 1))
    scores, k = nearest_neighbours(trained(rewards, known), known[:3])
    assert k == 10
    assert scores.argmax(axis=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("n", [2, 11])
def test_few_rows_bound_k(n: int) -> None:
    known = units(n, 3, 0).astype(np.float32)
    rewards = np.tile([0.0, 1.0], (n, 1))
    scores, k = nearest_neighbours(trained(rewards, known), known)
    assert k == min(n - 1, 10)
    assert scores.argmax(axis=1).tolist() == [1] * n


def test_missing_rewards_count_for_nobody() -> None:
    known = np.tile(units(1, 3, 0), (12, 1)).astype(np.float32)
    rewards = np.full((12, 3), NAN)
    rewards[:, 0] = 0.4
    rewards[0:11, 1] = 0.5  # seen in eleven of twelve, mean 0.5
    scores, _ = nearest_neighbours(trained(rewards, known), known[:1])
    assert scores.argmax(axis=1).tolist() == [1]


def test_exact_ties_go_to_the_best_single_expert() -> None:
    known = np.concatenate([np.tile([[1.0, 0]], (40, 1)), np.tile([[0, 1.0]], (40, 1))])
    rewards = np.concatenate([np.tile([0.5, 0.5], (40, 1)), np.tile([0.0, 1.0], (40, 1))])
    scores, _ = nearest_neighbours(
        trained(rewards, known.astype(np.float32)), np.array([[1, 0]], dtype=np.float32)
    )
    assert scores.argmax(axis=1).tolist() == [1]


def test_neighbours_are_compared_on_the_rows_where_every_k_was_observed() -> None:
    random = np.random.default_rng(0)
    known = units(60, 3, 0).astype(np.float32)
    rewards = random.random((60, 3))
    rewards[random.random((60, 3)) < 0.4] = NAN
    rewards[:, 0] = np.where(np.isnan(rewards).all(axis=1), 0.5, rewards[:, 0])
    earned = np.full((60, 2), NAN)
    for row in range(60):
        others = [i for i in np.argsort(-known @ known[row]) if i != row]
        for place, k in enumerate((10, 30)):
            means = [np.nanmean(rewards[others[:k], e]) for e in range(3)]
            earned[row, place] = rewards[row, int(np.argmax(means))]
    both = earned[~np.isnan(earned).any(axis=1)].mean(axis=0)
    own = np.nanmean(earned, axis=0)
    assert both.argmax() != own.argmax()  # on rows of their own they would stand otherwise
    _, k = nearest_neighbours(trained(rewards, known), known[:1])
    assert k == (10, 30)[int(both.argmax())]


def test_tied_answers_go_to_the_expert_that_was_best_on_train() -> None:
    rewards = table([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    scores = np.array([[1.0, 1, 1], [1, 1, NAN]])
    found = best_answer("s", scores, rewards, np.array([0.2, NAN, 0.9]))
    np.testing.assert_array_equal(found.choices, [2, 0])
    assert (found.name, found.role) == ("reward ranking (s)", "bound")  # it saw all answers
