"""Explanations against hand-worked numbers, and the command as a user would run it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Command
from tests.helpers import EXPERTS, NAN, replace_file, toy_embedding, toy_router
from zooter_lite import Router
from zooter_lite import explain as explain_command
from zooter_lite.cli import run
from zooter_lite.errors import DataError, RouterError
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.router.decision import Decision, Predictions
from zooter_lite.router.explanation import (
    NO_TAGS,
    NO_TEXTS,
    Agreement,
    Explanation,
    agreement,
    explain_decision,
)
from zooter_lite.tags.index import TagIndex

TEXTS = [f"training query {i}" for i in range(12)]


@pytest.fixture
def keeping(own_toy: Path) -> Path:
    replace_file(own_toy, "queries.json", json.dumps(TEXTS).encode())
    return own_toy


def example(texts: list[str] | None = None) -> Explanation:
    """Two tags on two axes; expert z was never observed on tag 'right'."""
    embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    rewards = np.array([[1.0, 0.0, NAN], [0.5, NAN, NAN], [0.0, 0.8, 0.3]])
    tags = TagAssignment.from_lists([["right"], ["right"], ["up"]])
    index = TagIndex.build(embeddings, tags, rewards)
    decision = Decision("x", 0.5, {"x": 0.5, "y": 0.2, "z": 0.3})
    query = np.array([0.8, 0.6], dtype=np.float32)
    predicted = Predictions(
        np.array([[0.5, 0.2, 0.3]]), np.array([[0.7, 0.4, 0.5]]), np.array([[2.0, 0.125, 1.0]])
    )
    return explain_decision("which way?", decision, predicted, query, index, texts, 3)


def test_neighbours_tags_and_rewards_worked_by_hand() -> None:
    found = example(["a", "b", "c"])
    assert [n.similarity for n in found.neighbours] == pytest.approx([0.8, 0.8, 0.6])
    assert [n.tags for n in found.neighbours] == [["right"], ["right"], ["up"]]
    assert {n.text for n in found.neighbours[:2]} == {"a", "b"}  # equally near
    assert found.neighbours[2].text == "c"
    right, up = found.tags
    assert (right.tag, right.support, up.tag, up.support) == ("right", 2, "up", 1)
    assert (right.weight, up.weight) == pytest.approx((1.6 / 2.2, 0.6 / 2.2))
    assert right.mean_rewards == {"x": 0.75, "y": 0.0, "z": None}
    assert right.observed == {"x": 2, "y": 1, "z": 0}
    expected = {"x": 0.75 * 1.6 / 2.2, "y": 0.8 * 0.6 / 2.2, "z": 0.3}  # z: 'up' alone knows it
    assert found.tag_rewards == pytest.approx(expected)
    assert found.agreement == Agreement(True, "x")
    assert found.expected_rewards == {"x": 0.7, "y": 0.4, "z": 0.5}
    assert found.expected_costs == {"x": 2.0, "y": 0.125, "z": 1.0}
    assert found.missing == []
    assert example().missing == [NO_TEXTS]


def test_agreement_of_opposites_ties_and_nothing() -> None:
    head = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert agreement(head, {"a": 0.1, "b": 0.2, "c": 0.3}) == Agreement(False, "c")
    assert agreement(head, {"a": 0.4, "b": 0.4, "c": 0.4}) == Agreement(True, "a")
    assert agreement(head, {"a": 0.4, "b": 0.5, "c": 0.5}).tag_choice == "b"
    assert agreement(head, {"a": None, "b": 0.5, "c": 0.4}) == Agreement(None, "b")
    assert agreement(head, dict.fromkeys(head)) == Agreement()


def test_text_is_aligned_short_and_free_of_control_characters() -> None:
    text = example(["a", "\x1b[31mred\x07\nline", "c" * 500]).to_text()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) <= 40
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("expert"))
    assert lines[start : start + 4] == [
        "expert  probability  reward   cost  tag reward    [1]  [2]",
        "x             0.500     0.7      2       0.545   0.75    0",
        "z             0.300     0.5      1         0.3  - (0)  0.3",
        "y             0.200     0.4  0.125       0.218  0 (1)  0.8",
    ]
    assert "agreement  the head and the tags choose the same expert" in lines


def test_text_of_many_experts_tags_and_neighbours_stays_short() -> None:
    n = 60
    vectors = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"expert-{'long' * 20}-{i}" for i in range(30)]
    rewards = np.random.default_rng(1).random((n, 30))
    tags = TagAssignment.from_lists([[f"t{i}"] for i in range(n)])
    index = TagIndex.build(vectors, tags, rewards)
    probs = np.random.default_rng(2).dirichlet(np.ones(30)).tolist()
    decision = Decision(names[0], probs[0], dict(zip(names, probs, strict=True)))
    predicted = Predictions(np.array([probs]))
    found = explain_decision("q" * 9999, decision, predicted, vectors[0], index, None, 50)
    assert (found.expected_rewards, found.expected_costs) == (None, None)
    text = found.to_text()
    assert len(text.splitlines()) <= 45
    assert "and 18 more experts" in text
    assert "and 45 more tags" in text
    assert "and 42 more queries" in text


def test_router_explains_as_it_routes(keeping: Path) -> None:
    router = Router.load(keeping)
    found = router.explain("one two", k=5)
    (decision,) = router.route(["one two"])
    assert found.decision.expert == decision.expert
    assert list(found.decision.probabilities) == EXPERTS
    assert len(found.neighbours) == 5
    index = router.tag_index
    assert index is not None
    similarities, positions = index.search(toy_embedding("one two")[None].astype(np.float32), 5)
    assert [n.similarity for n in found.neighbours] == pytest.approx(similarities[0], abs=1e-5)
    assert [n.text for n in found.neighbours] == [TEXTS[i] for i in positions[0]]
    assert [(t.tag, t.weight) for t in found.tags] == router.tags(["one two"], k=5, top=9)[0]
    assert json.loads(json.dumps(found.to_json()))["tags"][0]["tag"] == found.tags[0].tag


def test_router_tags(toy: Path) -> None:
    router = Router.load(toy)
    both = router.tags(["one two", "three"], k=4, top=1)
    assert [len(found) for found in both] == [1, 1]
    assert both[1] == router.tags(["three"], k=4)[0][:1]
    assert router.tags([]) == []
    for call in (lambda: router.tags(["one"], k=0), lambda: router.explain("one", k=0)):
        with pytest.raises(DataError, match="0 neighbours: expected at least 1"):
            call()
    with pytest.raises(DataError, match="expected one prompt, found list"):
        router.explain(["one"])  # type: ignore[arg-type]


def test_a_router_without_tags_says_so(tmp_path: Path) -> None:
    toy_router(tmp_path / "r", "linear", tagged=False)
    router = Router.load(tmp_path / "r")
    found = router.explain("one two")
    assert found.missing == [NO_TAGS]
    assert (found.neighbours, found.tags, found.tag_rewards) == ([], [], {})
    assert NO_TAGS in found.to_text()
    assert found.to_text().count(found.decision.expert) == 2
    with pytest.raises(RouterError, match=r"r: fitted without tags"):
        router.tags(["one"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(TEXTS[:-1]), "queries.json has 11 texts for 12 indexed queries"),
        ('{"0": "x"}', "queries.json is {'0': 'x'}, expected a list"),
        ("[", "queries.json cannot be read"),
    ],
)
def test_kept_queries_that_do_not_fit_are_refused(
    own_toy: Path, content: str, message: str
) -> None:
    replace_file(own_toy, "queries.json", content.encode())
    router = Router.load(own_toy)
    assert router.route(["one"])
    with pytest.raises(RouterError) as caught:
        router.explain("one")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(own_toy))


@pytest.fixture
def explain(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process; returns exit code, standard output and error."""

    def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(
            explain_command.Options, explain_command.main, "explain", "", list(map(str, arguments))
        )
        return code, *capfd.readouterr()

    return call


