"""Kill `collect` at random moments against a server that misbehaves; count what is lost or paid.

`recipes/bench/collect.sh` runs `storm` at full size, and a test at a small one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ANSWERED = ("answered", "slow")  # of the server's log: whole replies


@dataclass(frozen=True)
class Storm:
    """What a storm left behind.

    Attributes
    ----------
    pairs
        Pairs of query and expert that were wanted.
    kills
        Runs that were killed before they had ended.
    missing, repeated, wrong
        Pairs with no response, with more than one, and with another than the right one.
    answered
        Whole replies that the server sent.
    faults
        Injected faults, by their kind.
    torn
        Kills that left a line without its end.
    """

    pairs: int
    kills: int
    missing: int
    repeated: int
    wrong: int
    answered: int
    faults: dict[str, int]
    torn: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Calls made over calls needed, besides the injected faults."""
        return self.answered / self.pairs


@contextmanager
def server_process(*arguments: str) -> Iterator[str]:
    """Run the tests' LLM server as a process of its own; yields its base_url."""
    command = [sys.executable, "-m", "tests.llm_server", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def collect_command(
    folder: Path, url: str, experts: int, queries: int, concurrency: int
) -> list[str]:
    """Write the queries and the pool; return the command that collects them."""
    with (folder / "queries.jsonl").open("w") as stream:
        for i in range(queries):
            stream.write(json.dumps({"query": f"What is {i} times {i % 97}?"}) + "\n")
    with (folder / "experts.toml").open("w") as stream:
        for i in range(experts):
            stream.write(
                f'[[expert]]\nname = "e{i}"\nbase_url = "{url}"\nmodel = "m{i}"\n'
                f"concurrency = {concurrency}\nattempts = 20\ntimeout = 60\n"
            )
    files = ["--queries", folder / "queries.jsonl", "--experts", folder / "experts.toml"]
    out = ["--out", folder / "responses"]
    return [sys.executable, "-m", "zooter_lite.collect", *map(str, [*files, *out])]


def storm(
    folder: Path,
    *,
    experts: int,
    queries: int,
    concurrency: int,
    kills: int,
    faults: float,
    seed: int = 0,
) -> Storm:
    """Collect with SIGKILL at random moments, then once undisturbed.

    A moment is a number of requests after the start of the process, drawn so that all kills
    together fall into four fifths of the work, and up to 50 ms more; every tenth kill comes
    within the first two seconds, whatever has been asked by then.
    """
    draw = random.Random(seed)
    log, journal = folder / "server.log", folder / "responses" / "responses.jsonl"
    pairs, killed, torn, begun = experts * queries, 0, 0, time.monotonic()
    with server_process("--faults", str(faults), "--log", str(log), "--seed", str(seed)) as url:
        command = collect_command(folder, url, experts, queries, concurrency)
        for number in range(kills):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            if number % 10 == 9:
                time.sleep(draw.uniform(0, 2))
            else:
                _wait_for(process, log, draw.randint(1, max(1, int(1.6 * pairs / kills))))
                time.sleep(draw.uniform(0, 0.05))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.communicate()
            torn += journal.exists() and journal.read_bytes()[-1:] not in (b"", b"\n")
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return _count(journal, log, pairs, killed, torn, time.monotonic() - begun)


def _wait_for(process: subprocess.Popen[str], log: Path, requests: int) -> None:
    """Wait until the server has logged so many more requests, or the process has ended."""
    with log.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        seen = 0
        while seen < requests and process.poll() is None:
            seen += stream.read().count(b"\n")
            time.sleep(0.005)


def _count(journal: Path, log: Path, pairs: int, kills: int, torn: int, seconds: float) -> Storm:
    found: Counter[tuple[str, str]] = Counter()
    wrong = 0
    for line in journal.read_text("utf-8").splitlines():
        record = json.loads(line)
        if "response" in record:
            found[record["query"], record["expert"]] += 1
            wrong += record["response"] != f"m{record['expert'][1:]}: {record['query']}"
    kinds = Counter(json.loads(line)[0] for line in log.read_text("utf-8").splitlines())
    return Storm(
        pairs=pairs,
        kills=kills,
        missing=pairs - len(found),
        repeated=sum(count - 1 for count in found.values()),
        wrong=wrong,
        answered=sum(kinds[kind] for kind in _ANSWERED),
        faults={kind: n for kind, n in sorted(kinds.items()) if kind not in _ANSWERED},
        torn=torn,
        seconds=seconds,
    )
