"""What the tests of the consumers share: the prompts, the comparison, what must be installed."""

from __future__ import annotations

import json
import os
import shutil
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
from zooter_lite.learn.export import router_graph

EXPORTS = ROOT / "exports"
PROMPTS: list[str] = json.loads((EXPORTS / "prompts.json").read_text("utf-8"))
TOLERANCE = 1e-3  # of a probability, between two runtimes
TOY_EXPERTS = ["10", "2", "専門家"]  # an object of JavaScript would sort the first two
TOY_PROMPTS = ["", "one", "two three", "four five six " * 20, "[SEP] nine [CLS]"]

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


def check_answers(answers: Answers, probs: NDArray[np.float32], experts: Sequence[str]) -> None:
    """Fail unless every answer holds these probabilities and chooses their best expert.

    Another expert is accepted only where the two are tied within the tolerance.
    """
    assert len(answers) == len(probs)
    found = np.array([[answer["probabilities"][name] for name in experts] for answer in answers])
    assert all(set(answer["probabilities"]) == set(experts) for answer in answers)
    np.testing.assert_allclose(found, probs, atol=TOLERANCE, rtol=0)
    for answer, row in zip(answers, probs, strict=True):
        assert row[experts.index(answer["expert"])] >= row.max() - TOLERANCE


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
