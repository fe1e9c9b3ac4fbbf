"""The calibration temperature: a known one recovered, and a minimum."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import softmax
from zooter_lite.head.estimate import calibration_temperature
from zooter_lite.labels.soft import harden

NAN = float("nan")


@pytest.mark.parametrize("true_temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("holes", [False, True])
def test_calibration_recovers_a_known_temperature(true_temperature: float, holes: bool) -> None:
    random = np.random.default_rng(0)
    logits = true_temperature * random.normal(size=(20_000, 3)) * 1.5
    uniform = random.gumbel(size=logits.shape)  # arg max of logit + Gumbel draws from the softmax
    winner = (logits / true_temperature + uniform).argmax(axis=1)
    rewards = np.eye(3)[winner]
    if holes:
        loser = (winner + 1 + random.integers(0, 2, len(winner))) % 3
        rewards[np.arange(len(winner)), loser] = NAN
    assert calibration_temperature(logits, rewards) == pytest.approx(true_temperature, rel=0.06)


def test_calibration_minimises_the_cross_entropy_with_shared_ties() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 3))
    rewards = np.round(logits + random.normal(size=(200, 3)))
    target = harden(rewards)

    def loss(temperature: float) -> float:
        return float(-(target * np.log(softmax(logits / temperature))).sum(axis=1).mean())

    best = calibration_temperature(logits, rewards)
    assert (target == 0.5).any()
    assert loss(best) < min(loss(best * 1.05), loss(best / 1.05))
