"""Local engine and Ray with one and two workers: python -m recipes.ray.measure ROUTER [ROWS].

Prints a page. The commands take turns, so that what else the machine does meets each alike;
the outputs are compared byte for byte.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from recipes.scale.prompts import write

WAYS = (("local", 1), ("local", 2), ("ray", 1), ("ray", 2))
ROUNDS = 2
BLOCK = "4"
Way = tuple[str, int]


def seconds(way: Way, router: str, source: Path, target: Path) -> float:
    """Seconds that the command says it took, without the loading of its own router."""
    command = [sys.executable, "-m", "zooter_lite.route", "--router", router, "--force"]
    files = ["--input", str(source), "--output", str(target), "--block", BLOCK]
    engine = ["--engine", way[0], "--workers", str(way[1])]
    done = subprocess.run(
        [*command, *files, *engine], stderr=subprocess.PIPE, text=True, check=True
    )
    found = re.search(r"rows in ([\d.]+) s", done.stderr)
    if found is None:
        raise RuntimeError(done.stderr)
    return float(found[1])


def main(router: str, rows: int) -> None:
    """Measure and print."""
    times: dict[Way, list[float]] = {way: [] for way in WAYS}
    starts: dict[Way, list[float]] = {way: [] for way in WAYS}
    loads = []
    with tempfile.TemporaryDirectory() as folder:
        source, few = Path(folder, "in.csv"), Path(folder, "few.csv")
        write(rows, source)
        write(4, few)
        outputs = set()
        for _ in range(ROUNDS):
            for way in WAYS:
                target = Path(folder, f"{way[0]}{way[1]}.csv")
                starts[way].append(seconds(way, router, few, target))
                times[way].append(seconds(way, router, source, target))
                loads.append(os.getloadavg()[0])
                outputs.add(target.read_bytes())
    print(f"{rows:,} short prompts, all different, {ROUNDS} rounds, in turns.")
    print(f"{os.cpu_count()} cores; load average {min(loads):.1f} to {max(loads):.1f}.")
    print(f"Different outputs: {len(outputs)}.\n")
    print("| engine | workers | seconds (median) | each round | 4 rows | rows/s after that |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way in WAYS:
        whole, begin = statistics.median(times[way]), statistics.median(starts[way])
        each = ", ".join(f"{value:.1f}" for value in times[way])
        speed = rows / (whole - begin)
        print(f"| {way[0]} | {way[1]} | {whole:.1f} | {each} | {begin:.1f} | {speed:.0f} |")
    print()
    for engine in ("local", "ray"):
        print(f"- {engine}, 1 to 2 workers: {_ratios(times, starts, (engine, 1), (engine, 2))}")
    print(f"- 2 workers, local to ray: {_ratios(times, starts, ('local', 2), ('ray', 2))}")


def _ratios(
    times: dict[Way, list[float]], starts: dict[Way, list[float]], first: Way, second: Way
) -> str:
    """Median of the ratios of the rounds, with the start of Ray and of the workers, and without."""
    whole = [a / b for a, b in zip(times[first], times[second], strict=True)]
    rest = [
        (a - b) / (c - d)
        for a, b, c, d in zip(
            times[first], starts[first], times[second], starts[second], strict=True
        )
    ]
    each = ", ".join(f"{value:.2f}" for value in rest)
    return (
        f"{statistics.median(whole):.2f} times as fast; {statistics.median(rest):.2f} ({each}) "
        "without the start"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3000)
