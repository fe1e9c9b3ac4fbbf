"""The decision cells of prompts: each different prompt computed once, recent ones remembered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from zooter_lite.bulk.block import Settings
from zooter_lite.errors import DataError
from zooter_lite.router.router import Router

REMEMBERED = 65_536  # prompts
REMEMBERED_CHARACTERS = 2**24
DIGITS = 6

Cells = tuple[Any, ...]


class FallbackCells(tuple[Any, ...]):
    """Cells of a prompt that the fallback got."""


class Chooser:
    """Decides on prompts with a router loaded for bulk work.

    The same prompt gets the same cells whatever prompts come with it (`exact`), so what
    is remembered changes no output.

    Parameters
    ----------
    settings
        Of the job.
    at_once
        Forward passes side by side; None for as many as the cores allow.

    Raises
    ------
    RouterError
        The router is damaged, or lacks the precision.
    DataError
        The fallback is none of its experts.
    """

    def __init__(self, settings: Settings, at_once: int | None = None) -> None:
        self._settings = settings
        self.router = Router.load(
            settings.router,
            settings.precision,
            settings.threads,
            remember=0,
            exact=True,
            at_once=at_once,
        )
        if settings.fallback is not None and settings.fallback not in self.router.experts:
            found = ", ".join(self.router.experts)
            raise DataError(f"--fallback {settings.fallback}: no such expert; expected {found}")
        self._recent: dict[str, Cells] = {}
        self._characters = 0

    def choose(self, prompts: Iterable[str]) -> dict[str, Cells]:
        """Return the added cells of each different prompt."""
        different = dict.fromkeys(prompts)
        recent = self._recent
        known = {prompt: recent[prompt] for prompt in different if prompt in recent}
        unknown = [prompt for prompt in different if prompt not in known] if known else different
        found = dict(zip(unknown, self._compute(list(unknown)), strict=True))
        self._remember(found)
        return known | found if known else found

    def _compute(self, prompts: list[str]) -> Iterable[Cells]:
        if not prompts:
            return []
        probs = self.router.predict_proba(prompts)
        experts = self.router.experts
        best = probs.argmax(axis=1)
        highest = probs.max(axis=1)
        low = np.zeros(0, dtype=np.int64)
        if self._settings.fallback is not None:
            low = np.flatnonzero(highest < self._settings.least)
            best[low] = experts.index(self._settings.fallback)
            highest[low] = probs[low, best[low]]
        columns = [highest, *(probs.T if self._settings.all_probabilities else ())]
        numbers = [np.round(column.astype(np.float64), DIGITS).tolist() for column in columns]
        cells: list[Cells] = list(
            zip(map(experts.__getitem__, best.tolist()), *numbers, strict=True)
        )
        for row in low.tolist():
            cells[row] = FallbackCells(cells[row])
        return cells

    def _remember(self, found: dict[str, Cells]) -> None:
        """Keep these, and forget the oldest beyond the bounds."""
        self._recent |= found
        self._characters += sum(map(len, found))
        oldest = iter(list(self._recent)) if self._full() else iter(())
        while self._full():
            prompt = next(oldest)
            del self._recent[prompt]
            self._characters -= len(prompt)

    def _full(self) -> bool:
        return len(self._recent) > REMEMBERED or self._characters > REMEMBERED_CHARACTERS
