"""Numbers in words: signs, intervals, standings, and text that is safe to show."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter_lite.report import words


@pytest.mark.parametrize(
    ("value", "digits", "signed", "expected"),
    [
        (0.5, 1, False, "50.0"),
        (0.0123, 2, True, "+1.23"),
        (-0.0123, 2, True, "−1.23"),
        (-0.00001, 2, True, "0.00"),
        (0.0, 1, True, "0.0"),
        (123.4, 0, False, "12,340"),
        (None, 1, True, "–"),
    ],
)
def test_number(value: float | None, digits: int, signed: bool, expected: str) -> None:
    assert words.number(value, digits, signed=signed) == expected


def test_interval_and_sentence() -> None:
    estimate = {"value": -0.01, "low": -0.02, "high": 0.005}
    assert words.interval(estimate, 2) == "[−2.00, 0.50]"
    assert words.said(estimate, signed=True) == "−1.0 (95% interval −2.0 to 0.5)"
    assert words.said(estimate | {"low": None}) == "−1.0"
    assert words.interval(None) == words.interval(estimate | {"high": None}) == ""


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, "50%"), (0.0951, "9.5%"), (0.0996, "10%"), (None, "–")]
)
def test_percent(share: float | None, expected: str) -> None:
    assert words.percent(share) == expected


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "expected"),
    [
        (0.001, 0.02, 0.01, "better"),
        (0.001, 0.02, 0.05, "unclear"),
        (0.001, 0.02, None, "better"),
        (0.0, 0.02, 0.01, "unclear"),
        (-0.02, -0.001, 0.04, "worse"),
        (-0.02, -0.001, 0.2, "unclear"),
        (-0.02, 0.001, 0.01, "unclear"),
        (None, 0.02, 0.01, "unknown"),
    ],
)
def test_standing(low: Any, high: Any, p_holm: Any, expected: str) -> None:
    gap = {"value": 0.01, "low": low, "high": high, "p": 0.01, "p_holm": p_holm}
    assert words.standing(gap) == expected
    assert words.standing(None) == "unknown"


def test_p_values_lists_and_counts() -> None:
    assert [words.p_value(p) for p in (0.0, 0.0009, 0.001, 0.05, None)] == [
        "<0.001", "<0.001", "0.001", "0.050", "–",
    ]  # fmt: skip
    assert words.listed([]) == ""
    assert words.listed(["a"]) == "a"
    assert words.listed("abcde") == "a, b, c, d and e"
    assert words.listed("abcdef") == "a, b, c, d and 2 more"
    assert words.counted(1, "query") == "1 query"
    assert words.counted(1200, "query") == "1,200 queries"
    assert words.counted(2, "subset") == "2 subsets"


def test_side() -> None:
    assert words.side({"low": 0.1, "high": 0.2}) == 1
    assert words.side({"low": -0.2, "high": -0.1}) == -1
    assert words.side({"low": -0.2, "high": 0.1}) == 0
    assert words.side({"low": None, "high": 0.1}) == 0


def test_visible_shows_what_would_act() -> None:
    assert words.visible("a\x00b\x1b\x7f\n\t") == "a␀b␛␡\n\t"
    assert words.visible("\u202eevil\u2066") == "⟨U+202E⟩evil⟨U+2066⟩"
    assert words.visible("\ud800\uffff\u2028\x85") == "⟨U+D800⟩⟨U+FFFF⟩⟨U+2028⟩⟨U+0085⟩"
    assert words.visible("السلام 列出 é 👩‍💻") == "السلام 列出 é 👩‍💻"
    assert words.visible({"\x01": [float("nan"), float("-inf"), 1.5, True, None]}) == {
        "␁": [None, None, 1.5, True, None]
    }


@given(st.text(st.characters()))
def test_visible_text_is_utf8_without_controls_and_stays_so(text: str) -> None:
    shown = words.visible(text)
    shown.encode("utf-8")
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs"} or set(shown) & set("\n\t")
    assert words.visible(shown) == shown
