"""The timing itself: rounds in which every contestant takes its turn."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recipes.bench.speed.figures import LENGTHS, Timed
from recipes.bench.speed.lineup import Entry
from recipes.bench.speed.prompts import mixed_lengths
from recipes.bench.speed.protocol import ContestantError, Worker

WARM = 3  # calls before the timed ones of each turn
WARM_MANY = 32  # prompts before the timed list of each turn


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int  # of latency
    calls: dict[int, int]  # timed calls in each, by tokens
    rate_rounds: int  # of mixed lengths
    rate_prompts: int  # in each of these
    starts: int  # fresh processes of each precision
    invariance: int  # prompts that are routed alone and in batches


FULL = Plan(10, {20: 30, 60: 30, 200: 20}, 3, 256, 7, 5000)
QUICK = Plan(2, {20: 4, 60: 4, 200: 3}, 1, 32, 2, 100)

Pair = tuple[Timed, Worker]
Make = Callable[[Sequence[int], int], list[str]]  # prompts of these lengths, from this seed


@contextmanager
def started(
    entries: Sequence[Entry], logs: Path, skipped: list[str]
) -> Iterator[list[tuple[Entry, Pair]]]:
    """Start all processes; those that fail are named in `skipped`. All are stopped at the end."""
    logs.mkdir(parents=True, exist_ok=True)
    workers = []
    try:
        for entry in entries:
            log = logs / f"{'-'.join(entry.label.replace(',', '').split())}.log"
            try:
                workers.append((entry, Worker(entry.label, entry.python, entry.arguments, log)))
            except OSError as error:
                skipped.append(f"{entry.label}: {error}")
        alive = []
        for entry, worker in workers:
            try:
                worker.ready()
            except ContestantError as error:
                skipped.append(str(error))
            else:
                timed = Timed(entry.group, entry.label, entry.precision)
                alive.append((entry, (timed, worker)))
        yield alive
    finally:
        for _, worker in workers:
            worker.stop()


def latencies(pairs: Sequence[Pair], plan: Plan, make: Make) -> None:
    """Take the latency rounds; every round has new prompts, the same for all, in a new order."""
    for number in range(plan.rounds):
        for tokens in LENGTHS:
            prompts = make([tokens] * (plan.calls[tokens] + WARM), 1000 * number + tokens)
            for timed, worker in _shuffled(pairs, number):
                found = worker.latencies(prompts[WARM:], prompts[:WARM], tokens)
                timed.seconds.setdefault(tokens, []).extend(found)
        print(f"latency round {number + 1} of {plan.rounds}", file=sys.stderr, flush=True)


def rates(pairs: Sequence[Pair], plan: Plan, make: Make) -> list[int]:
    """Take the rounds of mixed lengths; return the lengths of all their prompts."""
    lengths = []
    for number in range(plan.rate_rounds):
        drawn = mixed_lengths(plan.rate_prompts + WARM_MANY, number)
        prompts = make(drawn, 10**6 + number)
        lengths += drawn[WARM_MANY:]
        for timed, worker in _shuffled(pairs, number):
            seconds = worker.throughput(prompts[WARM_MANY:], prompts[:WARM_MANY])
            timed.rates.append(plan.rate_prompts / seconds)
        print(f"mixed round {number + 1} of {plan.rate_rounds}", file=sys.stderr, flush=True)
    return lengths


def _shuffled(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    order = list(pairs)
    random.Random(seed).shuffle(order)
    return order
