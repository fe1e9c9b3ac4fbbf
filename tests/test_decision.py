"""Policies by hand: points, who is eligible, when the fallback decides, budgets and floors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import EXPERTS, TOY_DECISIONS, toy_estimates, toy_head, toy_router
from zooter_lite import Router
from zooter_lite.errors import DataError
from zooter_lite.router.budget import point_on, within_budget
from zooter_lite.router.decision import (
    DOUBTS,
    Decision,
    Doubt,
    Predictions,
    choose,
    decisions,
)
from zooter_lite.router.directory.config import QUALITY, Knot, Point, Training

NAMES = ["a", "b", "c"]
PREDICTED = Predictions(
    probs=np.array([[0.6, 0.3, 0.1], [0.2, 0.4, 0.4], [0.1, 0.2, 0.7]]),
    rewards=np.array([[0.9, 0.8, 0.5], [0.1, 0.3, 0.3], [0.2, 0.4, 0.7]]),
    costs=np.array([[10.0, 2.0, 0.0], [1.0, 3.0, 3.0], [1.0, 1.0, 4.0]]),
    novelty=np.array([0.2, 0.995, 0.5]),
)
PLAIN = Predictions(PREDICTED.probs)


def named(places: Any) -> str:
    return "".join(NAMES[place] for place in places)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (QUALITY, "abc"),  # the most probable; of equals the first
        (Point("p", 0.01), "abc"),  # the first 0.80, 0.78, 0.5; the second 0.09, 0.27, 0.27
        (Point("p", 0.05), "bbc"),  # the first 0.40, 0.70, 0.5; the third 0.15, 0.35, 0.5
        (Point("p", 0.2), "cab"),  # -1.1, 0.4, 0.5; -0.1, -0.3, -0.3; 0.0, 0.2, -0.1
        (Point("p", expert="b"), "bbb"),
        (Point("p", 0.05, "a"), "aaa"),
    ],
)
def test_points_by_hand(point: Point, expected: str) -> None:
    assert named(choose(PREDICTED, point, NAMES).experts) == expected


def test_the_most_probable_expert_needs_no_estimates_and_weighing_does() -> None:
    assert named(choose(PLAIN, QUALITY, NAMES).experts) == "abc"
    assert choose(Predictions(np.zeros((0, 3))), QUALITY, NAMES).experts.shape == (0,)
    for lacking in (PLAIN, replace(PREDICTED, costs=None)):
        with pytest.raises(DataError, match="point 'p': the router predicts no costs to weigh"):
            choose(lacking, Point("p", 0.1), NAMES)


def test_only_who_is_eligible_is_chosen() -> None:
    eligible = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 1]], dtype=bool)
    found = choose(PREDICTED, QUALITY, NAMES, eligible)
    assert named(found.experts) == "bac"
    np.testing.assert_array_equal(np.isneginf(found.utilities), ~eligible)
    assert named(choose(PREDICTED, Point("p", 0.2), NAMES, eligible).experts) == "cab"
    # where the one expert of a point is not eligible, the most probable of the others is
    assert named(choose(PREDICTED, Point("p", expert="b"), NAMES, eligible).experts) == "bab"
    eligible[1] = False
    with pytest.raises(DataError, match="prompt 1: no expert is eligible"):
        choose(PREDICTED, QUALITY, NAMES, eligible)


@pytest.mark.parametrize(
    ("rules", "fallback", "doubts"),
    [
        ({"min_reward": 0.75}, "b", [-1, 0, 0]),
        ({"max_novelty": 0.99}, "c", [-1, 1, -1]),
        ({"min_probability": 0.65}, "a", [2, 2, -1]),
        # each prompt by the first rule that it fails
        ({"min_probability": 0.65, "max_novelty": 0.3, "min_reward": 0.5}, "a", [2, 0, 1]),
        ({"min_reward": 0.0, "max_novelty": 1.0, "min_probability": 0.0}, "a", [-1, -1, -1]),
        ({}, "a", [-1, -1, -1]),
    ],
    ids=str,
)
def test_doubts_by_hand(rules: Mapping[str, float], fallback: str, doubts: list[int]) -> None:
    found = choose(PREDICTED, QUALITY, NAMES, doubt=Doubt(NAMES.index(fallback), **rules))
    assert found.doubts.tolist() == doubts
    expected = [fallback if rule >= 0 else own for rule, own in zip(doubts, "abc", strict=True)]
    assert named(found.experts) == "".join(expected)


def test_a_fallback_that_is_not_eligible_gets_nothing() -> None:
    eligible = np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1]], dtype=bool)
    found = choose(PREDICTED, QUALITY, NAMES, eligible, Doubt(0, min_reward=0.8))
    assert found.doubts.tolist() == [-1, -1, 0]
    assert named(found.experts) == "aba"


@pytest.mark.parametrize("rule", DOUBTS[:2])
def test_a_doubt_needs_what_it_is_about(rule: str) -> None:
    with pytest.raises(DataError, match=f"{rule}: this router does not predict what it is about"):
        choose(PLAIN, QUALITY, NAMES, doubt=Doubt(0, **{rule: 0.5}))


def test_decisions_in_words() -> None:
    eligible = np.array([[1, 0, 1], [1, 1, 1], [1, 1, 1]], dtype=bool)
    point, doubt = Point("cheap", 0.05), Doubt(0, max_novelty=0.99)
    choices = choose(PREDICTED, point, NAMES, eligible, doubt)
    first, second, third = decisions(PREDICTED, choices, point, NAMES, doubt)
    weighed = "point cheap: highest reward - 0.05 * cost"
    # utilities 0.40 and 0.50; 0.05, 0.15, 0.15; 0.15, 0.35, 0.50
    probs = {"a": 0.6, "b": 0.3, "c": 0.1}
    among = f"{weighed}, of those eligible"
    assert first == Decision("c", 0.1, probs, 0.5, 0.0, ("c", "a"), among, 0.2)
    assert (second.expert, second.ranking) == ("a", ("a", "b", "c"))
    assert second.reason == "fallback: max_novelty 0.99"
    assert (second.expected_reward, second.expected_cost, second.novelty) == (0.1, 1.0, 0.995)
    assert (third.ranking, third.reason) == (("c", "b", "a"), weighed)


def test_decisions_where_there_are_probabilities_alone() -> None:
    found = decisions(PLAIN, choose(PLAIN, QUALITY, NAMES), QUALITY, NAMES)
    assert [decision.ranking for decision in found] == [tuple("abc"), tuple("bca"), tuple("cba")]
    assert found[1] == Decision("b", 0.4, {"a": 0.2, "b": 0.4, "c": 0.4}, ranking=tuple("bca"))
    assert decisions(PLAIN, choose(PLAIN, QUALITY, NAMES), Point("safe"), NAMES) == found


def test_the_reason_of_one_expert_and_of_those_in_its_place() -> None:
    always, eligible = Point("safe", expert="b"), np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1]]) > 0
    choices = choose(PREDICTED, always, NAMES, eligible)
    found = decisions(PREDICTED, choices, always, NAMES)
    assert [decision.ranking for decision in found] == [tuple("bac"), tuple("ca"), tuple("bc")]
    reason = "point safe: always b"
    assert [decision.reason for decision in found] == [reason, "b is not eligible", reason]


CURVE = (
    Knot(0.0, 0.80, 3.0, 2.5),
    Knot(0.1, 0.81, 2.0, 2.0),
    Knot(0.5, 0.81, 1.9, 2.0),
    Knot(9.0, 0.20, 0.5, 0.5),
)


@pytest.mark.parametrize(
    ("wanted", "weight"),
    [
        ({"budget": 9.0}, 0.5),  # dearer is not always better; of equals the cheaper one
        ({"budget": 1.9}, 0.5),
        ({"budget": 1.0}, 9.0),
        ({"budget": 0.5}, 9.0),
        ({"floor": 0.80}, 0.5),
        ({"floor": 0.81}, 0.5),
        ({"floor": -1.0}, 9.0),
    ],
    ids=str,
)
def test_budget_and_floor_on_a_curve(wanted: Mapping[str, float], weight: float) -> None:
    knot = next(knot for knot in CURVE if knot.cost_weight == weight)
    ((name, figure),) = wanted.items()
    expected = Point(f"{name} {figure:g}", weight, None, knot.reward, knot.cost)
    assert point_on(CURVE, **wanted) == expected


@pytest.mark.parametrize(
    ("curve", "wanted", "message"),
    [
        (CURVE, {"budget": 0.4}, "budget 0.4: the cheapest choices cost 0.5 a prompt"),
        (CURVE, {"floor": 0.9}, "floor 0.9: the best choices earn 0.81 a prompt"),
        (CURVE, {}, "expected either a budget or a floor"),
        (CURVE, {"budget": 1.0, "floor": 1.0}, "expected either a budget or a floor"),
        ((), {"budget": 1.0}, "this router knows no costs, so it has no budget and no floor"),
        (CURVE, {"budget": float("nan")}, "budget nan: "),
        (CURVE, {"floor": float("nan")}, "floor nan: "),
    ],
)
def test_out_of_reach(curve: tuple[Knot, ...], wanted: Mapping[str, float], message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        point_on(curve, **wanted)


def random_predictions(seed: int) -> Predictions:
    random = np.random.default_rng(seed)
    costs = random.random((200, 4)) * [0.1, 1, 3, 10]
    rewards = random.random((200, 4)) + np.arange(4) / 10
    return Predictions(rewards / rewards.sum(axis=1, keepdims=True), rewards, costs)


def earned(predicted: Predictions, point: Point) -> tuple[float, float]:
    """Mean expected cost and reward of what a point chooses."""
    assert predicted.costs is not None
    assert predicted.rewards is not None
    rows = np.arange(len(predicted.probs))
    chosen = choose(predicted, point, list("wxyz")).experts
    costs, rewards = predicted.costs[rows, chosen], predicted.rewards[rows, chosen]
    return float(costs.mean()), float(rewards.mean())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("seed", range(3))
def test_choices_keep_to_a_budget_and_earn_more_with_a_larger_one(seed: int, scale: float) -> None:
    plain = random_predictions(seed)
    assert plain.costs is not None
    predicted = replace(plain, costs=plain.costs * scale)
    least, most = scale * plain.costs.min(axis=1).mean(), earned(predicted, QUALITY)[0]
    budgets = [*np.linspace(least * (1 + 1e-9), most, 20), 2 * most]
    points = [within_budget(predicted, budget) for budget in budgets]
    assert [p.cost_weight for p in points] == sorted((p.cost_weight for p in points), reverse=True)
    assert points[0].cost_weight > 0 == points[-1].cost_weight
    spent, rewards = zip(*(earned(predicted, point) for point in points), strict=True)
    assert all(cost <= budget * (1 + 1e-9) for cost, budget in zip(spent, budgets, strict=True))
    assert list(rewards) == sorted(rewards)
    # one prompt more at most is left to spend
    room = [budget - cost for cost, budget in zip(spent[1:-2], budgets[1:-2], strict=True)]
    assert max(room) < 10 * scale / len(predicted.probs)


def test_a_budget_counts_costs_as_they_turned_out_on_train() -> None:
    predicted = random_predictions(0)
    usual = within_budget(predicted, 2.0)
    curve = [Knot(0.0, 0.8, 6.0, 3.0), Knot(50.0, 0.2, 2.0, 1.0)]  # twice what was expected
    found = within_budget(predicted, 2.0, curve)
    assert found.cost_weight == pytest.approx(within_budget(predicted, 1.0).cost_weight)
    assert found.cost_weight > usual.cost_weight


def test_a_budget_out_of_reach() -> None:
    predicted = random_predictions(0)
    assert predicted.costs is not None
    least = float(predicted.costs.min(axis=1).mean())
    twice = [Knot(0.0, 0.8, 6.0, 3.0), Knot(9.0, 0.2, 2.0, 1.0)]  # what was expected
    for budget, curve in ((0.5 * least, []), (1.5 * least, twice)):
        with pytest.raises(DataError, match="the cheapest choices cost"):
            within_budget(predicted, budget, curve)
    with pytest.raises(DataError, match="this router knows no costs"):
        within_budget(replace(predicted, costs=None), 1.0)


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    """A toy router with estimates and `TOY_DECISIONS`."""
    path = tmp_path_factory.mktemp("decisions") / "r"
    toy_router(path, toy_estimates(toy_head("prior")), decisions=TOY_DECISIONS)
    return Router.load(path)


QUERIES = ["one two", "three", "seven " * 9, "nine", "", "four five eight"]


def test_points_of_a_router(router: Router) -> None:
    assert list(router.points) == ["quality", "match", "economy", "safe"]
    assert router.point() == router.point("quality") == Point("quality")
    assert router.point("recommended") == router.point("safe") == Point("safe", expert="bee")
    own = Point("mine", 7.0)
    assert router.point(own) is own
    with pytest.raises(DataError, match=r"^point 'x': expected quality, match, economy, safe, rec"):
        router.route(QUERIES, point="x")
    assert router.point_for(budget=2.0).cost_weight == 0.1
    assert router.point_for(floor=0.75).cost_weight == 0.0
    by_prompts = router.point_for(budget=2.0, queries=QUERIES)
    curve = TOY_DECISIONS.curve
    assert by_prompts == within_budget(router.predict(QUERIES), 2.0, curve)
    with pytest.raises(DataError, match="expected either a budget or a floor"):
        router.point_for(budget=1.0, floor=1.0, queries=QUERIES)


@pytest.mark.parametrize("point", [None, "quality", "match", "economy", "safe", "recommended"])
def test_route_decides_as_choose_does(router: Router, point: str | None) -> None:
    predicted, chosen_by = router.predict(QUERIES), router.point(point)
    expected = decisions(predicted, choose(predicted, chosen_by, EXPERTS), chosen_by, EXPERTS)
    assert router.route(QUERIES, point=point) == expected


def test_route_with_options(router: Router) -> None:
    predicted = router.predict(QUERIES)
    assert predicted.costs is not None
    assert {d.expert for d in router.route(QUERIES, allowed=["cat", "bee"])} <= {"cat", "bee"}
    assert {d.expert for d in router.route(QUERIES, allowed={"ant"})} == {"ant"}
    most = float(np.sort(predicted.costs, axis=1)[:, 1].max())  # two experts at least are eligible
    for decision, costs in zip(router.route(QUERIES, max_cost=most), predicted.costs, strict=True):
        assert decision.expected_cost is not None
        assert decision.expected_cost <= most
        assert set(decision.ranking) == {EXPERTS[i] for i in np.flatnonzero(costs <= most)}
    doubt = router.doubt_for("cat", min_reward=99.0)
    assert {d.expert for d in router.route(QUERIES, doubt=doubt)} == {"cat"}
    assert router.doubt_for(max_novelty=0.5) == Doubt(0, max_novelty=0.5)  # ant, the best single


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allowed": ["ant", "dog"]}, "no expert 'dog'; expected ant, bee, cat"),
        ({"point": Point("mine", expert="dog")}, "point 'mine': no expert 'dog'; expected ant, b"),
        ({"allowed": []}, "prompt 0: no expert is eligible"),
        ({"max_cost": 0.0}, "prompt 0: no expert is eligible"),
        ({"max_cost": float("nan")}, "prompt 0: no expert is eligible"),
    ],
    ids=str,
)
def test_options_that_cannot_be(router: Router, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        router.route(QUERIES, **options)


def test_a_router_without_estimates_has_the_point_quality_alone(toy: Path) -> None:
    router = Router.load(toy)
    assert router.points == {"quality": QUALITY}
    for options, message in (
        ({"max_cost": 1.0}, "max_cost: this router predicts no costs"),
        ({"point": Point("mine", 1.0)}, "point 'mine': the router predicts no costs to weigh"),
        ({"point": "economy"}, "point 'economy': expected quality, recommended"),
    ):
        with pytest.raises(DataError, match=message):
            router.route(QUERIES, **options)
    for queries in ((), QUERIES):
        with pytest.raises(DataError, match="this router knows no costs"):
            router.point_for(budget=1.0, queries=queries)


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"ant": 1, "bee": 2}, "none of 'cat'; expected the mean cost of every expert"),
        ({"ant": 1, "bee": 2, "cat": -1}, "'cat' has -1; expected a number from 0"),
        ({"ant": 1, "bee": 2, "cat": 3, "dog": 4}, "no expert 'dog'; expected ant, bee, cat"),
        ({"ant": 2, "bee": 2, "cat": 3}, ""),
    ],
)
def test_costs_of_now(tmp_path: Path, costs: dict[str, float], message: str) -> None:
    training = Training((0.5,) * 3, (1.0, 2.0, 3.0))
    toy_router(tmp_path / "r", toy_estimates(toy_head("prior")), training=training)
    before = Router.load(tmp_path / "r").predict(QUERIES).costs
    if message:
        with pytest.raises(DataError, match=f"^costs: {message}"):
            Router.load(tmp_path / "r", costs=costs)
        return
    found = Router.load(tmp_path / "r", costs=costs).predict(QUERIES).costs
    np.testing.assert_allclose(np.asarray(found) / np.asarray(before), [[2, 1, 1]] * len(QUERIES))
