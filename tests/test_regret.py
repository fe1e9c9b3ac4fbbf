"""Regret by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers import table
from zooter_lite.measure.metrics import draw, measure
from zooter_lite.measure.regret import Regret, regret
from zooter_lite.table.reward_table import RewardTable

NAN = float("nan")


def regret_of(rows: RewardTable, choices: list[int], probability: list[float]) -> Regret:
    draws = draw(rows.subsets, 0, 100)
    return regret(rows, np.array(choices), np.array(probability), draws)


def test_regret_by_subset_by_hand() -> None:
    rewards = np.array(
        [[0, 1], [1, 0], [0.5, 1], [NAN, 1], [0.5, 1]]
    )  # lost: 1, 0, 0.5, unknown, 0.5
    found = regret_of(table(rewards, subsets=[*"baabb"]), [0] * 5, [0.5] * 5)
    first, second = found.by_subset
    assert (first.name, first.regret.value, first.share) == ("a", 0.25, 0.25)
    assert (second.name, second.regret.value, second.share) == ("b", 0.75, 0.75)
    draws = draw([*"baabb"], 0, 100)
    lost = np.array([1.0, NAN, NAN, NAN, 0.5])
    assert second.regret == measure(lost[:, None], draws).micro[0]


def test_worst_rows_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.75], [1.0, 0.0], [NAN, 1.0]]
    rows = table(rewards, subsets=[*"abcde"])
    surest = [0.6, 0.9, 0.99, 0.7, 0.99]
    found = regret_of(rows, [1, 0, 0, 0, 0], surest).worst
    assert [row.query_id for row in found] == ["1", "0", "2"]  # no regret in 3, unknown in 4
    first = found[0]
    assert (first.query, first.subset, first.probability) == ("query 1", "b", 0.9)
    assert (first.chosen, first.chosen_reward) == ("e0", 0.0)
    assert (first.best, first.best_reward, first.regret) == ("e1", 1.0, 1.0)
    none = regret_of(rows.take(np.array([3])), [0], [0.5])
    assert (none.mean.value, none.worst) == (0.0, [])
    assert math.isnan(none.by_subset[0].share)
    monkeypatch.setattr("zooter_lite.measure.regret.WORST", 1)
    assert [row.query_id for row in regret_of(rows, [1, 0, 0, 0, 0], surest).worst] == ["1"]
