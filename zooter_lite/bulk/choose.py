"""The decisions on prompts: each different prompt computed once, recent ones remembered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import onnxruntime

from zooter_lite import __version__
from zooter_lite.bulk.block import Cells, Settings
from zooter_lite.errors import DataError
from zooter_lite.router.router import Router

REMEMBERED = 65_536  # prompts
REMEMBERED_CHARACTERS = 2**24
DIGITS = 6


def versions() -> dict[str, str]:
    """Versions of the packages on which the last bits of a probability depend."""
    return {"zooter-lite": __version__, "onnxruntime": onnxruntime.__version__}


class Choice(NamedTuple):
    """The added cells of a prompt, and whether the fallback got it."""

    cells: Cells
    fallback: bool


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
            known = ", ".join(self.router.experts)
            raise DataError(f"--fallback {settings.fallback}: no such expert; expected {known}")
        self._recent: dict[str, Choice] = {}
        self._characters = 0

    def choose(self, prompts: Iterable[str]) -> dict[str, Choice]:
        """Return the choice of each different prompt."""
        different = dict.fromkeys(prompts)
        known = {prompt: self._recent[prompt] for prompt in different if prompt in self._recent}
        unknown = [prompt for prompt in different if prompt not in known]
        computed = dict(zip(unknown, self._compute(unknown), strict=True))
        self._remember(computed)
        return known | computed

    def _compute(self, prompts: list[str]) -> Iterable[Choice]:
        if not prompts:
            return []
        probs = self.router.predict_proba(prompts)
        experts = self.router.experts
        best = probs.argmax(axis=1)
        highest = probs.max(axis=1)
        low = np.zeros(len(prompts), dtype=bool)
        if self._settings.fallback is not None:
            low = highest < self._settings.least
            best[low] = experts.index(self._settings.fallback)
            highest[low] = probs[low, best[low]]
        columns = [highest, *(probs.T if self._settings.all_probabilities else ())]
        numbers = [np.round(column.astype(np.float64), DIGITS).tolist() for column in columns]
        cells = zip(map(experts.__getitem__, best.tolist()), *numbers, strict=True)
        return map(Choice, cells, low.tolist())

    def _remember(self, choices: dict[str, Choice]) -> None:
        """Keep these, and forget the oldest beyond the bounds."""
        self._recent |= choices
        self._characters += sum(map(len, choices))
        oldest = iter(list(self._recent)) if self._full() else iter(())
        while self._full():
            prompt = next(oldest)
            del self._recent[prompt]
            self._characters -= len(prompt)

    def _full(self) -> bool:
        return len(self._recent) > REMEMBERED or self._characters > REMEMBERED_CHARACTERS