def test_the_command_prints_text_json_and_lines(explain: Any, keeping: Path) -> None:
    code, text, err = explain("--router", keeping, "-k", 3, "one two")
    assert (code, err) == (0, "")
    assert text == Router.load(keeping).explain("one two", 3).to_text() + "\n"
    assert "training query" in text
    code, lines, err = explain("--router", keeping, "--json", "-", stdin=b"one two\n\nthree\n")
    assert (code, err) == (0, "")
    found = [json.loads(line) for line in lines.splitlines()]
    assert [content["query"] for content in found] == ["one two", "three"]
    assert len(found[0]["neighbours"]) == 12


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (("--router", "ROUTER", "  "), b"", "error: the query is empty; expected text"),
        (("--router", "ROUTER", "-"), b"\n\n", "error: standard input holds no query"),
        (("--router", "ROUTER", "-"), b"one\n\xff\n", "error: standard input, line 2: not UTF-8"),
        (("--router", "ROUTER", "-k", "0", "x"), b"", "error: --neighbours 0: expected at least 1"),
        (("--router", "tests", "x"), b"", "error: tests: no config.json"),
    ],
)
def test_the_command_refuses_in_one_line(
    explain: Any, toy: Path, arguments: tuple[str, ...], stdin: bytes, message: str
) -> None:
    given = [toy if word == "ROUTER" else word for word in arguments]
    code, _, err = explain(*given, stdin=stdin)
    assert code == 2
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_the_command_explains_the_precision_that_is_asked_for(
    explain: Any, router_path: Path
) -> None:
    query = "What is 17 * 23?"
    _, out, _ = explain("--router", router_path, "--json", "--precision", "int8", query)
    decision = json.loads(out)["decision"]
    expected = Router.load(router_path, "int8").route([query])[0]
    assert decision["expert"] == expected.expert
    assert decision["probability"] == pytest.approx(expected.probability, abs=1e-5)
    exact = Router.load(router_path).route([query])[0].probability
    assert abs(decision["probability"] - exact) > 1e-5


@pytest.mark.slow
def test_fit_keeps_the_queries_only_when_told(
    command: Command, explain: Any, router_path: Path, tmp_path: Path
) -> None:
    assert not (router_path / "queries.json").exists()
    rows = [f"Add {i} and 3,1,0" for i in range(30)] + [f"Sing song {i},0,1" for i in range(30)]
    lines = [f"{row},train,{'maths' if row[0] == 'A' else 'music'}" for row in rows]
    header = "query,reward:small,reward:large,split,tags"
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    fit = ("fit", "--data", tmp_path / "t.csv", "--out", tmp_path / "r", "--tags", "given")
    done = command(*fit, "--keep-queries")
    assert done.returncode == 0, done.stderr
    _, out, _ = explain("--router", tmp_path / "r", "--json", "Add 7 and 3")
    found = json.loads(out)
    assert found["neighbours"][0]["text"] == "Add 7 and 3"
    assert found["tags"][0]["tag"] == "maths"
    assert found["agreement"]["tag_choice"] == "small"
    refused = command("fit", "--keep-queries", "--tags", "none")
    assert "--keep-queries with --tags none" in refused.stderr
