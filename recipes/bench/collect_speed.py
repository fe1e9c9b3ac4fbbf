"""What `collect` costs: kills and faults survived, requests per second, CPU, memory.

Writes recipes/bench/collect.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from recipes.bench.collect_chaos import ROOT, Storm, collect_command, server_process, storm

EXPERTS, CONCURRENCY = 5, 8


@dataclass(frozen=True)
class Spent:
    """Wall-clock and CPU seconds, and the largest memory in MiB, of one process."""

    seconds: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Speed:
    """Calls to an instant server by `collect` and by the bare client, in seconds."""

    queries: int
    calls: int
    collect: Spent
    idle: Spent
    bare: tuple[float, float]

    @property
    def rate(self) -> float:
        """Requests per second, without the start of the process."""
        return self.calls / (self.collect.seconds - self.idle.seconds)

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per request, without the start of the process."""
        return 1000 * (self.collect.cpu - self.idle.cpu) / self.calls

    @property
    def bare_cpu_ms(self) -> float:
        """CPU milliseconds per request of the bare client."""
        return 1000 * self.bare[1] / self.calls


def spent(command: list[str]) -> Spent:
    """Run a command to its end, and measure it."""
    begun = perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Spent(perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def speed(folder: Path, queries: int) -> Speed:
    """Time `collect`, a run with nothing left to ask, and the bare client."""
    with server_process() as url:
        command = collect_command(folder, url, EXPERTS, queries, CONCURRENCY)
        full, idle = spent(command), spent(command)
        files = [url, str(folder / "queries.jsonl"), str(EXPERTS), str(CONCURRENCY)]
        bare = subprocess.run(
            [sys.executable, "-m", "recipes.bench.collect_bare", *files],
            cwd=ROOT, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    seconds, cpu = json.loads(bare.stdout)
    return Speed(queries, queries * EXPERTS, full, idle, (seconds, cpu))


def table(head: str, rows: list[tuple[object, ...]]) -> str:
    """Write a Markdown table; `head` has the columns with a comma between them."""
    lines: list[list[str]] = [head.split(", "), ["---"] * len(head.split(", "))]
    lines += [list(map(str, row)) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def storm_page(result: Storm) -> str:
    """Write what the kills and faults did."""
    faults = ", ".join(f"{count} {kind}" for kind, count in result.faults.items())
    row = (
        f"{result.pairs:,}", result.missing, result.repeated, result.wrong,
        f"{result.answered:,}", f"{result.ratio:.4f}", result.torn, f"{result.seconds:.0f}",
    )  # fmt: skip
    return (
        "## Kills and faults\n\n"
        f"`collect` was killed with SIGKILL {result.kills} times at random moments and then run "
        f"to its end, against a server that injected {sum(result.faults.values()):,} faults "
        f"({faults}) and delays. At most 8 calls (4 experts, 2 at a time) are on their way, so "
        f"the kills can lose {8 * result.kills} calls at most, "
        f"{800 * result.kills / result.pairs:.1f}% of the pairs.\n\n"
        + table(
            "pairs, missing, repeated, wrong, whole replies sent, calls made / needed, "
            "torn lines met, seconds",
            [row],
        )
    )


def speed_page(speeds: list[Speed]) -> str:
    """Write what a call costs."""
    rows: list[tuple[object, ...]] = []
    for each in speeds:
        busy = (each.collect.cpu - each.idle.cpu) / (each.collect.seconds - each.idle.seconds)
        rows.append((
            f"{each.queries:,}", f"{each.calls:,}", f"{each.rate:.0f}", f"{each.cpu_ms:.2f}",
            f"{each.calls / each.bare[0]:.0f}", f"{each.bare_cpu_ms:.2f}",
            f"{each.cpu_ms / each.bare_cpu_ms:.2f}", f"{busy:.0%}",
            f"{each.idle.seconds:.1f}", f"{each.collect.peak:.0f}",
        ))  # fmt: skip
    ratio = statistics.median(each.cpu_ms / each.bare_cpu_ms for each in speeds)
    return (
        "## Speed\n\n"
        f"An instant server, {EXPERTS} experts of {CONCURRENCY} calls at a time; the bare client "
        "posts the same bodies with httpx2 and reads the answers, in the same run. CPU is the "
        "client's, user and system, without its start (a run with nothing left to ask). Busy is "
        "the share of the time in which the client used a core: near 100% the client is the "
        "bottleneck, far below it the server.\n\n"
        + table(
            "queries, calls, requests/s, CPU ms a request, bare requests/s, bare CPU ms, "
            "CPU ratio, busy, start s, peak MiB",
            rows,
        )
        + f"\nMedian CPU ratio: {ratio:.2f}.\n"
    )


def main(argv: list[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--queries", type=int, default=5000, help="of the storm, for 4 experts")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 1000, 10_000])
    parser.add_argument("--out", type=Path, default=ROOT / "recipes/bench/collect.md")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place in range(len(options.sizes) + 1):
            (folder / str(place)).mkdir()
        result = storm(
            folder / str(len(options.sizes)), experts=4, queries=options.queries, concurrency=2,
            kills=options.kills, faults=0.05,
        )  # fmt: skip
        print(storm_page(result), flush=True)
        speeds = [speed(folder / str(i), size) for i, size in enumerate(options.sizes)]
    title = (
        "# collect: kills, faults, speed, memory\n\nWritten by `recipes/bench/collect.sh`; server "
        f"(tests/llm_server.py) and client share {os.cpu_count()} cores, "
        f"with a load average of {os.getloadavg()[0]:.1f} at the end (more than about 2 is the "
        "work of others).\n\n"
    )
    text = title + storm_page(result) + "\n" + speed_page(speeds)
    options.out.write_text(text, "utf-8")
    print(speed_page(speeds))


if __name__ == "__main__":
    main(sys.argv[1:])
