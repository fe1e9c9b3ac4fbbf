"""Operating points of simulated tables, of which the truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import EXPERTS, toy_config, toy_head
from zooter_lite.head.operating import KNOTS, MARGIN, SHOWN, cost_weights, operating_points
from zooter_lite.router.directory.config import Decisions, Point, RouterConfig

Array = NDArray[np.float64]
N = 3000


class Simulated(NamedTuple):
    """(N, 3) what is expected, and what came of it; the costs of a prompt vary by a fifth."""

    expected: Array
    costs: Array
    rewards: Array
    paid: Array

    def points(self, give: float = 0.02, *, costs: bool = True) -> Decisions:
        known = (self.costs, self.paid) if costs else (None, None)
        return operating_points(self.expected, known[0], self.rewards, known[1], EXPERTS, give=give)


def simulated(means: Array | list[float], prices: list[float], told: Array | float) -> Simulated:
    """Rewards of 0 or 1 with (N, 3) or (3,) means; `told` is expected of them, plus noise."""
    random = np.random.default_rng(5)
    rewards = (random.random((N, 3)) < means).astype(np.float64)
    expected = told + 0.05 * random.normal(size=(N, 3))
    vary = random.uniform(0.8, 1.2, size=(2, N, 1))
    costs, paid = vary * prices
    return Simulated(expected, costs, rewards, paid)


def named(found: Decisions) -> dict[str, Point]:
    return {point.name: point for point in found.points}


@pytest.fixture(scope="module")
def specialists() -> Simulated:
    """Ant is good at one half of the prompts, bee at the other; cat is cheap and middling."""
    half = np.arange(N)[:, None] < N // 2
    means = np.where(half, [0.9, 0.2, 0.5], [0.2, 0.9, 0.5])
    return simulated(means, [10.0, 8.0, 1.0], means)


@pytest.fixture(scope="module")
def nothing() -> Simulated:
    """Ant is the best of all and dear; what is expected tells nothing of a prompt."""
    return simulated([0.9, 0.5, 0.5], [10.0, 5.0, 1.0], 0.5)


@pytest.mark.parametrize("costs", [True, False])
def test_where_there_is_nothing_to_gain_the_best_single_expert_is_recommended(
    nothing: Simulated, costs: bool
) -> None:
    found = nothing.points(costs=costs)
    points = named(found)
    safe = points["safe"]
    assert (found.default, found.recommended) == ("quality", "safe")
    assert found.single == replace(safe, name="ant")
    assert (safe.expert, safe.gain, safe.gain_error) == ("ant", 0.0, 0.0)
    assert safe.shares == (1.0, 0.0, 0.0)
    assert safe.reward == pytest.approx(nothing.rewards[:, 0].mean(), rel=1e-5)
    assert points["quality"].gain is not None
    assert points["quality"].gain < 0
    assert found.why.startswith("out of fold, its gain over always ant is -")
    assert found.why.endswith("shown to lose less than 1 point: always ant")
    if costs:
        assert points["match"].expert == "ant"
    else:
        assert (list(points), found.curve, safe.cost) == (["quality", "safe"], (), None)


@pytest.mark.parametrize("costs", [True, False])
def test_specialists_are_worth_their_router(specialists: Simulated, costs: bool) -> None:
    found = specialists.points(costs=costs)
    points, (quality, *_) = named(found), found.points
    assert list(points) == ["quality", "match", "economy"] if costs else ["quality"]
    assert found.recommended == "quality"
    assert quality.gain == pytest.approx(0.35, abs=0.03)  # 0.9 everywhere, and 0.55 of ant or bee
    chosen = specialists.expected.argmax(axis=1)
    apart = specialists.rewards[np.arange(N), chosen] - specialists.rewards[:, found_single(found)]
    assert quality.gain == pytest.approx(apart.mean(), abs=1e-5)
    assert quality.gain_error == pytest.approx(apart.std() / np.sqrt(N), abs=1e-5)
    assert quality.shares == pytest.approx([0.5, 0.5, 0.0], abs=0.02)
    assert quality.cost == (pytest.approx(9.0, abs=0.2) if costs else None)
    assert "points (standard error" in found.why


def found_single(found: Decisions) -> int:
    assert found.single is not None
    assert found.single.expert is not None
    return EXPERTS.index(found.single.expert)


@pytest.mark.parametrize("kind", ["specialists", "nothing"])
def test_economy_gives_up_what_it_may_and_no_more(
    kind: str, request: pytest.FixtureRequest
) -> None:
    table: Simulated = request.getfixturevalue(kind)
    costs = []
    for give in (0.0, 0.02, 0.1, 0.3, 1.0):
        economy = named(table.points(give))["economy"]
        assert economy.gain is not None
        assert economy.gain >= -give - 0.005  # gains are smoothed before they are compared
        costs.append(economy.cost or 0.0)
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(1.0, abs=0.02)  # cat for everything


@pytest.mark.parametrize("seed", range(4))
def test_no_point_but_quality_is_dearer_than_the_best_single_expert(seed: int) -> None:
    random = np.random.default_rng(seed)
    means = random.uniform(0.3, 0.7, size=(1, 3)) + 0.3 * random.normal(size=(N, 3))
    table = simulated(means, random.uniform(0.1, 5.0, size=3).tolist(), means)
    found = table.points()
    assert found.single is not None
    assert found.single.cost is not None
    assert found.single.reward == pytest.approx(table.rewards.mean(axis=0).max(), rel=1e-5)
    for point in found.points[1:]:
        assert point.cost is not None
        assert point.cost <= found.single.cost
    safe = named(found).get("safe")
    if safe is not None:
        assert (safe.gain or 0.0) >= SHOWN * (safe.gain_error or 0.0) - MARGIN - 0.005


def test_the_curve_falls_from_quality_to_the_cheapest_and_is_kept_in_config(
    specialists: Simulated,
) -> None:
    found = specialists.points()
    first, last = found.curve[0], found.curve[-1]
    quality = found.points[0]
    assert (first.cost_weight, first.reward, first.cost) == (0.0, quality.reward, quality.cost)
    assert len(found.curve) <= KNOTS
    assert all(a.cost_weight < b.cost_weight for a, b in pairwise(found.curve))
    assert all(a.expected_cost >= b.expected_cost for a, b in pairwise(found.curve))
    assert last.cost == pytest.approx(specialists.paid[:, 2].mean(), rel=1e-5)
    assert last.expected_cost == pytest.approx(specialists.costs[:, 2].mean(), rel=1e-5)
    config = toy_config(toy_head("linear"), decisions=found)
    assert RouterConfig.from_json(config.to_json().encode()).decisions == found


def test_cost_weights_by_hand() -> None:
    # 0.4 of reward are worth 2 of cost from a weight of 0.2 on; 0.3 are worth 1 from 0.3 on
    expected, costs = np.array([[0.9, 0.5], [0.8, 0.5]]), np.array([[3.0, 1.0], [2.0, 1.0]])
    weights = cost_weights(expected, costs)
    # the least that breaks a tie alone, and what sends both prompts to the cheaper one
    assert weights[:3] == pytest.approx([0.0, 0.1, 0.2])
    assert weights[-2:] == pytest.approx([0.3, 0.303])
    assert weights == sorted(set(weights))
    assert cost_weights(expected, costs[:, ::-1]) == [0.0]  # the best are the cheapest


def test_a_lucky_cost_weight_is_not_taken() -> None:
    """Ant loses a tenth, wins it back on the next, and loses once more: no cost tells it so."""
    dearer = np.arange(1, N + 1) / N  # that cat is better, as expected; so ant's share rises
    tenth = np.arange(N) * 10 // N
    ant = np.select([tenth == 1, tenth < 3], [1.0, 0.0], 0.5)
    cat = np.select([tenth == 1, tenth < 3], [0.0, 1.0], 0.5)
    bee = np.zeros(N)
    expected = np.stack([np.zeros(N), bee - 9, dearer], axis=1)
    costs = np.tile([1.0, 9.0, 3.0], (N, 1))
    found = operating_points(expected, costs, np.stack([ant, bee, cat], axis=1), costs, EXPERTS)
    assert found.single is not None
    assert found.single.expert == EXPERTS[2]
    match = named(found)["match"]
    assert match.shares is not None
    assert match.shares[0] < 0.05  # at 0.2 ant has won back what it lost
