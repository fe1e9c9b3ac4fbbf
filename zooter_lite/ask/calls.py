"""Many calls to many experts: paced, repeated where it helps, paid once, and journaled."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from zooter_lite.ask.answer import Answer, Caller, CallError
from zooter_lite.ask.client import caller
from zooter_lite.ask.pacing import Budget, Pace, backoff, pause
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError, ZooterError
from zooter_lite.files.journal import Journal

GIVE_UP_AFTER = 10  # queries in a row whose every attempt failed
LONGEST_DELAY = 600.0  # seconds that a server may ask to wait before the run ends instead
_EXTRA_TOKENS = 64  # of a chat template


class ExpertError(ZooterError):
    """An expert cannot be asked; what the others answered is kept."""


@dataclass(frozen=True)
class Call:
    """One prompt for one expert; `key` names it in the journal's record."""

    key: Mapping[str, Any]
    prompt: str


@dataclass
class Tally:
    """What became of one expert's calls: counts, tokens, cost in the pool's currency, seconds."""

    answered: int = 0
    failed: int = 0
    attempts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def add(self, tokens: tuple[int, int], cost: float, seconds: float) -> None:
        """Count one attempt."""
        self.attempts += 1
        self.tokens_in += tokens[0]
        self.tokens_out += tokens[1]
        self.cost += cost
        self.seconds += seconds


@dataclass
class Outcome:
    """What a run did: a tally per expert, and whether the budget ended it."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    out_of_budget: bool = False


@dataclass
class _Lane:
    """Everything that the workers of one expert share."""

    expert: Expert
    caller: Caller
    calls: Iterator[Call]
    pace: Pace
    tally: Tally
    in_a_row: int = 0


@dataclass
class _Run:
    journal: Journal
    budget: Budget
    parse: Callable[[str], Any] | None
    progress: Callable[[str, int], object]
    outcome: Outcome = field(default_factory=Outcome)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    problem: ExpertError | None = None
    interrupted: bool = False


def run_calls(
    calls: Mapping[str, Iterator[Call]],
    experts: Sequence[Expert],
    journal: Journal,
    *,
    budget: tuple[float | None, float] = (None, 0.0),
    parse: Callable[[str], Any] | None = None,
    progress: Callable[[str, int], object] = lambda name, n: None,
) -> Outcome:
    """Make the calls of every expert; append one record for each to the journal.

    A record is the call's key and `response` or `error`, `usage` (tokens), `cost`,
    `seconds` (of the last attempt) and `attempts`, in the order of completion. Where the
    run ended between two attempts that cost money, it has `unfinished` too.

    Parameters
    ----------
    calls
        By expert name; taken as they can be made, so a generator costs no memory.
    journal
        Open for appending.
    budget
        What may be spent, None for no limit, and what earlier runs spent. A call whose
        reply was lost or has no `usage` counts as the most that it can have cost.
    parse
        Reads a response; what it returns is recorded as `parsed`, and a response that
        it refuses with ValueError counts as a failed attempt (and is paid).
    progress
        Called with an expert's name and a number of calls done.

    Raises
    ------
    ExpertError
        An expert refuses every call or does not answer; calls on their way were finished,
        and all answers are in the journal.
    DataError
        The journal cannot be written, a key's variable is not set, or a budget is given
        and an expert with a price has no max_tokens.
    """
    for expert in experts:
        if budget[0] is not None and expert.price_output and expert.max_tokens is None:
            raise DataError(
                f"expert {expert.name!r}: no max_tokens in its sampling, which a budget needs"
            )
    callers = [caller(expert) for expert in experts]

    async def work() -> Outcome:
        run = _Run(journal, Budget(*budget), parse, progress)
        lanes = []
        for expert, each in zip(experts, callers, strict=True):
            tally = run.outcome.tallies.setdefault(expert.name, Tally())
            pace = Pace(expert.requests_per_minute, run.stop)
            lanes.append(_Lane(expert, each, calls[expert.name], pace, tally))
        return await _work(run, lanes)

    return asyncio.run(work())


async def _work(run: _Run, lanes: Sequence[_Lane]) -> Outcome:
    tasks = [
        asyncio.create_task(_worker(run, lane))
        for lane in lanes
        for _ in range(lane.expert.concurrency)
    ]
    try:
        with _interruptible(run):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in lanes:
            await lane.caller.close()
    if run.interrupted:
        raise KeyboardInterrupt
    if run.problem is not None:
        raise run.problem
    return run.outcome


@contextmanager
def _interruptible(run: _Run) -> Iterator[None]:
    """Let the first Ctrl-C finish the calls on their way; a second one leaves them."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        run.interrupted = True
        run.stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or another thread
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGINT)


