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
import onnx
import pytest
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.helpers import (
    EXPERTS,
    TOY_DECISIONS,
    edit_config,
    replace_file,
    toy_config,
    toy_encoder,
    toy_estimates,
    toy_files,
    toy_head,
    toy_router,
)
from tests.test_text import small_tokenizer
from zooter_lite import Router
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.router.decision import choose
from zooter_lite.router.directory.store import write_router

EXPORTS = ROOT / "exports"
PROMPTS: list[str] = json.loads((EXPORTS / "prompts.json").read_text("utf-8"))
TOLERANCE = 1e-3  # of a probability, between two runtimes
# int8: a last bit of a float that differs turns one level of 127 into the next, and the
# layers after it carry that on, so two runtimes differ by about the noise of int8 itself.
INT8_TOLERANCE = 0.1
TOY_EXPERTS = ["10", "2", "専門家"]  # an object of JavaScript would sort the first two
POINTS = [point.name for point in TOY_DECISIONS.points]
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


def check_decisions(
    answers: Answers, router: Router, prompts: Sequence[str], point: str = "quality"
) -> None:
    """Fail unless the answers are those that the router gives at this point.

    Another expert is accepted only where the utilities of the two are tied within the
    tolerance. The expected reward and cost are missing where the router knows none.
    """
    predicted, chosen_by, experts = router.predict(prompts), router.point(point), router.experts
    np.testing.assert_allclose(
        probabilities(answers, experts), predicted.probs, atol=TOLERANCE, rtol=0
    )
    utilities = choose(predicted, chosen_by, experts).utilities
    taken = [experts.index(answer["expert"]) for answer in answers]
    for answer, decision, row, place in zip(
        answers, router.route(prompts, point=point), utilities, taken, strict=True
    ):
        tied = chosen_by.expert is None and row[place] >= row.max() - TOLERANCE
        assert answer["expert"] == decision.expert or tied
    for key, values in (("reward", predicted.rewards), ("cost", predicted.costs)):
        if values is None:
            assert all(f"expected_{key}" not in answer for answer in answers)
        else:
            found = np.array([answer[f"expected_{key}"] for answer in answers])
            wanted = np.array(values)[np.arange(len(taken)), taken]
            np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=TOLERANCE)


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


def toy_priced(path: Path) -> Path:
    """Write a toy router with costs and operating points that every consumer can read."""
    head = toy_estimates(toy_head("prior"))
    files = toy_files(head) | {
        "router.onnx": router_graph(toy_encoder(), head, EXPERTS, TOY_DECISIONS.points),
        "tokenizer.json": small_tokenizer(lambda parts: parts.update(decoder=None)).encode(),
    }
    write_router(path, toy_config(head, decisions=TOY_DECISIONS), files, head)
    return path


def toy_old(path: Path) -> Path:
    """Write a toy router as it was before there were operating points."""
    toy_consumed(path, framed=True)
    model = onnx.load(path / "router.onnx")
    kept = {prop.key: prop.value for prop in model.metadata_props if "point" not in prop.key}
    onnx.helper.set_model_props(model, kept)
    replace_file(path, "router.onnx", model.SerializeToString())
    edit_config(path, lambda config: config.pop("decisions"))
    return path
