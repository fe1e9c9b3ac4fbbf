"""exports/cpp/route, built and run as a user would, against the Python router."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.consumers import (
    EXPORTS,
    POINTS,
    PROMPTS,
    TOY_EXPERTS,
    answers_of,
    check_answers,
    check_decisions,
    missing,
    program,
    run,
    toy_priced,
)
from tests.helpers import toy_embedding, toy_encoder, toy_head
from tests.test_text import small_tokenizer
from zooter_lite import Router
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.onnx.text.one_file import text_graph

FOLDER = EXPORTS / "cpp"


@pytest.fixture(scope="module")
def route() -> tuple[str, ...]:
    """The program, after `make`."""
    program("g++")
    program("make")
    headers = Path(os.environ.get("ONNXRUNTIME", FOLDER / "onnxruntime")) / "include"
    if not (headers / "onnxruntime_cxx_api.h").is_file():
        missing("onnxruntime for C++ (make onnxruntime in exports/cpp)")
    done = subprocess.run(["make", "-C", FOLDER, "route"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return (str(FOLDER / "route"),)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router of a few kilobytes in one file."""
    file = tmp_path_factory.mktemp("toy") / "router.text.onnx"
    graph = router_graph(toy_encoder(), toy_head("prior"), TOY_EXPERTS)
    file.write_bytes(text_graph(graph, small_tokenizer(), 16))
    return file


def in_one_file(router_path: Path, file: Path, max_length: int) -> Path:
    """Write the one-file router of a directory."""
    graph = (router_path / "router.onnx").read_bytes()
    tokenizer = (router_path / "tokenizer.json").read_text("utf-8")
    file.write_bytes(text_graph(graph, tokenizer, max_length))
    return file


def test_it_answers_as_the_router_does_at_every_point(
    route: tuple[str, ...], router_path: Path, tmp_path: Path
) -> None:
    file = in_one_file(router_path, tmp_path / "router.text.onnx", 256)
    router = Router.load(router_path)
    prompts = [*PROMPTS, "half an emoji: \ud83d", "\ud83d\u0041 \udc00", "😀"]
    for point in router.points:
        found = answers_of(route, "--point", point, file, stdin=json.dumps(prompts))
        check_decisions(found, router, prompts, point)
        assert all(answer["ms"] > 0 for answer in found)
    # unescaped text reads the same
    again = answers_of(route, file, stdin=json.dumps(PROMPTS[:20], ensure_ascii=False))
    assert [a["probabilities"] for a in again] == [a["probabilities"] for a in found[:20]]


def test_points_and_costs_of_a_toy(route: tuple[str, ...], tmp_path: Path) -> None:
    path = toy_priced(tmp_path / "toy")
    file = in_one_file(path, tmp_path / "router.text.onnx", 16)
    router = Router.load(path)
    for point in POINTS:
        found = answers_of(route, "--point", point, file, stdin=json.dumps(PROMPTS))
        check_decisions(found, router, PROMPTS, point)
    check_decisions(answers_of(route, file, "one"), router, ["one"], "quality")
    done = run(route, "--point", 'a"b', file, "one")
    assert done.returncode == 2
    wanted = 'route: point "a\\"b": expected quality, match, economy, safe\n'
    assert done.stderr.decode() == wanted


@pytest.mark.parametrize(
    "props",
    [{"zooter.point.quality.cost_weight": "0.5"}, {"zooter.point.quality.expert": "nobody"}],
)
def test_a_point_that_the_router_cannot_follow_is_refused(
    route: tuple[str, ...], toy: Path, tmp_path: Path, props: dict[str, str]
) -> None:
    model = onnx.load(toy)
    found = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, found | props)
    onnx.save(model, tmp_path / "router.text.onnx")
    done = run(route, tmp_path / "router.text.onnx", "one")
    assert done.returncode == 2
    assert 'lacks what its point "quality" needs' in done.stderr.decode()


def test_a_router_from_before_the_points(route: tuple[str, ...], toy: Path, tmp_path: Path) -> None:
    model = onnx.load(toy)
    experts = {prop.key: prop.value for prop in model.metadata_props}["zooter.experts"]
    onnx.helper.set_model_props(model, {"zooter.experts": experts})
    onnx.save(model, tmp_path / "router.text.onnx")
    (answer,) = answers_of(route, tmp_path / "router.text.onnx", "one")
    assert set(answer) == {"expert", "probabilities", "ms"}
    assert answer["probabilities"] == answers_of(route, toy, "one")[0]["probabilities"]
    done = run(route, "--point", "match", tmp_path / "router.text.onnx", "one")
    assert (done.returncode, done.stderr) == (2, b'route: point "match": expected quality\n')


def test_arguments_and_odd_names(route: tuple[str, ...], tmp_path: Path) -> None:
    names = [*TOY_EXPERTS[:2], 'a"b\\c\n専']
    graph = router_graph(toy_encoder(), toy_head("prior"), names)
    file = tmp_path / "router.text.onnx"
    file.write_bytes(text_graph(graph, small_tokenizer(), 16))
    texts = ["", "one", "two three", "four five six " * 20]
    probs = toy_head("prior").probs(np.stack([toy_embedding(text) for text in texts]))
    check_answers(answers_of(route, file, *texts), probs.astype(np.float32), names)
    assert answers_of(route, file, stdin=" [ ] ") == []


@pytest.mark.parametrize(
    "stdin",
    ["", '{"a": 1}', "[1]", '["a"', '["a",]', '["a"] x', '["\\x"]', '["\\u12g4"]', '["\n"]'],
)
def test_what_is_no_list_of_texts_is_refused(route: tuple[str, ...], toy: Path, stdin: str) -> None:
    done = run(route, toy, stdin=stdin)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("route: not a JSON list of texts (byte ")


def test_a_missing_router_is_named(route: tuple[str, ...], tmp_path: Path) -> None:
    done = run(route, tmp_path / "none.onnx", "a prompt")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("route: ")
    assert str(tmp_path / "none.onnx") in line
