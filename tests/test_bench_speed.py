"""The pure parts of the speed bench: prompts, percentiles, ratios, the table, the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from recipes.bench.speed.figures import (
    OURS,
    PEER,
    TOKENISED,
    TOKENISER,
    TORCH,
    Timed,
    ratios,
)
from recipes.bench.speed.picture import dot_plot
from recipes.bench.speed.protocol import ROOT
from recipes.bench.speed.start import Start
from recipes.bench.speed.write import page


def timed(group: str, label: str, ms: float, rate: float = 0, precision: str = "fp32") -> Timed:
    seconds = {tokens: [ms * factor / 1000] for tokens, factor in ((20, 1), (60, 2), (200, 6))}
    return Timed(group, label, precision, seconds, [rate] if rate else [])


def field() -> list[Timed]:
    return [
        timed(OURS, "zooter-lite fp32", 2.0, 300),
        timed(OURS, "zooter-lite static", 1.0, 500, "static"),
        timed(TOKENISED, "raw + t, 2", 1.6),
        timed(TOKENISED, "raw + t, 1", 1.9),
        timed(TOKENISER, "tokens", 0.5, 0, "static"),
        timed(TORCH, "sentence-transformers", 7.0, 100),
        timed(PEER, "slow", 9.0, 80),
        timed(PEER, "<onnx> & peer", 3.0, 80),
    ]


def test_ratios_are_those_of_the_medians_to_the_fastest() -> None:
    at = "at 20, 60 and 200 tokens"
    torch = "sentence-transformers"
    assert ratios(field()) == [
        f"fastest raw session + tokeniser / zooter-lite fp32, {at}: 0.80, 0.80, 0.80 (raw + t, 2)",
        f"fastest {torch} / zooter-lite fp32, {at}: 3.50, 3.50, 3.50 ({torch})",
        f"fastest peer / zooter-lite fp32, {at}: 1.50, 1.50, 1.50 (<onnx> & peer)",
        f"fastest tokeniser alone / zooter-lite static, {at}: 0.50, 0.50, 0.50 (tokens)",
        f"fastest {torch} / zooter-lite static, {at}: 7.00, 7.00, 7.00 ({torch})",
        f"fastest peer / zooter-lite static, {at}: 3.00, 3.00, 3.00 (<onnx> & peer)",
    ]
    int8 = [timed(OURS, "int8", 2, 0, "int8"), timed(TOKENISED, "stock", 1, 0, "stock")]
    assert ratios(int8) == [f"fastest stock int8 / int8, {at}: 0.50, 0.50, 0.50 (stock)"]


def test_the_table_has_a_row_for_each_and_the_picture_escapes_names() -> None:
    starts = {"fp32": Start(0.5, 200, 185), "static": Start(0.4, 112, 2)}
    text = page(field(), starts, {"fp32": 1, "static": 0}, ["a note"])
    assert (
        "| zooter-lite fp32 | 2.00 | 2.00 | 4.00 | 4.00 | 12.0 | 12.0 | 300 | 0.500 | 200 |" in text
    )
    assert "| tokens | 0.500 | 0.500 | 1.00 | 1.00 | 3.00 | 3.00 |  |  |  |  |  |" in text
    assert text.endswith("- a note\n")
    picture = dot_plot(field())
    assert "&lt;onnx&gt; &amp; peer" in picture
    assert picture.count("<circle") == 3 * len(field())


def test_a_worker_answers_rounds_over_its_pipe(toy: Path) -> None:
    """The raw session has no call for many prompts, so the second round fails and is told."""
    requests = [
        {"kind": "latency", "prompts": ["one", "two"], "warm": ["six"], "length": 3},
        {"kind": "throughput", "prompts": ["one"], "warm": []},
    ]
    worker = ["recipes.bench.speed.worker", "raw", str(toy), "fp32", "no"]
    done = subprocess.run(
        [sys.executable, "-m", *worker],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    about, answer, error = map(json.loads, done.stdout.splitlines())
    assert about == {}
    assert len(answer["seconds"]) == 2
    assert min(answer["seconds"]) > 0
    assert "error" in error
