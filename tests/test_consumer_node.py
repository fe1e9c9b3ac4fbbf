"""exports/node/route.js, run as a user would, against the Python router."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.consumers import (
    EXPORTS,
    PROMPTS,
    TOY_EXPERTS,
    TOY_PROMPTS,
    answers_of,
    check_answers,
    check_int8,
    expected,
    need_int8,
    packages,
    program,
    run,
    toy_consumed,
)
from tests.helpers import toy_router
from zooter_lite import Router

FOLDER = EXPORTS / "node"


@pytest.fixture
def node() -> list[str]:
    """The command, where what it needs is installed."""
    found = program("node")
    packages(FOLDER)
    return [found, str(FOLDER / "route.js")]


def test_it_answers_as_the_router_does(node: list[str], router_path: Path) -> None:
    prompts = [*PROMPTS, "half an emoji: \ud83d"]
    found = answers_of(node, router_path, stdin=json.dumps(prompts))
    check_answers(found, expected(router_path, prompts), Router.load(router_path).experts)
    assert all(answer["ms"] > 0 for answer in found)


@pytest.mark.parametrize("framed", [True, False])
def test_empty_and_long_prompts_and_odd_names(
    node: list[str], tmp_path: Path, framed: bool
) -> None:
    router = toy_consumed(tmp_path / "toy", framed=framed)
    found = answers_of(node, router, *TOY_PROMPTS)
    check_answers(found, expected(router, TOY_PROMPTS), TOY_EXPERTS)


def test_int8_reads_the_other_graph(node: list[str], tmp_path: Path) -> None:
    router = toy_consumed(tmp_path / "toy", framed=True)
    (plain,), (other,) = answers_of(node, router, "one"), answers_of(node, "--int8", router, "one")
    assert plain["probabilities"] != other["probabilities"]


def test_int8_agrees_with_python(node: list[str], router_path: Path) -> None:
    need_int8(router_path)
    found = answers_of(node, "--int8", router_path, stdin=json.dumps(PROMPTS))
    check_int8(found, router_path, PROMPTS)


def test_a_tokenizer_that_the_library_does_not_know_is_refused(
    node: list[str], tmp_path: Path
) -> None:
    toy_router(tmp_path / "toy")
    done = run(node, tmp_path / "toy", "one")
    assert done.returncode == 2
    assert b"does not know WordLevel models" in done.stderr


@pytest.mark.parametrize(
    ("stdin", "message"),
    [("{", "JSON"), ('{"a": 1}', "is not a JSON list of texts"), ("[1]", "list of texts")],
)
def test_what_is_no_list_of_texts_is_refused(
    node: list[str], tmp_path: Path, stdin: str, message: str
) -> None:
    router = toy_consumed(tmp_path / "toy", framed=True)
    done = run(node, router, stdin=stdin)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("route.js: ")
    assert message in line


def test_a_missing_router_is_named(node: list[str], tmp_path: Path) -> None:
    done = run(node, tmp_path / "none", "a prompt")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert str(tmp_path / "none" / "router.onnx") in line


def test_what_is_missing_is_skipped_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program: not installed"):
        program("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program: not installed, though"):
        program("no-such-program")
