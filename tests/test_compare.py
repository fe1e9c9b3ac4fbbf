"""The comparison on a six-row table whose every mean is worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers import table
from zooter_lite.evaluation.baselines import TrainedOn
from zooter_lite.evaluation.compare import Comparison, compare
from zooter_lite.labels.diagnostics import observed_mean

NAN = float("nan")
# train: two heaps of ten, subset m where e0 is right and subset n where e1 is; e1 best overall
HEAPS = np.repeat(np.eye(2, dtype=np.float32), 12, axis=0)
TRAIN = table(
    np.repeat([[0.8, 0.4, 0.0], [0.0, 1.0, 0.2]], 12, axis=0), subsets=["m"] * 12 + ["n"] * 12
)
KNOWN = TrainedOn(observed_mean(TRAIN.rewards), TRAIN, HEAPS)
TEST = table(
    [[1.0, 0, 0], [0.5, 1, 0], [1, 0, 0.5], [0, 1, 0], [0, 0, 1], [1, 0.25, 0]],
    subsets=["m", "m", "m", "m", "n", "new"],
)
EMBEDDINGS = np.asarray([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
PROBS = np.eye(3)[[0, 1, 0, 1, 2, 1]]  # the oracle, but for the last row


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare("test", TEST, PROBS, EMBEDDINGS, KNOWN)


@pytest.mark.parametrize(
    ("name", "rewards"),
    [
        ("router", [1.0, 1, 1, 1, 1, 0.25]),
        ("best single on train (e1)", [0, 1, 0, 1, 0, 0.25]),
        ("best per subset on train", [1, 0.5, 1, 0, 0, 0.25]),  # e0 for m, e1 for n and new
        ("kNN (k=10)", [1, 0.5, 0, 1, 0, 1]),  # e0 near the first heap, e1 near the second
        ("random", [1 / 3, 0.5, 0.5, 1 / 3, 1 / 3, 1.25 / 3]),
        ("always e0", [1, 0.5, 1, 0, 0, 1]),
        ("always e1", [0, 1, 0, 1, 0, 0.25]),
        ("always e2", [0, 0, 0.5, 0, 1, 0]),
        ("oracle", [1, 1, 1, 1, 1, 1]),
    ],
)
def test_every_method_by_hand(found: Comparison, name: str, rewards: list[float]) -> None:
    score = found.method(name)
    subsets = {"m": np.mean(rewards[:4]), "n": rewards[4], "new": rewards[5]}
    assert score.micro.value == pytest.approx(np.mean(rewards))
    assert score.macro.value == pytest.approx(np.mean(list(subsets.values())))
    assert score.subsets == pytest.approx(subsets)
    assert score.micro.low <= score.micro.value <= score.micro.high
    # each of n and new has one row, so only the four rows of m can move the means
    spread = np.ptp(rewards[:4]) * 4 / 6
    assert score.micro.high - score.micro.low <= spread + 1e-9


def test_the_rest_by_hand(found: Comparison) -> None:
    assert [score.name for score in found.methods] == [
        "router", "best single on train (e1)", "best per subset on train", "kNN (k=10)", "random",
        "always e0", "always e1", "always e2", "oracle",
    ]  # fmt: skip
    assert (found.split, found.rows, found.best_single) == ("test", 6, "e1")
    assert found.subset_rows == {"m": 4, "n": 1, "new": 1}
    assert found.shares == pytest.approx({"e0": 2 / 6, "e1": 3 / 6, "e2": 1 / 6})
    assert found.unobserved == 0
    low, high, router = 2.4166667 / 6, 1.0, 5.25 / 6
    assert found.gap_closed == pytest.approx((router - low) / (high - low))
    # the router gains a whole row in n, whatever is drawn in m
    assert found.micro_gain == found.macro_gain == 1.0


def test_a_router_that_always_takes_the_best_single_expert_neither_gains_nor_loses() -> None:
    same = compare("test", TEST, np.eye(3)[[1] * 6], EMBEDDINGS, KNOWN)
    assert same.micro_gain == same.macro_gain == 0.5
    assert same.shares == {"e0": 0.0, "e1": 1.0, "e2": 0.0}


def test_a_router_that_loses_everywhere_has_no_chance_of_a_gain() -> None:
    worst = np.eye(3)[TEST.rewards.argmin(axis=1)]
    best_everywhere = TrainedOn(np.array([1.0, 0.0, 0.0]))
    rewards = np.tile([1.0, 0.0, 0.5], (6, 1))
    lost = compare("test", table(rewards), worst * 0 + [0, 1, 0], EMBEDDINGS, best_everywhere)
    assert lost.micro_gain == lost.macro_gain == 0.0


def test_without_training_rows_only_the_best_single_expert_is_known() -> None:
    found = compare("test", TEST, PROBS, EMBEDDINGS, TrainedOn(KNOWN.mean_rewards))
    names = [score.name for score in found.methods]
    assert "best single on train (e1)" in names
    assert not any(name.startswith(("best per subset", "kNN")) for name in names)
    assert found.method("router").micro.value == pytest.approx(5.25 / 6)


def test_choices_without_a_reward_are_counted_and_left_out() -> None:
    rewards = TEST.rewards.copy()
    rewards[1, 1] = rewards[4, 0] = NAN
    found = compare("test", table(rewards, subsets=TEST.subsets), PROBS, EMBEDDINGS, KNOWN)
    assert found.unobserved == 1
    assert found.method("router").micro.value == pytest.approx((1 + 1 + 1 + 1 + 0.25) / 5)
    assert found.method("random").micro.value == pytest.approx(
        np.mean([1 / 3, 0.25, 0.5, 1 / 3, 0.5, 1.25 / 3])
    )
    assert found.method("oracle").micro.value == pytest.approx(5.5 / 6)


def test_nothing_to_gain_has_no_gap() -> None:
    flat = compare("test", table(np.full((6, 3), 0.5)), PROBS, EMBEDDINGS, KNOWN)
    assert np.isnan(flat.gap_closed)


def test_to_json_holds_the_same_numbers(found: Comparison) -> None:
    content = json.loads(json.dumps(found.to_json()))
    assert content["gap_closed"] == found.gap_closed
    assert content["methods"][0]["name"] == "router"
    assert content["methods"][0]["micro"]["value"] == pytest.approx(5.25 / 6)
    assert content["shares"] == found.shares


def test_the_gap_is_taken_over_shared_rows_and_json_has_no_nan() -> None:
    # the router goes to `b` everywhere; `b` was observed on the last two rows only
    table_with_holes = table([[0.9, NAN], [0.9, NAN], [0.2, 0.5], [0.4, 0.5]])
    probs = np.tile([0.1, 0.9], (4, 1))
    known = TrainedOn(np.array([0.6, 0.5]))
    found = compare("test", table_with_holes, probs, np.ones((4, 1), dtype=np.float32), known)
    assert found.gap == pytest.approx(0.2)  # mean of 0.5 - 0.2 and 0.5 - 0.4, not 0.5 - 0.6
    assert found.micro_gain == 1.0
    assert found.unobserved == 2
    hopeless = compare("t", table_with_holes, 1 - probs, np.ones((4, 1), dtype=np.float32), known)
    assert hopeless.gap == 0.0
    json.dumps(found.to_json(), allow_nan=False)
