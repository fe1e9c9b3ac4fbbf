"""Reward diagnostics against hand-worked tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zooter_lite.labels.diagnostics import (
    diagnose,
    reward_entropy,
)

NAN = float("nan")


def test_diagnose_by_hand() -> None:
    # column means 0.5, 0.75, 0.25; best of each row 1, 1, 1, 0; the last row ties three ways
    rewards = np.array([[1.0, 1, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
    found = diagnose(rewards)
    assert found.best_single == 1
    assert found.best_single_reward == 0.75
    assert found.oracle_reward == 0.75
    assert found.headroom == 0.0
    assert found.tie_share == 0.75
    # labels e : e : 1 and 1 : e : 1, else all alike; as a share of log 3
    two, one = (math.log(n * math.e + 3 - n) - n * math.e / (n * math.e + 3 - n) for n in (2, 1))
    assert found.entropy == pytest.approx((two + one + 2 * math.log(3)) / 4 / math.log(3))


def test_diagnose_where_rewards_are_missing() -> None:
    rewards = np.array([[1.0, NAN], [NAN, 0.4], [0.0, 0.6], [0.2, 0.2]])
    found = diagnose(rewards)
    assert found.best_single == 0  # both means are 0.4: the first
    assert found.best_single_reward == pytest.approx(0.4)
    assert found.oracle_reward == pytest.approx((1.0 + 0.4 + 0.6 + 0.2) / 4)
    assert found.headroom == pytest.approx((0.0 + 0.6 + 0.0) / 3)  # where the first was observed
    assert found.tie_share == 0.25


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([[0.0, math.log(3.0)]], -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))),
        ([[2.0, 2.0]], math.log(2.0)),
        ([[2.0, NAN]], 0.0),
        ([[1000.0, 0.0]], 0.0),  # a label of exactly zero adds nothing
        ([[1.0, 1.0, NAN]], math.log(2.0)),
    ],
)
def test_reward_entropy_by_hand(rewards: list[list[float]], expected: float) -> None:
    assert reward_entropy(np.array(rewards))[0] == pytest.approx(expected)
