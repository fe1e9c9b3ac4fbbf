"""The pure parts of the speed bench: prompts, percentiles, verdicts, tables, the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from tokenizers import Tokenizer

from recipes.bench import precision
from recipes.bench.speed.figures import (
    BARE,
    FLOOR,
    OURS,
    PEER,
    TOKENISED,
    TORCH,
    Check,
    Timed,
    speed_checks,
)
from recipes.bench.speed.invariance import changes, in_batches
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


def test_too_few_words_for_different_prompts_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="too few words for another prompt of 3 tokens"):
        prompts_of(tokenizer, [("a", 1), ("b", 1)], [3, 3, 3], seed=0)
    with pytest.raises(ValueError, match="a prompt has 4 tokens, expected 3"):
        prompts_of(tokenizer, [("a b", 1)], [3], seed=0)


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


@pytest.mark.parametrize(
    ("figure", "at_most", "verdict"),
    [
        (1.15, True, "pass"),
        (1.1501, True, "FAIL"),
        (1.15, False, "pass"),
        (1.1499, False, "FAIL"),
        (None, True, "not measured"),
        (float("nan"), True, "FAIL"),
    ],
)
def test_the_figure_itself_decides_the_verdict(
    figure: float | None, at_most: bool, verdict: str
) -> None:
    assert Check("it", figure, 1.15, at_most).verdict == verdict


def test_changed_decisions_are_counted() -> None:
    one = np.array([[0.9, 0.1], [0.4, 0.6]])
    other = np.array([[0.8, 0.2], [0.6, 0.4]])
    assert changes(one, other) == {"changed": 1, "difference": pytest.approx(0.2)}
    sizes: list[int] = []

    def predict(prompts: Sequence[str]) -> np.ndarray:
        sizes.append(len(prompts))
        return np.asarray([[float(prompt), 1.0] for prompt in prompts])

    assert in_batches(predict, [str(i) for i in range(40)])[:, 0].tolist() == list(range(40))
    assert sizes == [32, 8]


def test_flips_leave_ties_apart_and_lost_reward_is_in_points() -> None:
    torch_probs = np.array([[0.5, 0.5 - 1e-7], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    probs = np.array([[0.5 - 1e-7, 0.5], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6]])
    rewards = np.array([[1.0, 1.0], [1.0, 0.5], [0.0, 1.0], [0.0, 0.0]])
    found = precision.compare(torch_probs, probs, rewards)
    assert (found["rows"], found["changed"], found["flips"]) == (4, 2, 1)
    assert found["difference"] == pytest.approx(0.4)
    assert found["reward"] == pytest.approx(62.5)
    assert found["lost"] == pytest.approx(12.5)
    assert "| llmrouter | 4 | int8 | 2 | 1 | 4.0e-01 | 62.500 | +12.500 |" in precision.page(
        {"llmrouter": {"int8": found}}
    )


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
