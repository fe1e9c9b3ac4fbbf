"""What the tests of the consumers share: the prompts, the comparison, what must be installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.helpers import replace_file, toy_encoder, toy_head, toy_router
from zooter_lite import Router
from zooter_lite.onnx.router_graph import router_graph

EXPORTS = ROOT / "exports"
PROMPTS: list[str] = json.loads((EXPORTS / "prompts.json").read_text("utf-8"))
TOLERANCE = 1e-3  # of a probability, between two runtimes
# int8: a last bit of a float that differs turns one level of 127 into the next, and the
# layers after it carry that on, so two runtimes differ by about the noise of int8 itself.
INT8_TOLERANCE = 0.1
TOY_EXPERTS = ["10", "2", "専門家"]  # an object of JavaScript would sort the first two
TOY_PROMPTS = ["", "one", "two three", "four five six " * 20, "[SEP] nine [CLS]"]

PYTHON = (sys.executable, str(EXPORTS / "python" / "route.py"))

Answers = Sequence[Mapping[str, Any]]


def missing(what: str) -> NoReturn:
    """Skip the test for want of `what`; fail it in continuous integration, which installs it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}: not installed, though .ci/run installs it")
    pytest.skip(f"{what}: not installed")


def program(*names: str) -> str:
    """Path of the first of these programs that is installed."""
    found = [path for path in map(shutil.which, names) if path]
    return found[0] if found else missing(" or ".join(names))


def packages(folder: Path) -> None:
    """Go on only if `npm install` was run in `folder` for the versions it names."""
    wanted = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    for name, version in wanted.items():
        file = folder / "node_modules" / name / "package.json"
        if not file.is_file() or json.loads(file.read_text("utf-8"))["version"] != version:
            missing(f"{name} {version} (npm install in {folder.relative_to(ROOT)})")


def expected(router_path: Path, prompts: Sequence[str]) -> NDArray[np.float32]:
    """(n_prompts, n_experts) probabilities that the Python router gives."""
    return Router.load(router_path).predict_proba(prompts)


def run(
    command: Sequence[str], *arguments: object, stdin: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a consumer of the command line and wait for it."""
    return subprocess.run(
        [*command, *map(str, arguments)], input=stdin.encode(), capture_output=True, timeout=600
    )


def answers_of(command: Sequence[str], *arguments: object, stdin: str = "") -> Answers:
    """Run a consumer of the command line and return what it printed."""
    done = run(command, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    answers: Answers = json.loads(done.stdout)
    return answers


def probabilities(answers: Answers, experts: Sequence[str]) -> NDArray[np.float64]:
    """(n_prompts, n_experts) probabilities of the answers, which name these experts alone."""
    assert all(set(answer["probabilities"]) == set(experts) for answer in answers)
    return np.array([[answer["probabilities"][name] for name in experts] for answer in answers])


def check_answers(
    answers: Answers,
    probs: NDArray[np.floating],
    experts: Sequence[str],
    tolerance: float = TOLERANCE,
) -> None:
    """Fail unless every answer holds these probabilities and chooses their best expert.

    Another expert is accepted only where the two are tied within the tolerance.
    """
    np.testing.assert_allclose(probabilities(answers, experts), probs, atol=tolerance, rtol=0)
    for answer, row in zip(answers, probs, strict=True):
        assert row[experts.index(answer["expert"])] >= row.max() - tolerance


def check_int8(answers: Answers, router_path: Path, prompts: Sequence[str]) -> None:
    """Fail unless the answers to `prompts` are those that Python gives in int8."""
    reference = answers_of(PYTHON, "--int8", router_path, stdin=json.dumps(prompts))
    experts = list(reference[0]["probabilities"])
    probs = probabilities(reference, experts)
    check_answers(answers, probs, experts, INT8_TOLERANCE)
    difference = np.abs(probabilities(answers, experts) - probs).max(axis=1)
    assert np.median(difference) <= TOLERANCE


def need_int8(router_path: Path) -> None:
    """Skip the test where the fit left the int8 graph out."""
    if not (router_path / "router.int8.onnx").is_file():
        pytest.skip("the router has no router.int8.onnx")


def toy_consumed(path: Path, *, framed: bool) -> Path:
    """Write a toy router whose names, lengths and empty prompts are hard on a consumer.

    Its tokenizer is of a kind that JavaScript's library knows, which the toy's own is
    not. With `framed` it puts [CLS] and [SEP] around a prompt; without, the empty prompt
    has no token at all. Beside router.onnx stands a router.int8.onnx of another head.
    """
    toy_router(path, experts=TOY_EXPERTS)
    tokenizer = json.loads((path / "tokenizer.json").read_text("utf-8"))
    tokenizer["model"] |= {
        "type": "WordPiece",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }
    if not framed:
        tokenizer["post_processor"] = None
    replace_file(path, "tokenizer.json", json.dumps(tokenizer).encode())
    head = toy_head("prior", n_experts=len(TOY_EXPERTS))
    other = replace(head, weight=-head.weight, bias=-head.bias)
    replace_file(path, "router.int8.onnx", router_graph(toy_encoder(), other, TOY_EXPERTS))
    return path
