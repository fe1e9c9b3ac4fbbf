"""Verifiers against worked examples, and against what must not fool or hang them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zooter_lite.ask.texts import fenced
from zooter_lite.errors import DataError
from zooter_lite.scoring.verifiers import (
    contains,
    exact,
    json_schema,
    last_number,
    numeric,
    regex,
)

CATASTROPHE = r"^(a|aa)+$"  # Fibonacci(40) ways to fail


@pytest.mark.parametrize(
    ("check", "response", "answers", "options", "reward"),
    [
        (exact, "  'New  DELHI'. ", ["New Delhi"], {}, 1.0),
        (exact, r"It is \boxed{\text{Blue}}.", ["blue"], {}, 1.0),
        (exact, r"Not blue: \boxed{red}", ["blue"], {}, 0.0),
        (exact, "**Paris**", ["London", "Paris"], {}, 1.0),
        (exact, "PARIS", ["Paris"], {"ignore_case": False}, 0.0),
        (contains, "It is\nNEW   delhi, of course", ["New Delhi"], {}, 1.0),
        (contains, "15", ["5"], {}, 0.0),
        (contains, "15", ["5"], {"whole_words": False}, 1.0),
        (contains, "c++ rules", ["C++"], {}, 1.0),
        (numeric, "the answer is 0.3333", ["1/3"], {"relative": 1e-3}, 1.0),
        (numeric, "103", ["100"], {"absolute": 3.0}, 1.0),
        (numeric, "-3", ["3"], {}, 0.0),
        (numeric, "no idea", ["3"], {}, 0.0),
    ],
)
def test_a_response_is_compared_with_its_answers(
    check: Callable[..., float],
    response: str,
    answers: list[str],
    options: dict[str, Any],
    reward: float,
) -> None:
    assert check(response, answers, **options) == reward


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2 boxes cost $1,250.50.", 1250.5),
        (r"first \boxed{1}, then \boxed{\text{about } {7}}", 7.0),
        (r"\boxed{1{,}234\,567}", 1234567.0),
        (r"\boxed{x} or 5", 5.0),
        ("x = −3", -3.0),
        ("1/0", 0.0),
        ("1.5 × 10^3", 1500.0),
        (r"2\times10^{-2}", 0.02),
        ("1,2345", 2345.0),
        ("9" * 400, None),
    ],
)
def test_last_number(text: str, number: float | None) -> None:
    assert last_number(text) == number


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_numbers_written_in_several_ways_read_the_same(top: int, bottom: int) -> None:
    value = float(Fraction(top, bottom))
    assert last_number(f"It is {top}/{bottom}") == pytest.approx(value)
    assert last_number(f"It is {top:,} / {bottom}") == pytest.approx(value)
    assert last_number(rf"\boxed{{\frac{{{top}}}{{{bottom}}}}} 7") == pytest.approx(value)
    assert last_number(f"It is {value!r}, yes.") == value


def test_regex_finds_and_ends_in_time() -> None:
    assert regex("Result: 42\n", [r"^Result: \d+$", "x"]) == 1.0
    assert regex("Result: 42", [r"^\d+$"]) == 0.0
    started = time.monotonic()
    assert math.isnan(regex("a" * 40 + "!", [CATASTROPHE], seconds=0.2))
    assert regex("a" * 40 + "!", [CATASTROPHE, "!"], seconds=0.2) == 1.0
    assert time.monotonic() - started < 5
    with pytest.raises(DataError, match="pattern '\\(' cannot be read"):
        regex("x", ["("])


@pytest.mark.parametrize(
    "piece", ["```x", "```\n", "``` ", " ", "1,", "1/", "{", "\\boxed{", "-", "1 /"]
)
def test_long_texts_take_no_long_time(piece: str) -> None:
    text = "```" + piece * 30_000
    started = time.process_time()  # a busy machine takes longer on the clock
    last_number(text)
    fenced(text, ("json",))
    contains(text, ["xyz"])
    exact(text, ["xyz"])
    assert time.process_time() - started < 5


SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}},
    "required": ["age"],
}


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ('{"age": 3}', 1.0),
        ('Here you are:\n```json\n{"age": 3}\n```\nAnything else?', 1.0),
        ('```json\n{}\n```\nNo:\n```json\n{"age": 3}\n```', 1.0),
        ('```json\n{"age": 3}\n```\nNo:\n```json\n{}\n```', 0.0),
        ('{"age": NaN}', 0.0),
        ("{age: 3}", 0.0),
        ("[" * 100_000, 0.0),
        ("", 0.0),
    ],
)
def test_json_schema(response: str, reward: float) -> None:
    assert json_schema(response, SCHEMA) == reward
    assert json_schema(response, json.dumps(SCHEMA)) == reward


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "is no JSON schema"),
        (3, "is no JSON schema"),
        ({"$ref": "http://example.com/schema.json"}, "leads outside it"),
    ],
)
def test_json_schema_refuses_what_is_none(schema: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        json_schema("{}", schema)
