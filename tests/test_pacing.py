"""Budget, rate limit and backoff; what they do to calls is in test_calls and test_collect."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from zooter_lite.ask import pacing
from zooter_lite.ask.pacing import Budget, Pace, backoff


def test_idle_time_is_not_saved_up_for_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0  # seconds that pass only when somebody sleeps

    async def pause(seconds: float, stop: asyncio.Event) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(pacing, "pause", pause)

    async def work() -> list[float]:
        nonlocal now
        pace, begun = Pace(60, asyncio.Event()), []
        for idle in (0, 100, 0, 0):
            now += idle
            await pace.wait()
            begun.append(now - 1000)
        return begun

    assert asyncio.run(work()) == pytest.approx([0, 100, 101, 102])


def test_rounding_does_not_block_the_last_call() -> None:
    async def work() -> None:
        budget = Budget(0.5)
        for most in (0.1, 0.2, 0.15):
            assert await budget.reserve(most)
        for most in (0.1, 0.2, 0.15):
            budget.pay(most, 0.0)
        assert (0.1 + 0.2 + 0.15) - 0.1 - 0.2 - 0.15 > 0
        assert await asyncio.wait_for(budget.reserve(0.5), 5)

    asyncio.run(work())


def test_backoff_doubles_up_to_a_limit() -> None:
    for attempt, longest in ((1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (1000, 30.0)):
        waits = [backoff(attempt) for _ in range(50)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
        assert len(set(waits)) > 1
