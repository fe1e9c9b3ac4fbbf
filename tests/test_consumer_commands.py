"""exports/python/route.py and exports/node/route.js, run as a user would, against the router."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.consumers import (
    EXPORTS,
    PROMPTS,
    PYTHON,
    TOY_PROMPTS,
    answers_of,
    check_decisions,
    check_int8,
    need_int8,
    packages,
    program,
    run,
    toy_consumed,
    toy_old,
    toy_priced,
)
from tests.helpers import edit_config, replace_file, toy_files, toy_head, toy_router
from zooter_lite import Router


@pytest.fixture
def node() -> tuple[str, ...]:
    """The command of Node, where what it needs is installed."""
    found = program("node")
    packages(EXPORTS / "node")
    return found, str(EXPORTS / "node" / "route.js")


@pytest.fixture(params=["python", "node"])
def consumer(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """One command after the other."""
    if request.param == "python":
        return PYTHON
    command: tuple[str, ...] = request.getfixturevalue("node")
    return command


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


def test_it_answers_as_the_router_does_at_every_point(
    consumer: tuple[str, ...], router_path: Path
) -> None:
    prompts = [*PROMPTS, "half an emoji: \ud83d"]
    router = Router.load(router_path)
    for point in router.points:
        found = answers_of(consumer, "--point", point, router_path, stdin=json.dumps(prompts))
        check_decisions(found, router, prompts, point)
        assert all(answer["ms"] > 0 for answer in found)


def test_the_recommended_and_the_default_point_of_node(
    node: tuple[str, ...], tmp_path: Path
) -> None:
    path = toy_priced(tmp_path / "toy")
    found = answers_of(node, "--point", "recommended", path, *TOY_PROMPTS)
    check_decisions(found, Router.load(path), TOY_PROMPTS, "safe")
    edit_config(path, lambda config: config["decisions"].update(default="economy"))
    check_decisions(answers_of(node, path, *TOY_PROMPTS), Router.load(path), TOY_PROMPTS, "economy")


TOYS: dict[str, Callable[[Path], Path]] = {
    "priced": toy_priced,
    "from before the points": toy_old,
    "framed": partial(toy_consumed, framed=True),
    "bare": partial(toy_consumed, framed=False),
}


@pytest.mark.parametrize("kind", TOYS)
def test_empty_and_long_prompts_odd_names_and_points(
    consumer: tuple[str, ...], tmp_path: Path, kind: str
) -> None:
    path = TOYS[kind](tmp_path / "toy")
    router, chosen, prompts = Router.load(path), set(), TOY_PROMPTS
    if kind == "priced":  # Node's library knows other edges of words than the other toys'
        prompts = [*TOY_PROMPTS, *PROMPTS]
    for point in router.points:
        found = answers_of(consumer, "--point", point, path, stdin=json.dumps(prompts))
        check_decisions(found, router, prompts, point)
        chosen.add(tuple(answer["expert"] for answer in found))
    assert len(chosen) == len(router.points)  # each point decides in its own way
    check_decisions(answers_of(consumer, path, *TOY_PROMPTS), router, TOY_PROMPTS)
    done = run(consumer, "--point", "fast\n", path, "one")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert f': point "fast\\n": expected {", ".join(router.points)}' in line


def test_node_needs_costs_to_weigh_them(node: tuple[str, ...], tmp_path: Path) -> None:
    path = toy_priced(tmp_path / "toy")
    replace_file(path, "router.onnx", toy_files(toy_head("prior"))["router.onnx"])
    done = run(node, "--point", "match", path, "one")
    assert done.returncode == 2
    assert done.stderr.decode() == 'route.js: point "match": the graph has no costs\n'


def test_int8_reads_the_other_graph(consumer: tuple[str, ...], tmp_path: Path) -> None:
    router = toy_consumed(tmp_path / "toy", framed=True)
    (plain,) = answers_of(consumer, router, "one")
    (other,) = answers_of(consumer, "--int8", router, "one")
    assert plain["probabilities"] != other["probabilities"]


def test_int8_of_node_agrees_with_python(node: tuple[str, ...], router_path: Path) -> None:
    need_int8(router_path)
    found = answers_of(node, "--int8", router_path, stdin=json.dumps(PROMPTS))
    check_int8(found, router_path, PROMPTS)


def test_a_tokenizer_that_nodes_library_does_not_know_is_refused(
    node: tuple[str, ...], tmp_path: Path
) -> None:
    toy_router(tmp_path / "toy")
    done = run(node, tmp_path / "toy", "one")
    assert done.returncode == 2
    assert b"does not know WordLevel models" in done.stderr


@pytest.mark.parametrize(("stdin", "message"), [("{", "JSON"), ("[1]", "list of texts")])
def test_what_is_no_list_of_texts_is_refused(
    consumer: tuple[str, ...], tmp_path: Path, stdin: str, message: str
) -> None:
    router = toy_consumed(tmp_path / "toy", framed=True)
    done = run(consumer, router, stdin=stdin)
    assert done.returncode == 2
    assert message in done.stderr.decode()


def test_a_missing_router_is_named(consumer: tuple[str, ...], tmp_path: Path) -> None:
    done = run(consumer, tmp_path / "none", "a prompt")
    assert done.returncode == 2
    assert str(tmp_path / "none" / "router.onnx") in done.stderr.decode()
