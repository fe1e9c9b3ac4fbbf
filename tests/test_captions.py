"""What captions and the summary conclude from numbers, good, bad and undecided."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report_example import around, example
from zooter_lite.report import captions, summary

Json = dict[str, Any]


@pytest.fixture
def one() -> Json:
    made: Json = example(1)["slices"][0]
    return made


def system(name: str, role: str, value: float, gap: Json | None = None) -> Json:
    return {"name": name, "role": role, "micro": around(value, 0.01), "gap": gap, "subsets": {}}


def gap(value: float, wide: float, p_holm: float) -> Json:
    return around(value, wide) | {"p": p_holm, "p_holm": p_holm}


def small() -> Json:
    """Four systems and two bounds; the best single expert stands in it under both its names."""
    return {
        "name": "t", "rows": 3, "best_single": "a", "gap_closed": 0.5,
        "systems": [
            system("router", "router", 0.60),
            system("best single on train", "baseline", 0.61, gap(-0.01, 0.02, 0.5)),
            system("kNN", "baseline", 0.50, gap(0.10, 0.02, 0.001)),
            system("SVM", "baseline", 0.70, gap(-0.10, 0.02, 0.001)),
            system("always a", "single", 0.61, gap(-0.01, 0.02, 0.5)),
            system("random", "bound", 0.40),
            system("oracle", "bound", 0.90),
        ],
    }  # fmt: skip


def test_place_of_the_router_and_who_is_above_it() -> None:
    assert captions.systems(small())[1] == (
        "By its mean the router is number 4 of 5: 60.0 (95% interval 59.0 to 61.0). Above it: SVM, "
        "best single on train and always a. Not drawn, to keep the scale: random 40.0 (95% "
        "interval 39.0 to 41.0) and oracle 90.0 (95% interval 89.0 to 91.0)."
    )


def test_gaps_count_the_best_single_expert_once() -> None:
    assert captions.gaps(small())[1] == (
        "Of 3 systems the router is reliably ahead of 1, within noise of 1 (best single on train) "
        "and reliably behind 1 (SVM)."
    )


def test_best_rival_is_not_the_best_single() -> None:
    rival = captions.best_rival_of(small())
    assert rival is not None
    assert rival["name"] == "SVM"
    alone = small() | {"systems": small()["systems"][:2]}
    assert captions.best_rival_of(alone) is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (around(0.09, 0.01), around(0.02, 0.01), "points: calibration helps."),
        (around(0.02, 0.01), around(0.04, 0.005), "points: calibration makes it WORSE."),
        (around(0.03, 0.01), around(0.02, 0.01), "overlap, so no clear change."),
        (around(0.2, 0.01), around(0.1, 0.01), "still off by more than 5 points."),
        ({"value": 0.1, "low": None, "high": None}, around(0.1, 0.1), "nothing can be concluded."),
    ],
)
def test_calibration(one: Json, before: Json, after: Json, said: str) -> None:
    one["calibration"]["before"]["ece"] = before
    one["calibration"]["after"]["ece"] = after
    assert captions.calibration(one)[1].endswith(said)


@pytest.mark.parametrize(
    ("half", "said"),
    [
        ((0.7, 0.65, 0.75), "confidence is worth something."),
        ((0.6, 0.55, 0.65), "its confidence says little about the reward."),
        ((0.5, 0.45, 0.55), "the MORE confident, the worse; do not trust its confidence."),
    ],
)
def test_selective(one: Json, half: tuple[float, float, float], said: str) -> None:
    reward, low, high = half
    one["selective"] = {
        "coverage": [0.5, 1.0], "reward": [reward, 0.6], "low": [low, 0.58], "high": [high, 0.62],
        "overall": 0.6,
    }  # fmt: skip
    assert captions.selective(one)[1].startswith("The most confident 50% earn ")
    assert captions.selective(one)[1].endswith(said)


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        (around(-0.3, 0.1), "less the choice gains."),
        (around(0.05, 0.1), "no clear relation."),
        (around(0.3, 0.1), "more where the rewards are more alike."),
    ],
)
def test_entropy(one: Json, rank: Json, said: str) -> None:
    one["entropy"]["spearman"] = rank
    assert captions.entropy(one)[1].endswith(said)


def test_a_router_that_hardly_routes_is_called_one(one: Json) -> None:
    one["shares"] = {"a": 0.995, "b": 0.005}
    assert captions.shares(one)[1] == (
        "1 of 2 experts get 1% or more; a gets 100%. It hardly routes: almost everything goes to "
        "one expert."
    )


def test_confusion_names_the_most_common_miss(one: Json) -> None:
    one["confusion"] = {"experts": ["a", "b"], "matrix": [[0.4, 0.05], [0.25, 0.3]]}
    assert captions.confusion(one)[1] == (
        "70% of the queries lie on the diagonal; choosing at random would put 50% there. The most "
        "common miss: a where b is best (25% of all queries)."
    )


@pytest.mark.parametrize(
    ("apgr", "said"),
    [
        (around(0.61, 0.05), "what random mixing gets). Recovering"),
        (around(0.52, 0.05), "within noise of random mixing"),
        (around(0.4, 0.05), "WORSE than random"),
    ],
)
def test_costs(one: Json, apgr: Json, said: str) -> None:
    one["costs"]["apgr"] = apgr
    means = captions.costs(one)[1]
    assert said in means
    assert "Recovering 50% of the gap takes 32.0% (95% interval 26.0% to 38.0%)" in means
    assert "Recovering 80% of the gap is not reached" in means


def test_robustness_separates_loss_from_noise(one: Json) -> None:
    kinds = [
        {"name": "typos", "flips": around(0.2, 0.01), "lost": around(0.02, 0.01)},
        {"name": "case", "flips": around(0.1, 0.01), "lost": around(0.00, 0.01)},
    ]
    one["robustness"] = kinds
    assert captions.robustness(one)[1] == (
        "typos flips most: 20.0% (95% interval 19.0% to 21.0%). Reward is lost beyond noise with "
        "typos (2.0 (95% interval 1.0 to 3.0) points)."
    )
    one["robustness"] = kinds[1:]
    assert captions.robustness(one)[1].endswith("No loss beyond noise.")


def test_the_headline_counts_the_test_sets_where_routing_pays() -> None:
    def row(standing: str) -> Json:
        p_holm = {"better": 0.001, "worse": 0.001, "unclear": 0.9}[standing]
        value = {"better": 0.1, "worse": -0.1, "unclear": 0.0}[standing]
        part = small()
        part["systems"][1]["gap"] = gap(value, 0.02, p_holm)
        return summary.verdict_rows({"slices": [part]})[0]

    assert summary.answer([row("better")] * 2)[0] == "Routing pays on all 2 test sets"
    mixed = [row("better"), row("worse"), row("unclear")]
    assert summary.answer(mixed)[0] == ("Routing pays on 1 of 3 test sets, and costs reward on 1")
    assert summary.answer(mixed[1:])[0] == "Routing does not pay on any test set"
    assert summary.answer(mixed[2:] * 2)[0] == "Routing is not shown to pay on any test set"
    assert summary.answer(mixed)[1][-1] == (
        "Against the strongest baseline of each test set the router is behind on 3 (t, t and t)."
    )


def test_ranking_says_whose_order_is_not_settled() -> None:
    def ranked(name: str, role: str, mtr: Json) -> Json:
        return {"name": name, "role": role, "mtr": mtr, "uplift": around(0.25, 0.05)}

    systems = [
        ranked("SVM", "baseline", around(2.0, 0.2)),
        ranked("router", "router", around(1.5, 0.2)),
        ranked("kNN", "baseline", around(1.2, 0.2)),
    ]
    report = {"ranking": {"subsets": 8, "slices": ["a", "b"], "systems": systems}}
    assert summary.ranking(report)[1] == (
        "The router is number 2 of 3 by MTR: 1.50 (95% interval 1.30 to 1.70); it is first in "
        "25.0% (95% interval 20.0% to 30.0%) of the subsets (%Uplift). Intervals overlap with kNN: "
        "their order is not settled."
    )


def test_ablation_says_whether_settings_differ() -> None:
    def row(label: str, value: float) -> Json:
        return {"label": label, "values": {"t": {"micro": around(value, 0.01)}}}

    same = [row("soft", 0.60), row("hard", 0.595)]
    assert summary.ablation(same, "labels")[1].startswith(
        "The best and the worst setting are at most 0.5 points apart (t: soft over hard). Their "
        "intervals overlap on every test set: no setting is shown to be better."
    )
    apart = [row("soft", 0.60), row("hard", 0.5)]
    assert "do not overlap on 1 of 1 (t: soft over hard)" in summary.ablation(apart, "labels")[1]
    assert summary.ablation(apart[:1], "labels")[1].startswith("Too few settings")


def test_learning_curve_says_whether_more_rows_helped() -> None:
    curve = {
        "t": [{"rows": n, "micro": around(v, 0.01)} for n, v in ((100, 0.5), (1000, 0.6))],
        "u": [{"rows": n, "micro": around(v, 0.01)} for n, v in ((100, 0.5), (1000, 0.505))],
    }
    assert summary.learning(curve)[1] == (
        "t +10.0 points from 100 to 1,000 rows (beyond the intervals); u +0.5 points from 100 to "
        "1,000 rows (within noise)."
    )
