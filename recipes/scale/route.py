"""Route a file of generated prompts: rows per second, memory over time, ratio to the raw session.

python -m recipes.scale.route ROUTER ROWS RESULTS.md [MEMORY.svg]

The raw session (recipes/scale/raw.py) is timed before and after, in as many processes.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from recipes.scale.prompts import write
from recipes.scale.raw import TOKENS, raw_speed
from zooter_lite.report.plots import Dot, Series, document, plane

MIB = 2**20


def resident(pid: int) -> int:
    """Bytes of memory of a process and all its children, pages that they share counted once."""
    total = 0
    for process in [pid, *_children(pid)]:
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        total += int(found[1]) * 1024 if found else 0
    return total


def _children(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    found = [int(child) for child in listed]
    return found + [other for child in found for other in _children(child)]


def watched(command: list[str]) -> tuple[float, list[tuple[float, int]], str]:
    """Run a command; return its seconds, (second, bytes of memory) over time, and its stderr."""
    samples: list[tuple[float, int]] = []
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            samples.append((time.perf_counter() - started, resident(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(errors)
    return seconds, samples, errors


def plot(samples: list[tuple[float, int]], rows: int, path: Path) -> None:
    """Draw memory over time."""
    curve = Series([(0.0, Dot(0.0)), *((second, Dot(size / MIB)) for second, size in samples)])
    title = f"python -m zooter_lite.route, {rows:,} prompts"
    axes = ("seconds", "memory of all processes, MiB")
    path.write_text(document([plane(title, [curve], axes)]), "utf-8")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("router")
    parser.add_argument("rows", type=int)
    parser.add_argument("results", type=Path)
    parser.add_argument("plot", type=Path, nargs="?")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "int8"))
    parser.add_argument("--raw-rows", type=int, default=1_000_000)
    parser.add_argument("--raw-tokens", type=int, default=TOKENS)
    options = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    graph = "router.onnx" if options.precision == "fp32" else "router.int8.onnx"
    raw = [raw_speed(options.router, graph, options.raw_tokens, options.raw_rows, workers)]
    with tempfile.TemporaryDirectory(dir=options.results.parent) as folder:
        source, target = Path(folder) / "prompts.csv", Path(folder) / "routed.csv"
        write(options.rows, source)
        size = source.stat().st_size
        command = [sys.executable, "-m", "zooter_lite.route", "--router", options.router,
                   "--input", str(source), "--output", str(target),
                   "--precision", options.precision]  # fmt: skip
        seconds, samples, told = watched(command)
    raw.append(raw_speed(options.router, graph, options.raw_tokens, options.raw_rows, workers))
    if options.plot is not None:
        plot(samples, options.rows, options.plot)
    sizes = [memory / MIB for _, memory in samples[10:-5] or samples]
    half = len(sizes) // 2
    speed = options.rows / seconds
    lines = [
        "| what | figure |",
        "|---|---|",
        f"| rows, MB of CSV | {options.rows:,}, {size / 1e6:.0f} |",
        f"| wall time, start and loading included | {seconds:.1f} s |",
        f"| rows per second | {speed:,.0f} |",
        f"| raw session in {workers} processes, before and after "
        f"| {raw[0]:,.0f} and {raw[1]:,.0f} prompts/s |",
        f"| ratio to the mean of both | {speed / (sum(raw) / 2):.3f} |",
        f"| memory of all processes, highest in the first and second half "
        f"| {max(sizes[: half or None]):.0f} and {max(sizes[half:]):.0f} MiB |",
        f"| load of the machine at the end (1 minute) | {os.getloadavg()[0]:.1f} |",
    ]
    text = "\n".join([*lines, "", "```", told.strip(), "```", ""])
    options.results.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
