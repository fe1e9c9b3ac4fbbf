"""APGR and CPT against a plain loop, by hand, and at random."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from zooter_lite.measure.metrics import Draws, Estimate, draw
from zooter_lite.measure.recovered import SHARES, recovered_gap

Array = NDArray[np.float64]
NAN = float("nan")


def draws_of(n: int, n_resamples: int = 50) -> Draws:
    return draw(["all"] * n, 0, n_resamples)


def test_by_hand() -> None:
    # the strong expert (1) gains 1 on the first and third row, and the router knows it:
    # at half the calls the whole gap is recovered, on a straight line up to there
    rewards = np.array([[0.0, 1.0], [0.5, 0.5], [0.0, 1.0], [1.0, 1.0]])
    scores = np.array([[0.0, 0.9], [0.5, 0.3], [0.0, 0.9], [0.2, 0.1]])
    apgr, cpt = recovered_gap(scores, rewards, (0, 1), draws_of(4))
    assert apgr.value == pytest.approx(0.25 + 0.5)
    assert cpt["50"].value == pytest.approx(0.25)
    assert cpt["80"].value == pytest.approx(0.4)


def test_a_strong_expert_that_also_harms_can_be_beaten() -> None:
    rewards = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    scores = np.array([[0.0, 3.0], [0.0, 2.0], [0.0, 0.0], [0.0, 1.0]])
    apgr, cpt = recovered_gap(scores, rewards, (0, 1), draws_of(4))
    # PGR 0, 1, 2, 2, 1 at shares 0, 1/4, ..., 1
    assert apgr.value == pytest.approx((0.5 + 1.5 + 2 + 1.5) / 4, abs=0.005)  # a grid of 0.02
    assert cpt["50"].value == pytest.approx(0.125)


def loop(scores: Array, rewards: Array) -> tuple[float, dict[int, float]]:
    """RouteLLM's definition on a fine grid: sort by the score gap, send the first to strong."""
    order = np.argsort(-(scores[:, 1] - scores[:, 0]), kind="stable")
    weak, strong = rewards[:, 0].mean(), rewards[:, 1].mean()
    recovered = []
    for calls in range(len(order) + 1):
        total = rewards[order[:calls], 1].sum() + rewards[order[calls:], 0].sum()
        recovered.append((total / len(order) - weak) / (strong - weak))
    shares = np.arange(len(order) + 1) / len(order)
    area = sum((a + b) / 2 for a, b in pairwise(recovered)) / len(order)
    needed = {
        percent: next(s for s, r in zip(shares, recovered, strict=True) if r >= percent / 100)
        for percent in (50, 80)
    }
    return float(area), needed


def test_it_equals_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    rewards = random.random((400, 2)) + np.array([0.0, 0.3])
    scores = rewards + random.normal(size=(400, 2))
    apgr, cpt = recovered_gap(scores, rewards, (0, 1), draws_of(400))
    area, needed = loop(scores, rewards)
    assert apgr.value == pytest.approx(area, abs=2e-3)
    for percent, share in needed.items():
        assert cpt[str(percent)].value == pytest.approx(share, abs=0.02)


def test_intervals_equal_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    rewards = random.random((60, 2)) + np.array([0.0, 0.6])
    scores = random.normal(size=(60, 2))
    draws = draws_of(60, 70)
    order = np.argsort(-(scores[:, 1] - scores[:, 0]))
    areas, fifties = [], []
    for counts in draws.counts[0]:
        shares, recovered = [], []
        for share in SHARES:
            weight = np.zeros(60)
            weight[order] = np.clip(share * 60 - np.arange(60), 0, 1)
            shares.append((weight * counts).sum() / 60)
            mixed = weight * rewards[:, 1] + (1 - weight) * rewards[:, 0]
            weak, strong = counts @ rewards[:, 0], counts @ rewards[:, 1]
            recovered.append((counts @ mixed - weak) / (strong - weak))
        areas.append(np.interp(np.linspace(0, 1, 20001), shares, recovered).mean())
        grid = np.interp(np.linspace(0, 1, 20001), shares, recovered)
        fifties.append(np.argmax(grid >= 0.5) / 20000)
    apgr, cpt = recovered_gap(scores, rewards, (0, 1), draws)
    assert (apgr.low, apgr.high) == pytest.approx(np.percentile(areas, [2.5, 97.5]), abs=1e-3)
    expected = np.percentile(fifties, [2.5, 97.5])
    assert (cpt["50"].low, cpt["50"].high) == pytest.approx(expected, abs=1e-3)


def test_a_random_router_recovers_half_on_average() -> None:
    random = np.random.default_rng(0)
    rewards = random.random((5000, 2)) + np.array([0.0, 0.5])
    apgr, cpt = recovered_gap(random.random((5000, 2)), rewards, (0, 1), draws_of(5000))
    assert apgr.low < 0.5 < apgr.high
    assert cpt["80"].value == pytest.approx(0.8, abs=0.02)
    # no preference at all is exactly random, whatever the order of the rows
    apgr, cpt = recovered_gap(np.zeros((5000, 2)), rewards, (0, 1), draws_of(5000))
    assert (apgr.value, cpt["50"].value) == pytest.approx((0.5, 0.5))


def test_unobserved_rewards_and_other_experts_count_nowhere() -> None:
    rewards = np.array([[0.3, 0.0, 1.0], [0.3, NAN, 1.0], [0.3, 0.5, 1.0], [0.3, 0.5, NAN]])
    scores = np.random.default_rng(0).random((4, 3))
    found = recovered_gap(scores, rewards, (1, 2), draw([*"abab"], 0, 20))
    rows = [0, 2]
    expected = recovered_gap(scores[rows][:, 1:], rewards[rows][:, 1:], (0, 1), draws_of(2))
    assert found[0].value == pytest.approx(expected[0].value)
    assert found[1]["80"].value == pytest.approx(expected[1]["80"].value)


@pytest.mark.parametrize(
    ("rewards", "pair"),
    [
        ([[1.0, 0.0], [1.0, 0.5]], (0, 1)),  # the strong expert is worse here
        ([[0.5, 0.5], [0.5, 0.5]], (0, 1)),
        ([[0.0, 1.0], [0.0, 1.0]], (1, 1)),  # the best is the cheapest
        ([[0.0, NAN], [NAN, 1.0]], (0, 1)),
    ],
)
def test_without_a_gap_all_is_nan(rewards: list[list[float]], pair: tuple[int, int]) -> None:
    apgr, cpt = recovered_gap(np.zeros((2, 2)), np.array(rewards), pair, draws_of(2, 10))
    assert isinstance(apgr, Estimate)
    for found in (apgr, cpt["50"], cpt["80"]):
        assert math.isnan(found.value)
        assert math.isnan(found.low)
