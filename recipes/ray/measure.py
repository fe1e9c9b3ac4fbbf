"""Local engine and Ray with one and two workers: python -m recipes.ray.measure ROUTER [ROWS].

Prints a page. The commands take turns, so that what else the machine does meets each alike;
the outputs are compared byte for byte.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from recipes.scale.prompts import write

WAYS = (("local", 1), ("local", 2), ("ray", 1), ("ray", 2))
ROUNDS = 3
BLOCK = "4"
Way = tuple[str, int]


class Run(NamedTuple):
    """One run of the command.

    Attributes
    ----------
    whole
        Seconds from its start to its end.
    rate
        Rows per second after the first block was written.
    load
        Load average at its end.
    """

    whole: float
    rate: float
    load: float


def measured(way: Way, router: str, source: Path, target: Path, rows: int) -> Run:
    """Run the command and watch its output grow."""
    target.unlink(missing_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    command = [sys.executable, "-m", "zooter_lite.route", "--router", router, "--block", BLOCK]
    files = ["--input", str(source), "--output", str(target)]
    engine = ["--engine", way[0], "--workers", str(way[1])]
    begin = time.perf_counter()
    process = subprocess.Popen([*command, *files, *engine], stderr=subprocess.DEVNULL)
    while not (partial.exists() and partial.stat().st_size) and process.poll() is None:
        time.sleep(0.01)
    first = time.perf_counter()
    there = partial.read_bytes().count(b"\n") - 1
    while partial.exists() and process.poll() is None:
        time.sleep(0.01)
    last = time.perf_counter()
    if process.wait():
        raise RuntimeError(f"{way}: exit code {process.returncode}")
    return Run(time.perf_counter() - begin, (rows - there) / (last - first), os.getloadavg()[0])


def main(router: str, rows: int) -> None:
    """Measure and print."""
    runs: dict[Way, list[Run]] = {way: [] for way in WAYS}
    outputs = set()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.csv"), Path(folder, "out.csv")
        write(rows, source)
        for _ in range(ROUNDS):
            for way in WAYS:
                runs[way].append(measured(way, router, source, target, rows))
                outputs.add(target.read_bytes())
    loads = [run.load for found in runs.values() for run in found]
    print(f"{rows:,} short prompts, all different, {ROUNDS} rounds, in turns, on")
    print(f"{os.cpu_count()} cores; load average {min(loads):.1f} to {max(loads):.1f}.")
    print(f"Different outputs: {len(outputs)}.\n")
    print("| engine | workers | seconds, start to end | rows/s after the first block |")
    print("| --- | --- | --- | --- |")
    for way, found in runs.items():
        whole = ", ".join(f"{run.whole:.1f}" for run in found)
        rates = ", ".join(f"{run.rate:.0f}" for run in found)
        print(f"| {way[0]} | {way[1]} | {whole} | {rates} |")
    print("\nRows/s after the first block, ratio in each round:\n")
    for name, one, two in (
        ("local, 2 workers to 1", ("local", 1), ("local", 2)),
        ("ray, 2 workers to 1", ("ray", 1), ("ray", 2)),
        ("2 workers, ray to local", ("local", 2), ("ray", 2)),
    ):
        ratios = [b.rate / a.rate for a, b in zip(runs[one], runs[two], strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"- {name}: {statistics.median(ratios):.2f} ({each})")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3000)
