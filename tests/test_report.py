"""The words of the report: the right verdict, the numbers, the model card."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.test_analysis import KNOWN, PROBS, TEST, report_of, slice_of
from zooter_lite.report.card import (
    BAR,
    documents,
    interval,
    markdown_table,
    model_card,
    ranking_table,
    rewritten_card,
    text_table,
    verdict,
    with_precision_section,
    without_queries,
)
from zooter_lite.router.directory.config import (
    Calibration,
    EncoderSpec,
    HeadSpec,
    LabelSpec,
    Parities,
    Parity,
    RouterConfig,
    TextParity,
    Training,
)

Json = dict[str, Any]


def score(name: str, micro: float | None, macro: float = 0.5, role: str = "baseline") -> Json:
    around = {"value": micro, "low": micro, "high": micro}
    if micro is not None:
        around = {"value": micro, "low": micro - 0.01, "high": micro + 0.02}
    return {
        "name": name,
        "role": role,
        "micro": around,
        "macro": {"value": macro, "low": macro - 0.03, "high": macro + 0.04},
        "subsets": {"a": micro},
        "gap": None,
        "unobserved": 0,
    }


def one_slice(
    router: float | None = 0.6, gain: float | None = 0.99, unobserved: int = 0, knn: float = 0.3
) -> Json:
    """A slice whose router earns this, with the best single expert at 0.55."""
    single = score("best single on train", 0.55)
    if router is not None:
        single["gap"] = {"value": router - 0.55}
    ece = {"value": 0.02, "low": 0.01, "high": 0.03}
    made: Json = {
        "name": "t test",
        "split": "test",
        "rows": 120,
        "subset_rows": {"a": 100, "b": 20},
        "best_single": "bee",
        "systems": [
            score("router", router, role="router") | {"unobserved": unobserved},
            single,
            score("best per subset on train", 0.5),
            score("kNN", knn),
            score("random", 0.4, role="bound"),
            score("oracle", 0.8, role="bound"),
        ],
        "gain": {"micro": gain, "macro": 0.5},
        "gap_closed": None if router is None else (router - 0.4) / 0.4,
        "shares": {"ant": 0.25, "bee": 0.75},
        "calibration": {"before": {"ece": ece | {"value": 0.5}}, "after": {"ece": ece}},
        "regret": {
            "mean": ece,
            "by_subset": [{"name": "a", "share": 0.3}, {"name": "b", "share": 0.7}],
            "worst": [{"query_id": "7", "query": "secret words"}],
        },
        "robustness": [{"name": "typos", "example": ["secret", "words"]}],
    }
    return made | {"verdict": verdict(made)}


@pytest.mark.parametrize(
    ("router", "gain", "words", "wrong"),
    [
        (0.6, 0.975, "beats the best single expert (bee) by 5.00 points", ("NOT", "WORSE")),
        (0.6, 0.974, "does NOT reliably beat the best single expert (bee): +5.00", ("WORSE",)),
        (0.54, 0.4, "does NOT reliably beat the best single expert (bee): -1.00", ("WORSE",)),
        (0.54, 0.026, "does NOT reliably beat", ("WORSE",)),
        (0.5, 0.025, "is WORSE than the best single expert (bee) by 5.00 points", ("reliably",)),
        (None, None, "cannot be compared with the best single expert (bee): no query", ("NOT",)),
    ],
)
def test_verdict(
    router: float | None, gain: float | None, words: str, wrong: tuple[str, ...]
) -> None:
    text = verdict(one_slice(router, gain))
    assert words in text
    assert not any(word in text for word in wrong)
    assert gain is None or f"paired probability of a gain {gain:.3f}" in text


def test_verdict_says_how_much_of_the_gap_is_closed() -> None:
    assert "closes 50% of the gap from random to the oracle" in verdict(one_slice(0.6))


def test_verdict_names_the_simple_methods_that_are_ahead() -> None:
    assert "Ahead of it" not in verdict(one_slice())
    assert "Ahead of it: kNN." in verdict(one_slice(knn=0.61))
    both = verdict(one_slice(router=0.45, knn=0.61))
    assert "Ahead of it: best per subset on train, kNN." in both


def test_verdict_counts_the_rows_left_out() -> None:
    assert "left out" not in verdict(one_slice())
    assert "7 rows are left out of its mean" in verdict(one_slice(unobserved=7))


def test_verdict_of_a_real_slice() -> None:
    assert "beats the best single expert (e1) by 50.00 points" in report_of(slice_of())["verdict"]
    worst = np.eye(3, dtype=np.float32)[TEST.rewards.argmin(axis=1)]
    found = report_of(slice_of(probs=worst))
    assert "is WORSE than the best single expert (e1)" in found["verdict"]
    assert f"{100 * found['systems'][0]['micro']['value']:.2f} [" in text_table(found)


def test_text_table_holds_the_numbers_and_bars_in_proportion() -> None:
    head, _, *rows = text_table(one_slice()).splitlines()
    assert head == "split test: 120 queries, 2 subsets; mean reward x100 with 95% interval"
    assert rows[0].startswith("router ")
    assert " 60.00 [ 59.0,  62.0]" in rows[0]
    assert " 50.00 [ 47.0,  54.0]" in rows[0]
    bars = [row.count("█") for row in rows]
    assert bars == [round(BAR * v / 0.8) for v in (0.6, 0.55, 0.5, 0.3, 0.4, 0.8)]
    assert max(bars) == BAR


@pytest.mark.parametrize(
    "values", [[None, 0.5], [0.5, None], [-2.0, -1.0], [-1.0, 0.5], [0.0, 0.0]]
)
def test_text_table_of_missing_negative_or_zero_means(values: list[float | None]) -> None:
    systems = [score(name, value) for name, value in zip("ab", values, strict=True)]
    rows = text_table(one_slice() | {"systems": systems}).splitlines()[2:]
    assert [row.count("█") for row in rows] == [
        BAR if value and value > 0 else 0 for value in values
    ]
    for row, value in zip(rows, values, strict=True):
        assert "nan" in row if value is None else f"{100 * value:.2f}" in row


def test_markdown_table() -> None:
    lines = markdown_table(one_slice())
    assert lines[2] == "| **router** | 60.00 [ 59.0,  62.0] | 50.00 [ 47.0,  54.0] |"
    assert lines[3].startswith("| best single on train (bee) | 55.00 [")
    assert len(lines) == 2 + 6
    assert all(line.count("|") == 4 for line in lines)


CONFIG = RouterConfig(
    experts=("ant", "bee"),
    encoder=EncoderSpec("tiny", dim=6, max_length=16, pooling="mean"),
    calibration=Calibration(1.0),
    head=HeadSpec("prior", 0.03),
    labels=LabelSpec("given", 8, 0.123456, 0.3),
    training=Training((0.5, 0.6), rows=77, folds=5),
    parity=Parities(
        fp32=Parity(9, 1e-7),
        int8=Parity(40, 0.05, 0.025, -0.01, margin=0.02, repeats=0.05),
    ),
)


def test_model_card() -> None:
    card = model_card(CONFIG, [one_slice()], "python -m zooter_lite.fit --data x")
    for words in (
        "# Router over 2 experts",
        "- experts: ant, bee",
        "tiny (6 dimensions, at most 16 tokens, mean pooling)",
        "head: prior; tags: given (8); temperature 0.1235, beta 0.3, L2 0.03",
        "fitted on 77 queries; settings chosen by 5-fold",
        "`python -m zooter_lite.fit --data x`",
        "## Measured on `test`",
        verdict(one_slice()),
        "expected calibration error x100: 2.00 [  1.0,   3.0], 50.00 [  1.0,   3.0] without",
        "mean regret against the oracle x100: 2.00 [  1.0,   3.0]; 70% of it on subset b",
        *markdown_table(one_slice()),
        "- fp32 against torch on 9 training queries: largest difference of a probability 1.0e-07",
        "2.50% of the decisions changed, -0.010 points of mean reward lost; auto asks fp32 again "
        "for 5.0% of them, which leaves 0.00% changed",
        "Router.load(",
    ):
        assert words in card
    assert "Not evaluated" not in card


def test_model_card_without_a_measurement_says_so() -> None:
    card = model_card(CONFIG, [], "fit")
    assert "Not evaluated: the table had no split besides `train`." in card
    assert "Measured on" not in card


def test_the_section_on_precision_is_replaced_and_the_rest_stays() -> None:
    card = model_card(CONFIG, [one_slice()], "fit")
    parity = Parities(text=TextParity(3.0, max_difference=1e-6))
    changed = with_precision_section(card, replace(CONFIG, parity=parity))
    assert "router.text.onnx against router.onnx on 3 prompts" in changed
    assert "fp32 against torch" not in changed
    assert with_precision_section(changed, CONFIG) == card
    assert with_precision_section("a card by hand", CONFIG) == "a card by hand"


def test_the_text_of_no_query_reaches_the_router_directory() -> None:
    one = one_slice()
    files = documents(CONFIG, [one], {"options": {"seed": 0}}, "fit --data x")
    assert not any(b"secret" in content for content in files.values())
    report = json.loads(files["report.json"])
    assert report["slices"][0]["regret"]["worst"] == [{"query_id": "7", "query": None}]
    assert (report["command"], report["options"]) == ("fit --data x", {"seed": 0})
    assert one["robustness"][0]["example"] == ["secret", "words"]  # the report itself keeps it
    assert without_queries(one | {"robustness": None})["robustness"] is None


def test_a_card_that_is_rewritten_keeps_how_the_router_was_fitted() -> None:
    first = documents(CONFIG, [one_slice()], {"options": {"seed": 4}}, "fit --seed 4")
    old = json.loads(first["report.json"])
    files = rewritten_card(CONFIG, [one_slice(0.7)], old, "evaluate --card")
    report = json.loads(files["report.json"])
    assert report["options"] == {"seed": 4}
    assert (report["command"], report["evaluated_by"]) == ("fit --seed 4", "evaluate --card")
    assert report["slices"][0]["systems"][0]["micro"]["value"] == 0.7
    assert b"Made by zooter-lite with `fit --seed 4`" in files["README.md"]
    assert b"by 15.00 points" in files["README.md"]
    assert b">70.0<" in files["report.svg"]


def test_ranking_table() -> None:
    e = {"value": 0.5, "low": 0.25, "high": 0.75}
    systems = [
        {"name": "router", "average": e, "mtr": e | {"value": 1.5}, "uplift": e,
         "groups": {"maths": 1.25}},
        {"name": "kNN", "average": e, "mtr": e, "uplift": e, "groups": {"code": 2.0}},
    ]  # fmt: skip
    ranking = {"subsets": 7, "slices": ["a test", "b test"], "systems": systems}
    head, _, first, second = ranking_table(ranking).splitlines()
    assert head.startswith("7 subsets of a test, b test: ")
    assert head.endswith("MTR by group: code, maths")
    assert first.split() == [
        "router", "50.00", "[", "25.0,", "75.0]", "1.50", "[", "0.2,", "0.8]", "50.00", "[",
        "25.0,", "75.0]", "-", "1.2",
    ]  # fmt: skip
    assert second.split()[-2:] == ["2.0", "-"]


def test_interval() -> None:
    assert interval({"value": 0.5, "low": None, "high": 0.625}) == " 50.00 [  nan,  62.5]"


def test_a_report_of_the_analysis_makes_a_card() -> None:
    found = report_of(slice_of(known=KNOWN, probs=PROBS))
    card = model_card(CONFIG, [found], "fit")
    assert found["verdict"] in card
    assert "| **router** | 87.50 [" in card
    assert "| best single on train (e1) |" in card
