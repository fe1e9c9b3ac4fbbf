"""Batch files of a vendor's API beside CSV: rows per second, kills, the same bytes.

python -m recipes.scale.batch_files ROUTER ROWS KILLS RESULTS.md
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from recipes.scale.kills import command, digest, rows_done
from recipes.scale.prompts import prompts, write
from zooter_lite import Router

SYSTEM = "You are a helpful assistant. Be brief."
TIMES = 3  # that each job is timed


def write_requests(count: int, path: Path) -> None:
    """Write a batch file: a system prompt and a generated prompt in each request."""
    with path.open("w", encoding="utf-8") as stream:
        for number, prompt in enumerate(prompts(count)):
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
            body = {"model": "any", "messages": messages, "max_completion_tokens": 256}
            request = {"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions"}
            stream.write(json.dumps(request | {"body": body}) + "\n")


def write_pool(router: str, path: Path) -> None:
    """Write a pool file with a model for each expert."""
    fields = 'name = "{0}"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "the-{0}"\n'
    experts = [f"[[expert]]\n{fields.format(name)}" for name in Router.load(router).experts]
    path.write_text("\n".join(experts), "utf-8")


def digests(target: Path) -> dict[str, str]:
    """SHA-256 of an output and of each file of an expert beside it."""
    return {path.name: digest(path) for path in target.parent.glob(f"{target.stem}.*")}


def speed(job: list[str]) -> int:
    """Run a job; return its rows per second, as it tells them."""
    done = subprocess.run([*job, "--force"], check=True, capture_output=True, text=True)
    return int(re.findall(r"\((\d+) rows/s\)", done.stderr)[0])


def killed(job: list[str], target: Path, goals: list[int]) -> tuple[list[int], bool]:
    """Kill a job when so many rows are done, let it end; return the rows done at each kill.

    And whether its files are byte for byte those of a job that was left alone.
    """
    subprocess.run([*job, "--force"], check=True, stderr=subprocess.DEVNULL)
    expected, places = digests(target), []
    for path in target.parent.glob(f"{target.stem}.*"):
        path.unlink()
    for goal in sorted(goals):
        running = subprocess.Popen(job, stderr=subprocess.DEVNULL)
        while running.poll() is None and rows_done(target) < goal:
            time.sleep(0.01)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            places.append(rows_done(target))
        running.wait()
    if not target.exists():
        subprocess.run(job, check=True, stderr=subprocess.DEVNULL)
    return places, digests(target) == expected and not list(target.parent.glob(".*"))


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("router")
    parser.add_argument("rows", type=int)
    parser.add_argument("kills", type=int)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.results.parent) as name:
        folder = Path(name)
        write(options.rows, folder / "prompts.csv")
        write_requests(options.rows, folder / "requests.jsonl")
        write_pool(options.router, folder / "experts.toml")
        models = ["--models", str(folder / "experts.toml")]
        files = {
            "CSV": ("prompts.csv", "routed.csv", []),
            "a batch file": ("requests.jsonl", "routed.jsonl", models),
            "a batch file, split": (
                "requests.jsonl",
                "parts.jsonl",
                [*models, "--split-by", "expert"],
            ),
        }
        jobs = {
            what: [*command(options.router, folder / source, folder / target), *more]
            for what, (source, target, more) in files.items()
        }
        found = [{what: speed(job) for what, job in jobs.items()} for _ in range(TIMES)]
        lines = [
            f"| {options.rows:,} prompts as | MB | rows/s, median of {TIMES} | lowest to highest |",
            "|---|---|---|---|",
        ]
        for what, (source, *_) in files.items():
            own = sorted(each[what] for each in found)
            size = (folder / source).stat().st_size / 1e6
            lines.append(
                f"| {what} | {size:.1f} | {statistics.median(own):,.0f} "
                f"| {own[0]:,} to {own[-1]:,} |"
            )
        goals = random.Random(0).sample(range(1, options.rows), options.kills)
        places, same = killed(jobs["a batch file, split"], folder / "parts.jsonl", goals)
        listed = [json.loads(line) for line in (folder / "parts.jsonl").open(encoding="utf-8")]
        parts = [(folder / line["file"]).read_bytes() for line in listed]
        together = (folder / "routed.jsonl").read_bytes()
    complete = sorted(b"".join(parts).splitlines()) == sorted(together.splitlines())
    lines += [
        "",
        f"The split job killed {len(places)} times (SIGKILL), rows done at each: "
        f"{', '.join(f'{rows:,}' for rows in places)}. Files byte for byte those of an undisturbed "
        f"run, and nothing else left: {'yes' if same else 'NO'}. {len(parts)} files, "
        f"{'the same' if complete else 'NOT the same'} requests as in the one that is not split. "
        f"Load of the machine at the end: {os.getloadavg()[0]:.1f}.",
    ]
    options.results.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    if not (same and complete):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
