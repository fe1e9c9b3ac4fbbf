"""The baselines: hand-made tables, and neighbours against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

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


def test_best_per_subset_by_hand() -> None:
    rewards = [[1.0, 0, NAN], [1, 0, 0.2], [0, 0.5, NAN], [0, 0.5, 0.9], [NAN, NAN, 0.1]]
    train = table(rewards, subsets=["math", "math", "code", "code", "odd"])
    known = TrainedOn(observed_mean(train.rewards), train)
    assert known.best_single == 0  # 0.5 against 0.25 and 0.4
    found = best_per_subset(train, ["code", "unseen", "math", "odd"], known.best_single)
    assert found.tolist() == [2, 0, 0, 2]


def test_duplicates_that_crowd_a_row_out_are_not_the_row() -> None:
    # all rows stand at one point, so a row may be missing from its own neighbours
    known = np.tile(units(1, 4, 0), (30, 1)).astype(np.float32)
    rewards = np.tile([0.0, 1.0], (30, 1))
    scores, k = nearest_neighbours(trained(rewards, known), known[:3])
    assert k == 10
    assert scores.argmax(axis=1).tolist() == [1, 1, 1]


def test_exact_ties_go_to_the_best_single_expert() -> None:
    known = np.concatenate([np.tile([[1.0, 0]], (40, 1)), np.tile([[0, 1.0]], (40, 1))])
    rewards = np.concatenate([np.tile([0.5, 0.5], (40, 1)), np.tile([0.0, 1.0], (40, 1))])
    scores, _ = nearest_neighbours(
        trained(rewards, known.astype(np.float32)), np.array([[1, 0]], dtype=np.float32)
    )
    assert scores.argmax(axis=1).tolist() == [1]


@pytest.mark.parametrize(("n", "holes"), [(2, 0.5), (11, 0.0), (60, 0.4), (150, 0.1)])
def test_neighbours_equal_a_plain_loop(n: int, holes: float) -> None:
    random = np.random.default_rng(0)
    known, queries = (units(size, 3, seed).astype(np.float32) for size, seed in ((n, 0), (30, 1)))
    rewards = random.random((n, 3))
    rewards[random.random((n, 3)) < holes] = NAN
    rewards[:, 0] = np.where(np.isnan(rewards).all(axis=1), 0.5, rewards[:, 0])

    def vote(query: FloatArray, k: int, own: int = -1) -> list[float]:
        """Mean observed reward of each expert among the k nearest rows but its own."""
        near = [row for row in np.argsort(-known @ query) if row != own][:k]
        seen = [[r for r in rewards[near, expert] if not np.isnan(r)] for expert in range(3)]
        return [float(np.mean(each)) if each else -np.inf for each in seen]

    sizes = [k for k in NEIGHBOURS if k < n] or [n - 1]
    earned = np.array([
        [rewards[row, np.argmax(vote(known[row], k, row))] for k in sizes] for row in range(n)
    ])  # fmt: skip
    both = earned[~np.isnan(earned).any(axis=1)].mean(axis=0)  # where every k was observed
    scores, k = nearest_neighbours(trained(rewards, known), queries)
    assert k == sizes[int(both.argmax())]
    np.testing.assert_allclose(scores, [vote(query, k) for query in queries], atol=1e-6)


def test_tied_answers_go_to_the_expert_that_was_best_on_train() -> None:
    rewards = table([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    scores = np.array([[1.0, 1, 1], [1, 1, NAN]])
    found = best_answer("s", scores, rewards, np.array([0.2, NAN, 0.9]))
    np.testing.assert_array_equal(found.choices, [2, 0])
    assert (found.name, found.role) == ("reward ranking (s)", "bound")  # it saw all answers
