"""Many calls to many experts: paced, repeated where it helps, paid once, and journaled."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from zooter_lite.ask.client import Caller, caller
from zooter_lite.ask.known import Known
from zooter_lite.ask.pacing import Budget, Pace, backoff, pause
from zooter_lite.ask.pool import Expert
from zooter_lite.ask.reply import Answer, CallError
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
    cut: int = 0
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

    @property
    def calls(self) -> str:
        """Calls and tokens, for people."""
        return f"{self.attempts} calls, {self.tokens_in:,} tokens in, {self.tokens_out:,} out"


@dataclass
class Outcome:
    """What a run did: a tally per expert, and whether the budget ended it."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    out_of_budget: bool = False


def run_calls(
    calls: Mapping[str, Iterator[Call]],
    experts: Sequence[Expert],
    journal: Journal,
    known: Known[Any, Any],
    *,
    max_cost: float | None = None,
    parse: Callable[[str], Any] | None = None,
    progress: Callable[[int], object] = lambda n: None,
) -> Outcome:
    """Make the calls of every expert; append one record for each to the journal.

    A record is the call's key and `response` or `error`, `usage` (tokens), `cost`,
    `seconds` (of the last attempt) and `attempts`, in the order of completion. Where a server
    ended its answer early it has `cut`, the reason, such as "length". Where the run ended
    between two attempts that cost money, it has `unfinished` too.

    Parameters
    ----------
    calls
        By expert name; taken as they can be made, so a generator costs no memory.
    journal, known
        Open for appending, and what was read from it; every record is added to both.
    max_cost
        What all runs together may spend. A call whose reply was lost or has no `usage`
        counts as the most that it can have cost.
    parse
        Reads a response; what it returns is recorded as `parsed`, and a response that
        it refuses with ValueError counts as a failed attempt (and is paid).

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
        if max_cost is not None and expert.price_output and expert.max_tokens is None:
            raise DataError(
                f"expert {expert.name!r}: no max_tokens in its sampling, which a budget needs"
            )
    run = _Run(journal, known, Budget(max_cost, known.cost), parse, progress)
    lanes = [_Lane(run, expert, caller(expert), calls[expert.name]) for expert in experts]
    return asyncio.run(run.work(lanes))


@dataclass
class _Run:
    journal: Journal
    known: Known[Any, Any]
    budget: Budget
    parse: Callable[[str], Any] | None
    progress: Callable[[int], object]
    outcome: Outcome = field(default_factory=Outcome)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    problem: ExpertError | None = None
    interrupted: bool = False

    async def work(self, lanes: Sequence[_Lane]) -> Outcome:
        tasks = [
            asyncio.create_task(lane.work())
            for lane in lanes
            for _ in range(lane.expert.concurrency)
        ]
        try:
            with self._interruptible():
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for lane in lanes:
                await lane.caller.close()
        if self.interrupted:
            raise KeyboardInterrupt
        if self.problem is not None:
            raise self.problem
        return self.outcome

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C finish the calls on their way; a second one leaves them."""
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            self.interrupted = True
            self.stop.set()
            loop.remove_signal_handler(signal.SIGINT)

        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, another thread
            loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(signal.SIGINT)


class _Lane:
    """What the workers of one expert share, and what each of them does."""

    def __init__(self, run: _Run, expert: Expert, caller: Caller, calls: Iterator[Call]) -> None:
        self.run, self.expert, self.caller, self.calls = run, expert, caller, calls
        self.pace = Pace(expert.requests_per_minute, run.stop)
        self.tally = run.outcome.tallies.setdefault(expert.name, Tally())
        self.in_a_row = 0

    async def work(self) -> None:
        while not self.run.stop.is_set():
            call = next(self.calls, None)
            result = None if call is None else await self._settle(call.prompt)
            if call is None or result is None:
                return
            record = {**call.key, **result}
            self.run.journal.append(record)
            self.run.known.add(record)
            self.tally.answered += "error" not in record
            self.tally.cut += "cut" in record
            self.tally.failed += "error" in record and "unfinished" not in record
            self.run.progress(1)

    async def _settle(self, prompt: str) -> dict[str, Any] | None:
        """Ask until there is an answer, or no hope; None where the run has ended before."""
        # a token is a byte at least
        longest = len((self.expert.system + prompt).encode("utf-8", "replace")) + _EXTRA_TOKENS
        most = self.expert.cost(longest, self.expert.max_tokens or 0)
        paid, seconds, problem = Tally(), 0.0, None

        def record(**result: Any) -> dict[str, Any]:
            usage = {"input": paid.tokens_in, "output": paid.tokens_out}
            facts = {"cost": paid.cost, "seconds": round(seconds, 4), "attempts": paid.attempts}
            return {**result, "usage": usage, **facts}

        while await self._may_begin(most):
            started = time.monotonic()
            answer, parsed, problem = await self._attempt(prompt)
            seconds = time.monotonic() - started
            cost = most if answer is not None or (problem and problem.lost) else 0.0
            replied = answer if answer is not None else problem
            usage = replied.usage if replied is not None else None
            if usage is not None:
                cost = self.expert.cost(*usage)
            self.run.budget.pay(most, cost)
            for tally in (paid, self.tally):
                tally.add(usage or (0, 0), cost, seconds)
            if answer is not None and problem is None:
                self.in_a_row = 0
                extra = {"cut": answer.cut} if answer.cut else {}
                extra |= {} if self.run.parse is None else {"parsed": parsed}
                return record(response=answer.text, **extra)
            assert problem is not None
            if not await self._goes_on(problem, paid.attempts):
                return record(error=str(problem))
        return record(error=f"the run ended; {problem}", unfinished=True) if paid.cost else None

    async def _goes_on(self, problem: CallError, attempts: int) -> bool:
        """Decide what follows a failed attempt: False gives the query up, True tries again."""
        if problem.fatal:
            self._stop(str(problem))
        elif not problem.again or attempts >= self.expert.attempts:
            self.in_a_row += not problem.of_query
            if self.in_a_row >= GIVE_UP_AFTER:
                self._stop(f"{self.in_a_row} queries in a row failed; {problem}")
            return False
        elif problem.wait > LONGEST_DELAY:
            self._stop(f"it asks to wait {problem.wait:.0f} s; {problem}")
        elif problem.wait:
            self.pace.delay(problem.wait)
        else:
            await pause(backoff(attempts), self.run.stop)
        return True

    async def _may_begin(self, most: float) -> bool:
        """Wait for the turn of a call; False where the run ends before it."""
        run = self.run
        await self.pace.wait()
        if run.stop.is_set():
            return False
        if not await run.budget.reserve(most):
            run.outcome.out_of_budget = True
            run.stop.set()
        elif run.stop.is_set():
            run.budget.pay(most, 0.0)
        return not run.stop.is_set()

    async def _attempt(self, prompt: str) -> tuple[Answer | None, Any, CallError | None]:
        try:
            answer = await self.caller.ask(prompt)
        except CallError as error:
            return None, None, error
        if self.run.parse is None:
            return answer, None, None
        try:
            return answer, self.run.parse(answer.text), None
        except ValueError as error:
            cut = f" ({answer.cut})" if answer.cut else ""  # which the next one would be too
            text = f"{error}{cut}; the answer was {answer.text!r}"
            return answer, None, CallError(text, again=not cut)

    def _stop(self, reason: str) -> None:
        self.run.stop.set()
        self.run.problem = self.run.problem or ExpertError(
            f"expert {self.expert.name!r}: {reason}; every answer so far is kept, run it again to "
            "go on"
        )
