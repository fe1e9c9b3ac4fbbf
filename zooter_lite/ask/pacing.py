"""When a call may begin: what a budget, a rate limit or a server's wish leaves of it."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second and any later attempt


class Budget:
    """Money that a run may spend; calls that might pass `limit` (None: none) are not begun."""

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self._limit = float("inf") if limit is None else limit
        self._spent, self._reserved = spent, 0.0
        self._open = 0  # calls that hold a reservation
        self._paid = asyncio.Event()

    async def reserve(self, most: float) -> bool:
        """Wait until a call that costs `most` at most can be paid; False if it never can."""
        while self._spent + self._reserved + most > self._limit:
            if not self._open:
                return False
            self._paid.clear()
            await self._paid.wait()
        self._reserved += most
        self._open += 1
        return True

    def pay(self, most: float, cost: float) -> None:
        """Settle a call that had reserved `most`."""
        self._open -= 1
        # sums of floats leave a rest, which would keep the last call from being made
        self._reserved = self._reserved - most if self._open else 0.0
        self._spent += cost
        self._paid.set()


class Pace:
    """When the next call may begin: evenly spread, 0 `per_minute` without limit; `stop` ends waits.

    Waiting callers are served in their order.
    """

    def __init__(self, per_minute: float, stop: asyncio.Event) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._stop = stop
        self._line = asyncio.Lock()

    async def wait(self) -> None:
        """Sleep until a call may begin, and take its place."""
        async with self._line:
            while (left := self._next - time.monotonic()) > 0 and not self._stop.is_set():
                await pause(left, self._stop)
            self._next = max(self._next, time.monotonic()) + self._gap

    def delay(self, seconds: float) -> None:
        """Begin no call for so long."""
        self._next = max(self._next, time.monotonic() + seconds)


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not longer than until `stop` is set."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def backoff(attempt: int) -> float:
    """Seconds to wait after the attempt-th failure, half of them random."""
    return random.uniform(0.5, 1.0) * min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 60))
