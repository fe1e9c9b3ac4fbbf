"""exports/python/route.py, run as a user would, against the Python router."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.consumers import (
    PROMPTS,
    PYTHON,
    TOY_EXPERTS,
    TOY_PROMPTS,
    answers_of,
    check_answers,
    expected,
    run,
    toy_consumed,
)
from zooter_lite import Router


def test_the_prompts_are_200_and_hold_the_hard_cases() -> None:
    assert len(PROMPTS) == len(set(PROMPTS)) == 200
    assert {"", " ", "[SEP]", '"'} <= set(PROMPTS)
    assert any(len(prompt) == 10_000 for prompt in PROMPTS)
    ranges = [
        *[("一", "鿿"), ("ぁ", "ヿ"), ("가", "힣"), ("ء", "ي"), ("अ", "ह"), ("ก", "ฮ")],
        *[("😀", "🙏"), ("\0", "\x08"), ("\u200d", "\u200d")],  # emoji, controls, the joiner
    ]
    for first, last in ranges:
        assert any(first <= char <= last for prompt in PROMPTS for char in prompt), first


def test_it_answers_as_the_router_does(router_path: Path) -> None:
    prompts = [*PROMPTS, "half an emoji: \ud83d"]
    found = answers_of(PYTHON, router_path, stdin=json.dumps(prompts))
    check_answers(found, expected(router_path, prompts), Router.load(router_path).experts)
    assert all(answer["ms"] > 0 for answer in found)


@pytest.mark.parametrize("framed", [True, False])
def test_empty_and_long_prompts_and_odd_names(tmp_path: Path, framed: bool) -> None:
    router = toy_consumed(tmp_path / "toy", framed=framed)
    found = answers_of(PYTHON, router, *TOY_PROMPTS)
    check_answers(found, expected(router, TOY_PROMPTS), TOY_EXPERTS)


def test_int8_reads_the_other_graph(tmp_path: Path) -> None:
    router = toy_consumed(tmp_path / "toy", framed=True)
    (plain,), (other,) = (
        answers_of(PYTHON, router, "one"),
        answers_of(PYTHON, "--int8", router, "one"),
    )
    assert plain["probabilities"] != other["probabilities"]


@pytest.mark.parametrize(
    ("stdin", "message"),
    [("{", "is not JSON"), ('{"a": 1}', "is not a JSON list of texts"), ("[1]", "list of texts")],
)
def test_what_is_no_list_of_texts_is_refused(tmp_path: Path, stdin: str, message: str) -> None:
    router = toy_consumed(tmp_path / "toy", framed=True)
    done = run(PYTHON, router, stdin=stdin)
    assert done.returncode == 2
    assert message in done.stderr.decode()


def test_a_missing_router_is_named(tmp_path: Path) -> None:
    done = run(PYTHON, tmp_path / "none", "a prompt")
    assert done.returncode == 2
    assert f"{tmp_path / 'none' / 'router.onnx'}: no such file" in done.stderr.decode()
