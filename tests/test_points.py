"""What operating points earn and cost: by hand, and on the report's page, terminal and card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import table, toy_config, toy_head, units
from zooter_lite.compare.analysis import analyse
from zooter_lite.compare.routed import sliced
from zooter_lite.measure.costs import point_results
from zooter_lite.measure.metrics import draw
from zooter_lite.measure.system import System, TrainedOn
from zooter_lite.report.card import model_card
from zooter_lite.report.page import render
from zooter_lite.report.terminal import conclusion
from zooter_lite.router.decision import Predictions
from zooter_lite.router.directory.config import Point
from zooter_lite.table.reward_table import RewardTable

N = 40


def priced_table() -> RewardTable:
    """Expert e1 earns 1 everywhere at 10 a prompt; e0 earns 1 on every other row at 1."""
    rewards = np.stack([np.arange(N) % 2, np.ones(N)], axis=1).astype(np.float64)
    costs = np.tile(np.asarray([1.0, 10.0], dtype=np.float32), (N, 1))
    return replace(table(rewards), costs=costs)


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


def test_the_report_tells_every_point() -> None:
    part = replace(priced_table(), splits=["test"] * N)
    predicted = Predictions(
        np.asarray([[0.4, 0.6]] * N, dtype=np.float32),
        part.rewards * 0.9,
        part.costs,
        np.random.default_rng(0).random(N),
    )
    embeddings = units(N, 6, 0).astype(np.float32)
    known = TrainedOn(part.rewards.mean(axis=0), part, embeddings)
    points = (Point("quality"), Point("match", 0.01), Point("safe", expert="e0"))
    report = analyse([sliced(("toy", "test"), part, known, (predicted, embeddings), points=points)])
    one = report.slices["test"]
    assert [point.name for point in one.points] == ["quality", "match", "safe"]
    by_name = {point["name"]: point for point in report.to_dict()["slices"][0]["points"]}
    assert by_name["match"]["gap"]["value"] == 0.0
    assert by_name["match"]["cost_share"]["value"] == pytest.approx(0.55)
    printed, page = conclusion([one]), render(report)
    card = model_card(toy_config(toy_head("prior")), [one], "fit")
    for point in one.points:
        assert point.verdict in printed
        assert f"| {point.name:15} | " in card
        assert f">{point.name}<" in page
    assert "55% of the cost, no loss is shown" in page
    assert one.costs is not None
    curves = {curve.name: curve for curve in one.costs.systems}
    threshold = curves["threshold between cheapest and best"]
    assert threshold.aiq_gap is not None
    assert threshold.aiq_gap.value >= 0
    assert curves["router"].aiq_gap is None