async def _worker(run: _Run, lane: _Lane) -> None:
    while not run.stop.is_set():
        call = next(lane.calls, None)
        if call is None:
            return
        record = await _settle(run, lane, call)
        if record is None:
            return
        run.journal.append({**call.key, **record})
        if "error" in record:
            lane.tally.failed += "unfinished" not in record
        else:
            lane.tally.answered += 1
        run.progress(lane.expert.name, 1)


async def _settle(run: _Run, lane: _Lane, call: Call) -> dict[str, Any] | None:
    """Ask until there is an answer, or no hope; None where the run has ended before."""
    expert = lane.expert
    most = expert.cost(most_tokens(expert, call.prompt), expert.max_tokens or 0)
    paid, seconds, problem = Tally(), 0.0, None

    def record(**result: Any) -> dict[str, Any]:
        usage = {"input": paid.tokens_in, "output": paid.tokens_out}
        facts = {"cost": paid.cost, "seconds": round(seconds, 4), "attempts": paid.attempts}
        return {**result, "usage": usage, **facts}

    while await _may_begin(run, lane, most):
        started = time.monotonic()
        answer, parsed, problem = await _attempt(run, lane, call.prompt)
        seconds = time.monotonic() - started
        cost = _cost(expert, answer, problem, most)
        await run.budget.pay(most, cost)
        for tally in (paid, lane.tally):
            tally.add((answer and answer.usage) or (0, 0), cost, seconds)
        if answer is not None and problem is None:
            lane.in_a_row = 0
            extra = {} if run.parse is None else {"parsed": parsed}
            return record(response=answer.text, **extra)
        assert problem is not None
        if problem.fatal:
            _stop(run, lane, str(problem))
        elif not problem.again or paid.attempts >= expert.attempts:
            lane.in_a_row += not problem.of_query
            if lane.in_a_row >= GIVE_UP_AFTER:
                _stop(run, lane, f"{lane.in_a_row} queries in a row failed; {problem}")
            return record(error=str(problem))
        elif problem.wait > LONGEST_DELAY:
            _stop(run, lane, f"it asks to wait {problem.wait:.0f} s; {problem}")
        elif problem.wait:
            lane.pace.delay(problem.wait)
        else:
            await pause(backoff(paid.attempts), run.stop)
    return record(error=f"the run ended; {problem}", unfinished=True) if paid.cost else None


async def _may_begin(run: _Run, lane: _Lane, most: float) -> bool:
    """Wait for the turn of a call; False where the run ends before it."""
    await lane.pace.wait()
    if run.stop.is_set():
        return False
    if not await run.budget.reserve(most):
        run.outcome.out_of_budget = True
        run.stop.set()
    elif run.stop.is_set():
        await run.budget.pay(most, 0.0)
    return not run.stop.is_set()


async def _attempt(
    run: _Run, lane: _Lane, prompt: str
) -> tuple[Answer | None, Any, CallError | None]:
    try:
        answer = await lane.caller.ask(prompt)
    except CallError as error:
        return None, None, error
    if run.parse is None:
        return answer, None, None
    try:
        return answer, run.parse(answer.text), None
    except ValueError as error:
        return answer, None, CallError(f"{error}; the answer was {answer.text!r}", again=True)


def _cost(expert: Expert, answer: Answer | None, problem: CallError | None, most: float) -> float:
    """Price of an attempt; `most` where nobody says what it was."""
    if answer is not None:
        return most if answer.usage is None else expert.cost(*answer.usage)
    return most if problem is not None and problem.lost else 0.0


def _stop(run: _Run, lane: _Lane, reason: str) -> None:
    run.stop.set()
    run.problem = run.problem or ExpertError(
        f"expert {lane.expert.name!r}: {reason}; every answer so far is kept, run it again"
    )


def most_tokens(expert: Expert, prompt: str) -> int:
    """Upper bound of the tokens of a prompt: a token is a byte at least."""
    text = expert.system + prompt
    return len(text.encode("utf-8", "replace")) + _EXTRA_TOKENS
