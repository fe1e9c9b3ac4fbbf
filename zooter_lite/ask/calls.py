"""Many calls to many experts: paced, repeated where it helps, paid once, and journaled."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from zooter_lite.ask.client import caller
from zooter_lite.ask.known import Known
from zooter_lite.ask.pool import Expert
from zooter_lite.ask.reply import Answer, CallError
from zooter_lite.errors import DataError, ZooterError
from zooter_lite.files.journal import Journal

GIVE_UP_AFTER = 10  # queries in a row whose every attempt failed
LONGEST_DELAY = 600.0  # seconds that a server may ask to wait before the run ends instead
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second and any later attempt
_EXTRA_TOKENS = 64  # of a chat template
_GLANCE = 0.02  # seconds between two looks at what is left of a budget

Progress = Callable[[float], object]  # gets what was done since it was last called


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

    def add(self, record: Mapping[str, Any]) -> None:
        """Count what a record says."""
        self.answered += "error" not in record
        self.cut += "cut" in record
        self.failed += "error" in record and "unfinished" not in record
        self.attempts += record["attempts"]
        self.tokens_in += record["usage"]["input"]
        self.tokens_out += record["usage"]["output"]
        self.cost += record["cost"]
        self.seconds += record["seconds"]

    def __str__(self) -> str:
        tokens = f"{self.tokens_in:,} tokens in, {self.tokens_out:,} out"
        return f"{self.attempts} calls, {tokens}, cost {self.cost:.4f}"


def run_calls(
    calls: Mapping[str, Iterator[Call]],
    experts: Sequence[Expert],
    journal: Journal,
    known: Known[Any, Any],
    *,
    max_cost: float | None = None,
    parse: Callable[[str], Any] | None = None,
    progress: Progress = lambda n: None,
) -> dict[str, Tally]:
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
        What all runs together may spend; calls that might pass it are left. A call whose reply
        was lost or has no `usage` counts as the most that it can have cost.
    parse
        Reads a response; what it returns is recorded as `parsed`, and a response that
        it refuses with ValueError counts as a failed attempt (and is paid).

    Returns
    -------
    A tally of this run for each expert.

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
    limit = float("inf") if max_cost is None else max_cost
    run = _Run(journal, known, limit, parse, progress, known.cost)
    lanes = [_Lane(run, expert, calls[expert.name]) for expert in experts]
    asyncio.run(_work(run, lanes))
    return {lane.expert.name: lane.tally for lane in lanes}


@dataclass
class _Run:
    """What the workers of all experts share."""

    journal: Journal
    known: Known[Any, Any]
    limit: float
    parse: Callable[[str], Any] | None
    progress: Progress
    spent: float
    reserved: list[float] = field(default_factory=list)  # the most that each open call can cost
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    problem: BaseException | None = None

    def stop(self, problem: BaseException | None = None) -> None:
        """Begin no call any more; those on their way are finished."""
        self.problem = self.problem or problem
        self.stopped.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, but not longer than until the run is stopped."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)

    async def reserve(self, most: float) -> bool:
        """Wait until a call that costs `most` at most can be paid; False where none begins."""
        while not self.stopped.is_set() and self.spent + sum(self.reserved) + most > self.limit:
            if not self.reserved:
                self.stop()
            await self.pause(_GLANCE)
        if not self.stopped.is_set():
            self.reserved.append(most)
        return not self.stopped.is_set()

    def pay(self, most: float, cost: float) -> None:
        """Settle a call that had reserved `most`."""
        self.reserved.remove(most)
        self.spent += cost


async def _work(run: _Run, lanes: Sequence[_Lane]) -> None:
    loop = asyncio.get_running_loop()

    def interrupt() -> None:  # a second Ctrl-C leaves the calls on their way
        run.stop(KeyboardInterrupt())
        loop.remove_signal_handler(signal.SIGINT)

    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, another thread
        loop.add_signal_handler(signal.SIGINT, interrupt)
    tasks = [
        asyncio.create_task(lane.work()) for lane in lanes for _ in range(lane.expert.concurrency)
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in lanes:
            await lane.caller.close()
    if run.problem is not None:
        raise run.problem


class _Lane:
    """What the workers of one expert share, and what each of them does."""

    def __init__(self, run: _Run, expert: Expert, calls: Iterator[Call]) -> None:
        self.run, self.expert, self.calls = run, expert, calls
        self.caller = caller(expert)
        self.tally = Tally()
        self.in_a_row = 0  # queries that failed
        self.line = asyncio.Lock()
        per_minute = expert.requests_per_minute
        self.gap = 60.0 / per_minute if per_minute else 0.0  # seconds between two calls
        self.next = 0.0  # time at which the next call may begin

    async def work(self) -> None:
        while not self.run.stopped.is_set():
            call = next(self.calls, None)
            result = None if call is None else await self._settle(call.prompt)
            if call is None or result is None:
                return
            record = {**call.key, **result}
            self.run.journal.append(record)
            self.run.known.add(record)
            self.tally.add(record)
            self.run.progress(1)

    async def _settle(self, prompt: str) -> dict[str, Any] | None:
        """Ask until there is an answer, or no hope; None where the run has ended before."""
        # a token is a byte at least
        longest = len((self.expert.system + prompt).encode("utf-8", "replace")) + _EXTRA_TOKENS
        most = self.expert.cost(longest, self.expert.max_tokens or 0)
        usage, reply = {"input": 0, "output": 0}, None
        paid: dict[str, Any] = {"usage": usage, "cost": 0.0, "seconds": 0.0, "attempts": 0}
        while await self._turn() and await self.run.reserve(most):
            started = time.monotonic()
            reply = await self._attempt(prompt)
            tokens_in, tokens_out = reply.usage or (0, 0)
            cost = self.expert.cost(tokens_in, tokens_out)
            if reply.usage is None and reply.charged:
                cost = most
            self.run.pay(most, cost)
            usage["input"] += tokens_in
            usage["output"] += tokens_out
            paid["cost"] += cost
            paid["seconds"] = round(time.monotonic() - started, 4)
            paid["attempts"] += 1
            if isinstance(reply, Answer):
                self.in_a_row = 0
                cut = {"cut": reply.cut} if reply.cut else {}
                parsed = {"parsed": reply.parsed} if self.run.parse else {}
                return {"response": reply.text, **cut, **parsed, **paid}
            if not await self._goes_on(reply, paid["attempts"]):
                return {"error": str(reply), **paid}
        if paid["cost"]:
            return {"error": f"the run ended; {reply}", "unfinished": True, **paid}
        return None

    async def _attempt(self, prompt: str) -> Answer | CallError:
        """Ask once; an answer that cannot be parsed is a failed call that is paid."""
        try:
            answer = await self.caller.ask(prompt)
        except CallError as error:
            return error
        try:
            return replace(answer, parsed=self.run.parse(answer.text)) if self.run.parse else answer
        except ValueError as error:
            cut = f" ({answer.cut})" if answer.cut else ""  # which the next one would be too
            text = f"{error}{cut}; the answer was {answer.text!r}"
            return CallError(text, 0 if cut else 500, charged=True, usage=answer.usage)

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
            self.next = max(self.next, time.monotonic() + problem.wait)
        else:
            await self.run.pause(backoff(attempts))
        return True

    async def _turn(self) -> bool:
        """Wait until a call may begin, evenly spread; False where the run is stopped."""
        async with self.line:
            while (left := self.next - time.monotonic()) > 0 and not self.run.stopped.is_set():
                await self.run.pause(left)
            self.next = max(self.next, time.monotonic()) + self.gap
        return not self.run.stopped.is_set()

    def _stop(self, reason: str) -> None:
        text = f"expert {self.expert.name!r}: {reason}; every answer so far is kept, run it again"
        self.run.stop(ExpertError(f"{text} to go on"))


def backoff(attempt: int) -> float:
    """Seconds to wait after the attempt-th failure, half of them random."""
    return random.uniform(0.5, 1.0) * min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 60))
