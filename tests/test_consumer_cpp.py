"""exports/cpp/route, built and run as a user would, against the Python router."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.consumers import (
    EXPORTS,
    PROMPTS,
    TOY_EXPERTS,
    answers_of,
    check_answers,
    expected,
    missing,
    program,
    run,
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


def test_it_answers_as_the_router_does(
    route: tuple[str, ...], router_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "router.text.onnx"
    graph = (router_path / "router.onnx").read_bytes()
    tokenizer = (router_path / "tokenizer.json").read_text("utf-8")
    file.write_bytes(text_graph(graph, tokenizer, 256))
    prompts = [*PROMPTS, "half an emoji: \ud83d", "\ud83d\u0041 \udc00", "😀"]
    found = answers_of(route, file, stdin=json.dumps(prompts))
    check_answers(found, expected(router_path, prompts), Router.load(router_path).experts)
    assert all(answer["ms"] > 0 for answer in found)
    # unescaped text reads the same
    again = answers_of(route, file, stdin=json.dumps(PROMPTS[:20], ensure_ascii=False))
    assert [a["probabilities"] for a in again] == [a["probabilities"] for a in found[:20]]


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
