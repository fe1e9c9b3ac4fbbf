"""Measure the consumers in exports/ side by side and write the table in exports/README.md.

Agreement is that of the 200 prompts with `Router.predict_proba` (fp32) or with the Python
consumer (int8). Rounds are interleaved; a latency is the median over the rounds of the
median within one.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tests.chromium import Page, opened, served
from zooter_lite import Router

EXPORTS = Path(__file__).resolve().parents[2] / "exports"
BEGIN, END = "<!-- consumers: written by recipes/bench/consumers.sh -->", "<!-- /consumers -->"
LENGTHS = (20, 60, 200)  # tokens, [CLS] and [SEP] included
REPEATS, WARM_UP, ROUNDS = 12, 2, 5
GRAPHS = {"fp32": "router.onnx", "int8": "router.int8.onnx"}

Answers = list[dict[str, Any]]


class Consumer(Protocol):
    """A program that routes."""

    name: str

    def ask(self, precision: str, prompts: Sequence[str]) -> tuple[Answers, float]:
        """Start afresh, route the prompts; the answers and the seconds that all took."""

    def megabytes(self) -> float:
        """Size of what it needs beside the router."""


class CommandLine:
    """A consumer that reads a JSON list and prints one."""

    def __init__(self, name: str, command: list[str], router: Path, installed: list[Path]) -> None:
        self.name, self._command, self._router = name, command, router
        self._installed = installed

    def ask(self, precision: str, prompts: Sequence[str]) -> tuple[Answers, float]:
        """Run the program once."""
        start = time.perf_counter()
        done = subprocess.run(
            [*self._command, *(["--int8"] if precision == "int8" else []), str(self._router)],
            input=json.dumps(prompts).encode(),
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds = time.perf_counter() - start
        return json.loads(done.stdout), seconds

    def megabytes(self) -> float:
        """Size of its installed packages."""
        return sum(file.stat().st_size for file in self._installed if file.is_file()) / 1e6


class Browser:
    """The page in headless Chromium; only the time of the page counts, not the browser's."""

    name = "browser"

    def __init__(self, page: Page, address: str) -> None:
        self._page, self._address = page, address

    def ask(self, precision: str, prompts: Sequence[str]) -> tuple[Answers, float]:
        """Load the page anew and use the function it offers to its console."""
        start = time.perf_counter()
        self._page.open(f"{self._address}browser/?router=../router&precision={precision}")
        answers: Answers = self._page.evaluate(f"zooter.route({json.dumps(prompts)})")
        seconds = time.perf_counter() - start
        for answer in answers:  # the command-line programs look up no tags
            answer["ms"] = answer["ms"]["tokenise"] + answer["ms"]["route"]
        return answers, seconds

    def megabytes(self) -> float:
        """Size of the page's own files, as the browser saw them."""
        entries = self._page.evaluate(
            "performance.getEntriesByType('resource').map((e) => [e.name, e.decodedBodySize])"
        )
        return float(sum(size for name, size in entries if "/router/" not in name)) / 1e6


@contextmanager
def consumers(router: Path) -> Iterator[list[Consumer]]:
    """Yield the consumers, the Python one first; the browser runs as long as they are used."""
    installed = [
        Path(str(file.locate()))
        for name in ("numpy", "onnxruntime", "tokenizers")
        for file in files(name) or []
    ]
    python = [sys.executable, str(EXPORTS / "python" / "route.py")]
    node = ["node", str(EXPORTS / "node" / "route.js")]
    modules = list((EXPORTS / "node" / "node_modules").rglob("*"))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        site.mkdir()
        (site / "browser").symlink_to(EXPORTS / "browser")
        (site / "router").symlink_to(router.resolve())
        with served(site) as address, opened("chromium", Path(folder) / "profile") as page:
            yield [
                CommandLine("Python", python, router, installed),
                CommandLine("Node", node, router, modules),
                Browser(page, address),
            ]


def agreement(answers: Answers, expected: NDArray[np.floating]) -> tuple[float, int]:
    """Largest difference of a probability from `expected` (n, n_experts), and flips."""
    found = np.array([list(answer["probabilities"].values()) for answer in answers])
    flips = found.argmax(axis=1) != expected.argmax(axis=1)
    return float(np.abs(found - expected).max()), int(flips.sum())


def latencies(consumer: Consumer, precision: str) -> list[float]:
    """Median milliseconds of one prompt at each of LENGTHS, in one process."""
    prompts = [" ".join(["word"] * (length - 2)) for length in LENGTHS for _ in range(REPEATS)]
    answers, _ = consumer.ask(precision, prompts)
    times = np.array([answer["ms"] for answer in answers]).reshape(len(LENGTHS), REPEATS)
    return [float(value) for value in np.median(times[:, WARM_UP:], axis=1)]


def measure(precision: str, router: Path, everyone: list[Consumer]) -> Iterator[str]:
    """Yield one row of the table for each consumer at this precision."""
    prompts = json.loads((EXPORTS / "prompts.json").read_text("utf-8"))
    reference = Router.load(router).predict_proba(prompts)
    rounds: dict[str, list[list[float]]] = {consumer.name: [] for consumer in everyone}
    starts: dict[str, list[float]] = {consumer.name: [] for consumer in everyone}
    for _ in range(ROUNDS):
        for consumer in everyone:
            starts[consumer.name].append(consumer.ask(precision, ["What is 17 * 23?"])[1])
            rounds[consumer.name].append(latencies(consumer, precision))
    medians = {name: np.median(times, axis=0) for name, times in rounds.items()}
    for consumer in everyone:
        answers, _ = consumer.ask(precision, prompts)
        if precision == "int8" and consumer is everyone[0]:
            reference = np.array([list(answer["probabilities"].values()) for answer in answers])
        difference, flips = agreement(answers, reference)
        times = medians[consumer.name]
        ratios = times / medians[everyone[0].name]
        cells = [
            f"{consumer.name}, {precision}",
            f"{difference:.0e}" if difference else "0",
            str(flips),
            f"{statistics.median(starts[consumer.name]):.2f}",
            *(f"{ms:.1f} ({ratio:.1f}x)" for ms, ratio in zip(times, ratios, strict=True)),
            f"{consumer.megabytes():.0f}",
            f"{(router / GRAPHS[precision]).stat().st_size / 1e6:.0f}",
        ]
        yield f"| {' | '.join(cells)} |"


def main(folder: str) -> None:
    """Measure every precision that the router holds and write the table."""
    router = Path(folder)
    heads = [f"ms at {length} tokens" for length in LENGTHS]
    lines = [
        "| consumer | largest difference | decisions changed | cold start, s | "
        f"{' | '.join(heads)} | packages, MB | graph, MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with consumers(router) as everyone:
        for precision, graph in GRAPHS.items():
            if (router / graph).is_file():
                lines += measure(precision, router, everyone)
    table = "\n".join(lines)
    readme = EXPORTS / "README.md"
    before, _, rest = readme.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")
    print(table)


if __name__ == "__main__":
    main(sys.argv[1])
