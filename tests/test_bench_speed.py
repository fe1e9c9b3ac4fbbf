"""The pure parts of the speed bench: prompts, percentiles, verdicts, tables, the picture."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tokenizers import Tokenizer

from recipes.bench.speed.figures import (
    BARE,
    FLOOR,
    OURS,
    PEER,
    TOKENISED,
    TORCH,
    Timed,
    speed_checks,
)
from recipes.bench.speed.prompts import prompts_of, vocabulary
from recipes.bench.speed.protocol import ROOT
from zooter_lite.encode.find import DEFAULT, find_encoder


def timed(group: str, label: str, ms: float, rate: float = 0, **more: object) -> Timed:
    seconds = {tokens: [ms * factor / 1000] for tokens, factor in ((20, 1), (60, 2), (200, 6))}
    return Timed(group, label, seconds=seconds, rates=[rate] if rate else [], **more)  # type: ignore[arg-type]


def field() -> list[Timed]:
    return [
        timed(OURS, "zooter-lite fp32", 2.0, 300, precision="fp32"),
        timed(OURS, "zooter-lite int8", 1.0, 500, precision="int8"),
        timed(BARE, "raw", 1.5, precision="fp32"),
        timed(TOKENISED, "raw + t, 2", 1.6, precision="fp32"),
        timed(TOKENISED, "raw + t, 1", 1.9, precision="fp32"),
        timed(TORCH, "sentence-transformers", 7.0, 100, on_torch=True),
        timed(PEER, "slow", 9.0, 80, on_torch=True),
        timed(PEER, "torch peer", 8.0, 80, on_torch=True),
        timed(PEER, "<onnx> & peer", 3.0, 80),
        timed(FLOOR, "numpy", 1.2),
        timed(FLOOR, "onnxruntime", 1.1),
        timed(FLOOR, "onnxruntime u8s8", 0.5, precision="int8"),
    ]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    read = Tokenizer.from_file(str(find_encoder(DEFAULT) / "tokenizer.json"))
    read.no_truncation()
    read.no_padding()
    return read


def test_prompts_have_exactly_the_asked_length(tokenizer: Tokenizer) -> None:
    words = vocabulary(tokenizer, ["What is the antidisestablishmentarianism of 17*23?", "Ja, é"])
    assert ("What", 1) in words
    lengths = [20, 60, 200, 3, 20, 256]
    prompts = prompts_of(tokenizer, words, lengths, seed=5)
    assert [len(tokenizer.encode(prompt).ids) for prompt in prompts] == lengths
    assert len(set(prompts)) == len(prompts)
    assert prompts == prompts_of(tokenizer, words, lengths, seed=5)
    assert prompts != prompts_of(tokenizer, words, lengths, seed=6)


def test_ratios_are_those_of_the_medians() -> None:
    checks = {check.what: check for check in speed_checks(field())}

    def figure(start: str) -> float | None:
        (check,) = (check for what, check in checks.items() if what.startswith(start))
        return check.figure

    # the faster of the two raw sessions is the denominator: 4.0 / 3.2
    assert figure("fp32: whole decision") == pytest.approx(1.25)
    assert figure("int8: whole decision") is None
    assert figure("fp32: fastest peer (<onnx> & peer) / whole decision, 20 t") == 1.5
    assert figure("fp32: fastest peer on torch (torch peer) / whole decision, 200") == 4.0
    assert figure("int8: fastest peer on torch (torch peer)") == pytest.approx(8.0)
    assert figure("static: fastest peer (") is None
    assert figure("fp32: mixed-length") == pytest.approx(3.0)
    assert figure("int8: mixed-length") == pytest.approx(5.0)


def test_a_worker_answers_rounds_over_its_pipe() -> None:
    """A floor needs no router and no torch, so it stands for all contestants."""
    encoder = str(find_encoder(DEFAULT))
    requests = [
        {"kind": "latency", "prompts": ["a", "b"], "warm": ["c"], "length": 3},
        {"kind": "throughput", "prompts": ["a"], "warm": []},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "recipes.bench.speed.worker", "floor", encoder, "numpy", "1"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    about, answer, error = map(json.loads, done.stdout.splitlines())
    assert isinstance(about, dict)
    assert len(answer["seconds"]) == 2
    assert min(answer["seconds"]) > 0
    assert "error" in error
