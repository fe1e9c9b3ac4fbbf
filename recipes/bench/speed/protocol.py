"""Contestants as processes: one JSON line asks for a round, one JSON line answers.

Every contestant lives in a process (and where it is a peer, in an environment) of its
own and waits on its standard input, so the coordinator can let them take turns within
one run while never more than one of them computes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PAUSE = 0.1  # seconds between turns, in which the last one's threads stop spinning


class ContestantError(Exception):
    """A contestant did not start, or failed in a round."""


@dataclass(frozen=True)
class Contestant:
    """What a worker process times.

    Attributes
    ----------
    decide
        The timed call for one prepared prompt.
    decide_many
        The timed call for a list of texts, or None where there is no such figure.
    prepare
        Turns the prompts of a round and their number of tokens into what `decide` takes,
        outside the timing.
    about
        Versions and settings, for the table.
    """

    decide: Callable[[Any], object]
    decide_many: Callable[[list[str]], object] | None = None
    prepare: Callable[[list[str], int], Sequence[Any]] = lambda prompts, _: prompts
    about: dict[str, Any] = field(default_factory=dict)


def serve(start: Callable[[], Contestant]) -> None:
    """Start a contestant and answer requests on standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    try:
        contestant = start()
        _answer(answers, contestant.about)
        for line in sys.stdin:
            _answer(answers, _round(contestant, json.loads(line)))
    except Exception as error:  # a peer's library may raise anything; the coordinator reports it
        _answer(answers, {"error": f"{type(error).__name__}: {error}"})


def _answer(stream: Any, content: dict[str, Any]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


def _round(contestant: Contestant, request: dict[str, Any]) -> dict[str, Any]:
    if request["kind"] == "throughput":
        assert contestant.decide_many is not None
        contestant.decide_many(request["warm"])
        started = time.perf_counter()
        contestant.decide_many(request["prompts"])
        return {"seconds": [time.perf_counter() - started]}
    decide = contestant.decide
    for item in contestant.prepare(request["warm"], request["length"]):
        decide(item)
    seconds = []
    for item in contestant.prepare(request["prompts"], request["length"]):
        started = time.perf_counter()
        decide(item)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


class Worker:
    """The coordinator's end: starts the process, asks, waits for the answer.

    Parameters
    ----------
    label
        Name in the tables.
    python
        Interpreter of the contestant's environment.
    arguments
        Of `python -m recipes.bench.speed.worker`.
    log
        File that takes what the process writes to standard error.
    """

    def __init__(self, label: str, python: str, arguments: Sequence[str], log: Path) -> None:
        self.label = label
        self._log = log
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [python, "-m", "recipes.bench.speed.worker", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, encoding="utf-8", cwd=ROOT,
            )  # fmt: skip
        self.about: dict[str, str] = {}

    def ready(self) -> None:
        """Wait until the contestant has started, and learn its versions."""
        self.about = self._read()

    def latencies(self, prompts: list[str], warm: list[str], length: int) -> list[float]:
        """Seconds of each prompt, one call each."""
        return self._ask(kind="latency", prompts=prompts, warm=warm, length=length)

    def throughput(self, prompts: list[str], warm: list[str]) -> float:
        """Seconds for the whole list, handed over in one call."""
        return self._ask(kind="throughput", prompts=prompts, warm=warm)[0]

    def stop(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, **request: Any) -> list[float]:
        assert self._process.stdin is not None
        time.sleep(PAUSE)
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        seconds: list[float] = self._read()["seconds"]
        return seconds

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            self.stop()
            raise ContestantError(f"{self.label}: {answer['error']} (see {self._log})")
        return answer
