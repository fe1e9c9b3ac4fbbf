"""The recipe of decisions: its sums by hand on a few rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recipes.decisions.measure import Judged, points, selective_line
from tests.helpers import table
from zooter_lite.router.decision import Predictions
from zooter_lite.router.directory.config import Point

REWARDS = [[1, 0], [0, 1], [1, 0], [0, 0]]


def judged() -> Judged:
    costs = np.tile(np.asarray([4.0, 1.0], dtype=np.float32), (4, 1))
    probs = np.asarray([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.95, 0.05]])
    rewards = np.asarray([[0.9, 0.1], [0.1, 0.8], [0.7, 0.2], [0.1, 0.0]])
    predicted = Predictions(probs, rewards, costs)
    return Judged(replace(table(REWARDS), costs=costs), predicted, single=0)


def test_gains_and_shares_are_against_the_best_single_expert() -> None:
    one = judged()
    chosen = one.choices(Point("quality"))
    assert chosen.tolist() == [0, 1, 0, 0]
    assert one.gain(chosen).tolist() == [0, 1, 0, 0]
    assert one.share(chosen) == 13 / 16
    assert points(one.gain(chosen)) == "+25.00 ± 21.65"


def test_the_halves_are_told_by_what_is_expected_of_the_choice() -> None:
    # by reward rows 0 and 1, both right; by probability rows 3 and 0, of which one is
    assert selective_line("toy", judged()).startswith("| toy | 75.0 | 100.0 | 50.0 | +50.00 ± ")
