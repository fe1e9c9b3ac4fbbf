"""The words of the report: the right verdict, the numbers, the model card."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import table
from zooter_lite.evaluation.baselines import TrainedOn
from zooter_lite.evaluation.compare import Comparison, MethodScore, compare
from zooter_lite.evaluation.metrics import Estimate
from zooter_lite.evaluation.report import (
    BAR,
    markdown_table,
    model_card,
    text_table,
    verdict,
    with_precision_section,
)

NAN = float("nan")


def score(name: str, micro: float, macro: float = 0.5) -> MethodScore:
    return MethodScore(
        name,
        Estimate(micro, micro - 0.01, micro + 0.02),
        Estimate(macro, macro - 0.03, macro + 0.04),
        {"a": micro},
    )


def comparison(
    router: float = 0.6, gain: float = 0.99, unobserved: int = 0, knn: float = 0.3
) -> Comparison:
    return Comparison(
        split="test",
        rows=120,
        subset_rows={"a": 100, "b": 20},
        best_single="bee",
        methods=[
            score("router", router),
            score("best single on train (bee)", 0.55),
            score("best per subset on train", 0.5),
            score("kNN (k=30)", knn),
            score("random", 0.4),
            score("oracle", 0.8),
        ],
        gap=router - 0.55,
        micro_gain=gain,
        macro_gain=0.5,
        shares={"ant": 0.25, "bee": 0.75},
        unobserved=unobserved,
    )


@pytest.mark.parametrize(
    ("router", "gain", "words", "wrong"),
    [
        (0.6, 0.975, "beats the best single expert (bee) by 5.00 points", ("NOT", "WORSE")),
        (0.6, 0.974, "does NOT reliably beat the best single expert (bee): +5.00", ("WORSE",)),
        (0.54, 0.4, "does NOT reliably beat the best single expert (bee): -1.00", ("WORSE",)),
        (0.54, 0.026, "does NOT reliably beat", ("WORSE",)),
        (0.5, 0.025, "is WORSE than the best single expert (bee) by 5.00 points", ("reliably",)),
        (NAN, NAN, "cannot be compared with the best single expert (bee): no query", ("NOT",)),
    ],
)
def test_verdict(router: float, gain: float, words: str, wrong: tuple[str, ...]) -> None:
    text = verdict(comparison(router, gain))
    assert words in text
    assert not any(word in text for word in wrong)
    assert math.isnan(gain) or f"paired probability of a gain {gain:.3f}" in text


def test_verdict_says_how_much_of_the_gap_is_closed() -> None:
    assert "closes 50% of the gap from random to the oracle" in verdict(comparison(0.6))


def test_verdict_names_the_simple_methods_that_are_ahead() -> None:
    assert "Ahead of it" not in verdict(comparison())
    assert "Ahead of it: kNN (k=30)." in verdict(comparison(knn=0.61))
    both = verdict(comparison(router=0.45, knn=0.61))
    assert "Ahead of it: best per subset on train, kNN (k=30)." in both


def test_verdict_counts_the_rows_left_out() -> None:
    assert "left out" not in verdict(comparison())
    assert "7 rows are left out of its mean" in verdict(comparison(unobserved=7))


def test_verdict_of_real_comparisons() -> None:
    rewards = np.tile([[1.0, 0.0], [0.0, 0.9]], (30, 1))
    known = TrainedOn(np.array([0.5, 0.45]))
    sides = np.tile([0, 1], 30)
    for choices, words in (
        (sides, "beats the best single expert (e0) by 45.00 points"),
        (1 - sides, "is WORSE than the best single expert (e0) by 50.00 points"),
        (np.zeros(60, dtype=int), "does NOT reliably beat the best single expert (e0): +0.00"),
    ):
        found = compare("test", table(rewards), np.eye(2)[choices], np.zeros((60, 2), "f4"), known)
        assert words in verdict(found)


def test_text_table_holds_the_numbers_and_bars_in_proportion() -> None:
    head, _, *rows = text_table(comparison()).splitlines()
    assert head == "split test: 120 queries, 2 subsets; mean reward x100 with 95% interval"
    assert rows[0].startswith("router ")
    assert " 60.00 [ 59.0,  62.0]" in rows[0]
    assert " 50.00 [ 47.0,  54.0]" in rows[0]
    bars = [row.count("█") for row in rows]
    assert bars == [round(BAR * v / 0.8) for v in (0.6, 0.55, 0.5, 0.3, 0.4, 0.8)]
    assert max(bars) == BAR


@pytest.mark.parametrize("values", [[NAN, 0.5], [0.5, NAN], [-2.0, -1.0], [-1.0, 0.5], [0.0, 0.0]])
def test_text_table_of_missing_negative_or_zero_means(values: list[float]) -> None:
    methods = [score(name, value) for name, value in zip("ab", values, strict=True)]
    rows = text_table(replace(comparison(), methods=methods)).splitlines()[2:]
    assert [row.count("█") for row in rows] == [BAR if value > 0 else 0 for value in values]
    for row, value in zip(rows, values, strict=True):
        assert f"{100 * value:.2f}" in row


def test_an_expert_that_the_split_never_observed_does_not_stop_the_report() -> None:
    rewards = np.column_stack([np.tile([1.0, 0.0], 10), np.full(20, NAN), np.full(20, 0.2)])
    found = compare(
        "test", table(rewards), np.eye(3)[[0] * 20], np.zeros((20, 2), "f4"),
        TrainedOn(np.array([0.1, 0.9, 0.2])),
    )  # fmt: skip
    assert "always e1" in text_table(found)
    assert "cannot be compared with the best single expert (e1)" in verdict(found)
    assert found.method("router").micro.value == 0.5


def test_markdown_table() -> None:
    lines = markdown_table(comparison())
    assert lines[2] == "| **router** | 60.00 [ 59.0,  62.0] | 50.00 [ 47.0,  54.0] |"
    assert lines[3].startswith("| best single on train (bee) | 55.00 [")
    assert len(lines) == 2 + 6
    assert all(line.count("|") == 4 for line in lines)


CONFIG = {
    "experts": ["ant", "bee"],
    "encoder": {"name": "tiny", "dim": 6, "max_length": 16, "pooling": "mean"},
    "head": {"kind": "prior", "l2": 0.03},
    "labels": {"beta": 0.3, "n_tags": 8, "tags": "given", "temperature": 0.123456},
    "training": {"rows": 77, "folds": 5},
    "parity": {
        "fp32": {"queries": 9, "max_difference": 1e-7, "changed_decisions": 0.0, "lost": 0.0},
        "int8": {
            "queries": 40,
            "max_difference": 0.05,
            "changed_decisions": 0.025,
            "lost": -0.01,
            "margin": 0.02,
            "repeats": 0.05,
            "changed_after_repeats": 0.0,
        },
    },
}


def test_model_card() -> None:
    card = model_card(CONFIG, [comparison()], "python -m zooter_lite.fit --data x")
    for words in (
        "# Router over 2 experts",
        "- experts: ant, bee",
        "tiny (6 dimensions, at most 16 tokens, mean pooling)",
        "head: prior; tags: given (8); temperature 0.1235, beta 0.3, L2 0.03",
        "fitted on 77 queries; settings chosen by 5-fold",
        "`python -m zooter_lite.fit --data x`",
        "## Measured on `test`",
        verdict(comparison()),
        *markdown_table(comparison()),
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
    card = model_card(CONFIG, [comparison()], "fit")
    parity = {"text": {"queries": 3.0, "changed_tokens": 0.0, "changed_decisions": 0.0,
                       "max_difference": 1e-6}}  # fmt: skip
    changed = with_precision_section(card, CONFIG | {"parity": parity})
    assert "router.text.onnx against router.onnx on 3 prompts" in changed
    assert "fp32 against torch" not in changed
    assert with_precision_section(changed, CONFIG) == card
    assert with_precision_section("a card by hand", CONFIG) == "a card by hand"
