"""Hull, AIQ and operating points by hand, and by brute force over mixtures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.helpers import table
from zooter_lite.measure.costs import (
    CostQuality,
    Point,
    cost_quality,
    hull,
    mean_height,
    point_results,
    sweep,
)
from zooter_lite.measure.metrics import Draws, draw, reward_of
from zooter_lite.measure.system import System, TrainedOn
from zooter_lite.table.reward_table import RewardTable

Array = NDArray[np.float64]
NAN = float("nan")
points = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda p: (p[0] / 4, p[1] / 4)),
    min_size=1,
    max_size=12,
)


def best_mixture(known: Array, cost: float) -> float:
    """Highest mean reward of any mixture of two points that costs at most `cost`."""
    best = -math.inf
    for one in known:
        for other in known:
            if one[0] <= cost:
                share = (
                    1.0 if other[0] <= one[0] else min(1.0, (cost - one[0]) / (other[0] - one[0]))
                )
                best = max(best, one[1], one[1] + share * (other[1] - one[1]))
    return best


@given(points)
def test_the_hull_is_the_best_mixture_at_every_cost(found: list[tuple[float, float]]) -> None:
    known = np.array(found)
    (outline,) = hull(known[None])
    assert (np.diff(outline, axis=0) > 0).all()  # dearer and better all along
    for cost in np.linspace(known[:, 0].min(), known[:, 0].max() + 1, 17):
        height = np.interp(cost, outline[:, 0], outline[:, 1])
        assert height == pytest.approx(best_mixture(known, cost))


def test_the_hull_leaves_unknown_points_out() -> None:
    found = hull(np.array([[[NAN, 9.0], [1.0, 0.5], [0.5, NAN], [1.0, 0.7]]]))
    np.testing.assert_array_equal(found, [[[1.0, 0.7]]])
    np.testing.assert_array_equal(hull(np.array([[[NAN, 0.5], [1.0, NAN]]])), [[[NAN, NAN]]])


@pytest.mark.filterwarnings("error")
def test_hulls_of_many_sets_are_those_of_each() -> None:
    sets = np.random.default_rng(0).integers(0, 6, (50, 9, 2)) / 4
    sets[:40:3, ::2, 0], sets[7] = NAN, NAN
    low, high = np.nan_to_num(sets[..., 0], nan=2.0).min(axis=1), np.full(50, 1.0)
    outlines = hull(sets)
    heights = mean_height(outlines, low, high)
    for place, outline in enumerate(outlines):
        (own,) = hull(sets[[place]])
        np.testing.assert_array_equal(outline[: len(own)], own)
        np.testing.assert_array_equal(outline[len(own) :], own[[-1] * (len(outline) - len(own))])
        alone = mean_height(own[None], low[[place]], high[[place]])
        assert alone == pytest.approx(heights[[place]], nan_ok=True)


def test_mean_height_of_no_range_is_nan() -> None:
    outlines = np.array([[[1.0, 0.5], [2.0, 1.0]]] * 5 + [[[NAN, NAN]] * 2])
    low = np.array([1.0, 0.5, 1.5, 0.5, 1.0, 0.0])  # nothing is as cheap as 0.5
    found = mean_height(outlines, low, np.array([1.0, 2.0, 2.0, 0.5, 5.0, 1.0]))
    np.testing.assert_allclose(found, [NAN, NAN, 0.875, NAN, 3.75 / 4, NAN])


def test_sweep_by_hand() -> None:
    # the first query leaves expert 1 at lambda 0.1, the second at 0.6, the third never has it
    scores = np.array([[0.5, 0.6], [0.2, 0.8], [0.7, 0.1]])
    found = sweep(scores, np.array([1.0, 2.0]), n_points=4)
    # lambdas are 0.05 and the quantiles 1/4, 3/4 of (0.1, 0.6); the last row is the cheapest
    np.testing.assert_array_equal(found, [[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_sweep_never_chooses_an_expert_of_unknown_cost() -> None:
    scores = np.array([[9.0, 0.0, 1.0], [9.0, 1.0, 3.0], [0.0, 1.0, 2.5]])
    found = sweep(scores, np.array([NAN, 1.0, 2.0]), n_points=5)
    assert set(found.ravel().tolist()) == {1, 2}
    barred = sweep(np.array([[-np.inf, 0.5, 0.9]]), np.array([0.5, 1.0, 2.0]), n_points=4)
    np.testing.assert_array_equal(barred, [[2], [1], [1], [0]])  # the last is the cheapest
    only = sweep(np.array([[0.9, 0.1]]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(only, [[0]])  # the best is the cheapest: no trade


def priced(rewards: Array, costs: Array) -> RewardTable:
    return replace(table(rewards), costs=np.asarray(costs, dtype=np.float32))


def quality_of(
    systems: list[System], rows: RewardTable, train_costs: list[float], draws: Draws
) -> CostQuality:
    """Measure with these mean costs on train, where the last expert is the best."""
    train = TrainedOn(np.array([0.2, 0.5, 0.9]), priced(np.zeros((1, 3)), np.array([train_costs])))
    found = cost_quality(systems, rows, train, draws)
    assert found is not None
    return found


def by_hand() -> CostQuality:
    rewards = np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 1.0], [0.25, 0.0, 1.0], [0.25, 0.5, 1.0]])
    costs = np.tile([1.0, 2.0, 5.0], (4, 1))
    rows = priced(rewards, costs)
    choices = np.array([1, 0, 2, 0])
    scores = np.array([[0.0, 0.5, 0.1], [0.5, 0.1, 0.1], [0.1, 0.1, 0.9], [0.5, 0.1, 0.1]])
    systems = [
        System("router", "router", reward_of(choices, rewards), choices, scores),
        *(System(f"e{i}", "single", rewards[:, i], np.full(4, i), None) for i in range(3)),
        System("no scores", "baseline", rewards[:, 0], np.zeros(4, dtype=np.intp)),
        System("oracle", "bound", rewards.max(axis=1), None, None),
    ]
    draws = draw([*"abcd"], 0, 20)  # one row per subset: every resample is the table itself
    return quality_of(systems, rows, [1.0, 2.0, 5.0], draws)


def test_costs_and_quality_by_hand() -> None:
    found = by_hand()
    assert [system.name for system in found.systems] == ["router", "e0", "e1", "e2"]
    router, cheapest, middle, dearest = found.systems
    assert router.own == Point(2.25, 0.6875)  # rewards 1, .5, 1, .25; costs 2, 1, 5, 1
    # the first query leaves at 0.5, the third at 0.2: first only e1 is given up, or only e2
    assert router.hull == [Point(1.0, 0.25), Point(1.25, 0.5), Point(2.25, 0.6875)]
    area = 0.25 * 0.375 + 1.0 * 0.59375 + 2.75 * 0.6875
    assert router.aiq.value == pytest.approx(area / 4)
    assert (router.aiq.low, router.aiq.high) == pytest.approx((area / 4, area / 4))
    assert [cheapest.own] == cheapest.hull == [Point(1.0, 0.25)]
    assert cheapest.aiq.value == 0.25
    assert middle.own == Point(2.0, 0.5)
    assert middle.hull == [Point(1.0, 0.25), Point(2.0, 0.5)]
    assert middle.aiq.value == pytest.approx((1.0 * 0.375 + 3 * 0.5) / 4)
    assert dearest.aiq.value == pytest.approx((0.25 + 1.0) / 2)
    assert found.random_mix == [Point(1.0, 0.25), Point(2.0, 0.5), Point(5.0, 1.0)]


def test_intervals_equal_a_plain_loop_with_gaps_in_the_table() -> None:
    random = np.random.default_rng(0)
    rewards, costs = random.random((40, 3)), random.random((40, 3))
    costs += np.array([0.0, 0.5, 1.0])
    rewards[[1, 2], [0, 2]], costs[5, 1] = NAN, NAN
    rows = priced(rewards, costs)
    scores = random.random((40, 3))
    router = System("router", "router", np.zeros(40), scores.argmax(axis=1), scores)
    draws = draw(["all"] * 40, 0, 60)
    prices = np.array([0.5, 1.0, 1.5])
    found = quality_of([router], rows, prices.tolist(), draws)
    every = np.concatenate(
        [scores.argmax(axis=1)[None], sweep(scores, prices), np.zeros((1, 40), int)]
    )
    areas = []
    for counts in draws.counts[0]:
        drawn = np.repeat(np.arange(40), counts)
        measured = []
        for chosen in every:
            pairs = [(rows.costs[r, chosen[r]], rows.rewards[r, chosen[r]]) for r in drawn]  # type: ignore[index]
            measured.append(np.nanmean([p for p in pairs if not np.isnan(p).any()], axis=0))
        whole = [r for r in drawn if not np.isnan(rewards[r, 2] + costs[r, 2])]
        middles = measured[-1][0] + (np.arange(5000) + 0.5) / 5000 * (
            costs[whole, 2].mean() - measured[-1][0]
        )
        (outline,) = hull(np.array([measured]))
        areas.append(np.interp(middles, outline[:, 0], outline[:, 1]).mean())
    curve = found.systems[0]
    assert (curve.aiq.low, curve.aiq.high) == pytest.approx(
        np.percentile(areas, [2.5, 97.5]), abs=1e-5
    )


N = 40


def priced_table() -> RewardTable:
    """Expert e1 earns 1 everywhere at 10 a prompt; e0 earns 1 on every other row at 1."""
    rewards = np.stack([np.arange(N) % 2, np.ones(N)], axis=1).astype(np.float64)
    return priced(rewards, np.tile([1.0, 10.0], (N, 1)))


def chosen(name: str, choices: list[int]) -> System:
    rewards = priced_table().rewards.astype(np.float64)
    picked = np.asarray(choices, dtype=np.intp)
    return System(name, "router", rewards[np.arange(N), picked], picked)


def test_gain_cost_and_words_by_hand() -> None:
    draws = draw(["all"] * N, 0)
    right = chosen("right", [1 - i % 2 for i in range(N)])
    wrong = chosen("wrong", [0] * N)
    single = chosen("single", [1] * N)
    found = point_results([right, wrong, single], single, priced_table(), draws)
    assert [point.gap.value for point in found] == [0.0, -0.5, 0.0]
    shares = [point.cost_share.value for point in found if point.cost_share]
    assert shares == pytest.approx([0.55, 0.1, 1.0])
    assert found[0].verdict.startswith(
        "55% of the cost, no loss is shown, nor a gain: +0.00 points"
    )
    assert found[1].verdict.startswith("10% of the cost, a LOSS is shown: -50.00 points [-6")
    assert found[2].verdict == "always e1, the best single expert on train"


def test_without_costs_only_rewards_are_compared() -> None:
    draws, single = draw(["all"] * N, 0), chosen("single", [1] * N)
    free = replace(priced_table(), costs=None)
    (found,) = point_results([chosen("wrong", [0] * N)], single, free, draws)
    assert (found.cost, found.cost_share) == (None, None)
    assert found.verdict.startswith("a LOSS is shown: -50.00 points")
    assert point_results([], single, free, draws) == []
