"""Budget, rate limit and backoff, on a clock of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from zooter_lite.ask import pacing
from zooter_lite.ask.pacing import Budget, Pace, backoff


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(pacing, "pause", self.pause)

    async def pause(self, seconds: float, stop: asyncio.Event) -> None:
        await asyncio.sleep(0)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def starts(clock: Clock, per_minute: float, calls: int, delay: float = 0.0) -> list[float]:
    """When each of so many calls that all wait from the beginning may start."""

    async def one(pace: Pace, begun: list[float]) -> None:
        await pace.wait()
        begun.append(clock.now - 1000)

    async def work() -> list[float]:
        pace, begun = Pace(per_minute, asyncio.Event()), list[float]()
        pace.delay(delay)
        await asyncio.gather(*(one(pace, begun) for _ in range(calls)))
        return begun

    return asyncio.run(soon(work()))


def test_calls_are_spread_over_the_minute(clock: Clock) -> None:
    assert starts(clock, 20, 5) == pytest.approx([0, 3, 6, 9, 12])
    clock.now = 1000
    assert starts(clock, 0, 4) == [0, 0, 0, 0]


def test_a_delay_holds_back_everybody(clock: Clock) -> None:
    assert starts(clock, 0, 3, delay=7) == pytest.approx([7, 7, 7])
    clock.now = 1000
    assert starts(clock, 30, 3, delay=7) == pytest.approx([7, 9, 11])


def test_idle_time_is_not_saved_up_for_a_burst(clock: Clock) -> None:
    async def work() -> list[float]:
        pace, begun = Pace(60, asyncio.Event()), []
        for idle in (0, 100, 0, 0):
            clock.now += idle
            await pace.wait()
            begun.append(clock.now - 1000)
        return begun

    assert asyncio.run(soon(work())) == pytest.approx([0, 100, 101, 102])


async def soon(work: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(work, 5)


def test_the_budget_is_never_passed_whatever_the_order() -> None:
    async def call(budget: Budget, most: float, cost: float, paid: list[float]) -> bool:
        if not await budget.reserve(most):
            return False
        await asyncio.sleep(0)
        budget.pay(most, cost)
        paid.append(cost)
        return True

    async def work() -> None:
        budget, paid = Budget(1.0, spent=0.25), list[float]()
        begun = await soon(asyncio.gather(*(call(budget, 0.3, 0.1, paid) for _ in range(20))))
        # 0.25 + 0.1 k + 0.3 <= 1 holds up to k = 4, so five calls are made
        assert sum(begun) == 5
        assert sum(paid) + 0.25 <= 1.0
        assert await budget.reserve(0.25)
        assert not await soon(budget_left(budget))

    async def budget_left(budget: Budget) -> bool:
        budget.pay(0.25, 0.25)
        return await budget.reserve(1e-9)

    asyncio.run(soon(work()))


def test_rounding_does_not_block_the_last_call() -> None:
    async def work() -> None:
        budget = Budget(0.5)
        for most in (0.1, 0.2, 0.15):
            assert await budget.reserve(most)
        for most in (0.1, 0.2, 0.15):
            budget.pay(most, 0.0)
        assert (0.1 + 0.2 + 0.15) - 0.1 - 0.2 - 0.15 > 0
        assert await budget.reserve(0.5)

    asyncio.run(soon(work()))


def test_backoff_doubles_up_to_a_limit() -> None:
    for attempt, longest in ((1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (1000, 30.0)):
        waits = [backoff(attempt) for _ in range(50)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
        assert len(set(waits)) > 1
