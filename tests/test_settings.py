"""The rewards' spread, and experts without a reward."""

from __future__ import annotations

import numpy as np
import pytest
from zooter_lite.head.settings import never_rewarded, reward_spread

NAN = float("nan")


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([[0.0, 1.0], [0.0, 1.0]], 0.5),
        ([[0.0, 2.0], [1.0, 1.0]], np.sqrt(0.5)),  # deviations -1, 1, 0, 0
        ([[0.0, NAN, 2.0]], 1.0),
        ([[3.0, 3.0], [1.0, 1.0]], 1.0),  # nothing varies within a query
        ([[1.0, NAN], [NAN, 5.0]], 1.0),
    ],
)
def test_reward_spread_by_hand(rewards: list[list[float]], expected: float) -> None:
    assert reward_spread(np.array(rewards)) == pytest.approx(expected)


def test_never_rewarded() -> None:
    assert never_rewarded(np.array([[1.0, NAN, 0.0, NAN], [NAN, NAN, 1.0, NAN]])) == [1, 3]
