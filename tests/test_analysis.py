"""The report on a six-row table whose every figure is worked by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table
from zooter_lite.compare.analysis import analyse, verdict
from zooter_lite.compare.routed import sliced
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.results import SliceReport, SystemResult
from zooter_lite.measure.significance import Gap
from zooter_lite.measure.system import BEST_SINGLE, Slice, TrainedOn
from zooter_lite.router.decision import Predictions
from zooter_lite.table.reward_table import RewardTable

NAN = float("nan")
# train: two heaps of twelve, subset m where e0 is right and n where e1 is; e1 best overall
HEAPS = np.repeat(np.eye(2, dtype=np.float32), 12, axis=0)
TRAIN = table(
    np.repeat([[0.8, 0.4, 0.0], [0.0, 1.0, 0.2]], 12, axis=0), subsets=["m"] * 12 + ["n"] * 12
)
KNOWN = TrainedOn(observed_mean(TRAIN.rewards), TRAIN, HEAPS)
TEST = table(
    [[1.0, 0, 0], [0.5, 1, 0], [1, 0, 0.5], [0, 1, 0], [0, 0, 1], [1, 0.25, 0]],
    subsets=["m", "m", "m", "m", "n", "new"],
)
EMBEDDINGS = np.asarray([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
# the oracle, but for the last row, in probabilities of 0.8 and 0.1
PROBS = (np.eye(3)[[0, 1, 0, 1, 2, 1]] * 0.7 + 0.1).astype(np.float32)


def slice_of(
    part: RewardTable = TEST,
    probs: NDArray[np.float32] = PROBS,
    known: TrainedOn = KNOWN,
) -> Slice:
    embeddings = EMBEDDINGS if len(part) == 6 else np.ones((len(part), 2), dtype=np.float32)
    return sliced(("toy", "test"), part, known, (Predictions(probs), embeddings))


def report_of(one: Slice) -> SliceReport:
    report = analyse([one])
    json.dumps(report.to_dict(), allow_nan=False)
    return report.slices[one.split]


@pytest.fixture(scope="module")
def found() -> SliceReport:
    return report_of(slice_of())


def system(one: SliceReport, name: str) -> SystemResult:
    return next(s for s in one.systems if s.name == name)


def gap_of(one: SliceReport, name: str) -> Gap:
    gap = system(one, name).gap
    assert gap is not None
    return gap


@pytest.mark.parametrize(
    ("name", "role", "rewards"),
    [
        ("router", "router", [1.0, 1, 1, 1, 1, 0.25]),
        ("best single on train", "baseline", [0, 1, 0, 1, 0, 0.25]),
        ("best per subset on train", "baseline", [1, 0.5, 1, 0, 0, 0.25]),  # e0 for m, else e1
        ("kNN", "baseline", [1, 0.5, 0, 1, 0, 1]),  # e0 near the first heap, e1 near the second
        ("random", "bound", [1 / 3, 0.5, 0.5, 1 / 3, 1 / 3, 1.25 / 3]),
        ("always e0", "single", [1, 0.5, 1, 0, 0, 1]),
        ("always e1", "single", [0, 1, 0, 1, 0, 0.25]),
        ("always e2", "single", [0, 0, 0.5, 0, 1, 0]),
        ("oracle", "bound", [1, 1, 1, 1, 1, 1]),
    ],
)
def test_every_system_by_hand(
    found: SliceReport, name: str, role: str, rewards: list[float]
) -> None:
    row = system(found, name)
    subsets = {"m": np.mean(rewards[:4]), "n": rewards[4], "new": rewards[5]}
    assert row.role == role
    assert row.micro.value == pytest.approx(np.mean(rewards))
    assert row.macro.value == pytest.approx(np.mean(list(subsets.values())))
    assert row.subsets == pytest.approx(subsets)
    assert row.micro.low <= row.micro.value <= row.micro.high
    # each of n and new has one row, so only the four rows of m can move the means
    spread = np.ptp(rewards[:4]) * 4 / 6
    assert row.micro.high - row.micro.low <= spread + 1e-9
    router = np.asarray([1.0, 1, 1, 1, 1, 0.25])
    if role in ("router", "bound"):
        assert row.gap is None
    else:
        assert row.gap is not None
        assert row.gap.value == pytest.approx(np.mean(router - rewards))
        assert row.gap.p <= row.gap.p_holm <= 1


def test_the_verdict_does_not_depend_on_the_rivals_that_are_asked_for(found: SliceReport) -> None:
    one = slice_of()
    rivals = [replace(one.systems[3], name=f"rival {place}") for place in range(6)]
    more = report_of(replace(one, systems=[*one.systems[:4], *rivals, *one.systems[4:]]))
    for name in ("best single on train", "best per subset on train", "kNN", "always e0"):
        assert gap_of(more, name).p_holm == gap_of(found, name).p_holm
    assert more.verdict.p == found.verdict.p
    rival, twin = gap_of(more, "rival 0"), gap_of(found, "kNN")
    assert (rival.value, rival.p) == (twin.value, twin.p)
    assert rival.p_holm == pytest.approx(min(1.0, 6 * rival.p))  # a family of their own


def test_the_rest_by_hand(found: SliceReport) -> None:
    assert [s.name for s in found.systems] == [
        "router", "best single on train", "best per subset on train", "kNN", "random",
        "always e0", "always e1", "always e2", "oracle",
    ]  # fmt: skip
    assert (found.name, found.table, found.split) == ("toy test", "toy", "test")
    assert (found.rows, found.best_expert, found.experts) == (6, "e1", ["e0", "e1", "e2"])
    assert found.subset_rows == {"m": 4, "n": 1, "new": 1}
    assert found.shares == pytest.approx({"e0": 2 / 6, "e1": 3 / 6, "e2": 1 / 6})
    assert system(found, "router").unobserved == 0
    low, high, router = 2.4166667 / 6, 1.0, 5.25 / 6
    assert found.gap_closed == pytest.approx((router - low) / (high - low))
    assert found.regret.mean.value == pytest.approx(0.75 / 6)
    assert [row.query_id for row in found.regret.worst] == ["5"]
    assert found.best_shares == pytest.approx({"e0": 3 / 6, "e1": 2 / 6, "e2": 1 / 6})
    assert found.calibration.ece.value == pytest.approx(5 / 6 - 0.8, abs=1e-6)
    assert found.costs is None


def test_the_best_single_expert_and_its_single_have_one_gap_and_count_once(
    found: SliceReport,
) -> None:
    assert gap_of(found, "always e1") == gap_of(found, "best single on train")
    others = ["best single on train", "best per subset on train", "kNN", "always e0", "always e2"]
    p = sorted(gap_of(found, name).p for name in others)
    corrected = sorted(gap_of(found, name).p_holm for name in others)
    assert corrected[0] == pytest.approx(min(1, 5 * p[0]))  # five comparisons, not six


def test_the_verdict_in_words() -> None:
    same = report_of(slice_of(probs=np.eye(3, dtype=np.float32)[[1] * 6]))
    gap = gap_of(same, "best single on train")
    assert (gap.value, gap.p) == (0.0, 1.0)
    assert "does NOT reliably beat" in same.verdict.text
    rewards = np.tile([1.0, 0.0, 0.5], (6, 1))
    for best, words in ((0, "is WORSE than"), (2, "beats")):
        known = TrainedOn(np.eye(3)[best])
        chosen = np.eye(3, dtype="f4")[[(best + 1) % 3] * 6]
        one = report_of(slice_of(table(rewards), chosen, known))
        assert f"{words} the best single expert (e{best}) by" in one.verdict.text
        assert one.verdict.pays == (words == "beats")


def test_the_verdict_counts_all_comparisons() -> None:
    # the interval leaves 0 out and the bare p is below 0.05; twelve comparisons were made
    point = Estimate(0.5, 0.4, 0.6)
    gap = Gap(0.02, 0.001, 0.04, 0.03, 0.36, Estimate(0.02, 0.0, 0.04), {})
    systems = [
        SystemResult("router", "router", point, point, {}),
        SystemResult(BEST_SINGLE, "baseline", point, point, {}, gap),
    ]
    found = verdict(systems, "test", "e1", 0.5)
    assert (found.outcome, found.p, found.pays) == ("unclear", 0.36, False)
    assert "does NOT reliably beat the best single expert (e1): +2.00 points" in found.text
    assert "(Holm-adjusted p = 0.360). It closes 50% of the gap" in found.text


def test_choices_without_a_reward_are_counted_and_estimated() -> None:
    rewards = TEST.rewards.copy()
    rewards[1, 1] = rewards[4, 0] = NAN
    found = report_of(slice_of(table(rewards, subsets=TEST.subsets)))
    router = system(found, "router")
    assert router.unobserved == 1
    assert router.subsets["n"] == 1.0
    assert 0.5 < router.subsets["m"] <= 1.0  # three of its four rows are known
    total = 4 * router.subsets["m"] + router.subsets["n"] + router.subsets["new"]
    assert router.micro.value == pytest.approx(total / 6)
    # what all earn is known where all were observed: on three rows of m, and on the one of new
    assert system(found, "random").unobserved == system(found, "oracle").unobserved == 2
    assert system(found, "oracle").micro.value == pytest.approx(1.0)
    assert "On 1 rows the chosen expert's reward was not observed" in found.verdict.text


def test_the_best_rival_is_the_closest(found: SliceReport) -> None:
    router, single, other = found.systems[:3]
    leads = {"farther behind": 0.1, "closest": -0.1, "unknown": NAN}
    rivals = [
        replace(other, name=name, gap=replace(gap_of(found, other.name), value=lead))
        for name, lead in leads.items()
    ]
    best = replace(found, systems=[router, single, *rivals]).best_rival
    assert best is not None
    assert best.name == "closest"


def test_an_expert_that_the_split_never_observed_does_not_stop_the_report() -> None:
    rewards = np.column_stack([np.tile([1.0, 0.0], 10), np.full(20, NAN), np.full(20, 0.2)])
    known = TrainedOn(np.array([0.1, 0.9, 0.2]))
    probs = np.eye(3, dtype=np.float32)[[0] * 20]
    found = report_of(slice_of(table(rewards), probs, known))
    assert "cannot be compared with the best single expert (e1)" in found.verdict.text
    assert math.isnan(system(found, "always e1").micro.value)
    assert found.verdict.outcome == "unknown"
    assert system(found, "router").micro.value == 0.5


def test_costs_are_described_where_there_are_some() -> None:
    costs = np.tile(np.asarray([1.0, 2.0, 4.0], dtype=np.float32), (24, 1))
    known = replace(KNOWN, table=replace(TRAIN, costs=costs))
    part = replace(TEST, costs=costs[:6])
    found = report_of(slice_of(part, known=known)).costs
    assert found is not None
    gaps = {system.name: system.aiq_gap for system in found.systems}
    assert gaps["router"] is None
    threshold = gaps["threshold between cheapest and best"]
    assert threshold is not None
    assert threshold.value >= 0
    own = found.systems[0].own  # e0 twice, e1 three times, e2 once
    assert (own.cost, own.reward) == pytest.approx(((2 * 1 + 3 * 2 + 1 * 4) / 6, 5.25 / 6))
    assert report_of(slice_of(part)).costs is None  # train knows no costs
    nothing = replace(TEST, costs=np.full((6, 3), NAN, dtype=np.float32))
    assert report_of(slice_of(nothing, known=known)).costs is None


def test_a_report_as_json() -> None:
    report = replace(analyse([slice_of()]), made={"seed": 3}, notes=["a note"])
    values = report.to_dict()
    assert (values["format"], values["made"], values["notes"]) == (1, {"seed": 3}, ["a note"])
    (one,) = values["slices"]
    assert (one["best_single"], one["verdict"]["pays"]) == (
        "e1",
        report.slices["test"].verdict.pays,
    )
    assert one["systems"][0]["micro"]["value"] == report.slices["test"].router.micro.mean
    assert set(analyse([slice_of()], by_split=False).slices) == {"toy test"}
    assert analyse([]).to_dict()["ranking"]["systems"] == []
