"""When a call may begin: what a budget, a rate limit or a server's wish leaves of it."""

from __future__ import annotations

import asyncio
import random
import time

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second and any later attempt


class Budget:
    """Money that a run may spend; calls that might pass it are not begun.

    Parameters
    ----------
    limit
        In the pool's currency; None is no limit.
    spent
        By earlier runs.
    """

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self._limit = limit
        self._spent = spent
        self._reserved = 0.0
        self._changed = asyncio.Condition()

    async def reserve(self, most: float) -> bool:
        """Wait until a call that costs `most` at most can be paid; False if it never can."""
        if self._limit is None:
            return True
        async with self._changed:
            while self._spent + self._reserved + most > self._limit:
                if not self._reserved:
                    return False
                await self._changed.wait()
            self._reserved += most
            return True

    async def pay(self, most: float, cost: float) -> None:
        """Settle a call that had reserved `most`."""
        if self._limit is None:
            return
        async with self._changed:
            self._reserved = max(0.0, self._reserved - most)
            if self._reserved < 1e-12:
                self._reserved = 0.0
            self._spent += cost
            self._changed.notify_all()


class Pace:
    """When the next call to an expert may begin."""

    def __init__(self, per_minute: float) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        """Sleep until a call may begin, and take its place."""
        while (now := time.monotonic()) < self._next:
            if self._gap:  # take a place in the line
                place, self._next = self._next, self._next + self._gap
                await asyncio.sleep(place - now)
                return
            await asyncio.sleep(self._next - now)
        self._next = max(self._next, now + self._gap)

    def pause(self, seconds: float) -> None:
        """Begin no call for so long."""
        self._next = max(self._next, time.monotonic() + seconds)


def backoff(attempt: int) -> float:
    """Seconds to wait after the attempt-th failure, half of them random."""
    return random.uniform(0.5, 1.0) * min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1))
