"""The decision cells of prompts: each different prompt computed once, recent ones remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from zooter_lite.batch.block import Settings
from zooter_lite.errors import DataError
from zooter_lite.router.router import Router

REMEMBERED = 65_536  # prompts
REMEMBERED_CHARACTERS = 2**24
DIGITS = 6


class Choice(NamedTuple):
    """What the output says of one prompt: the added cells, and whether the fallback got it."""

    cells: tuple[object, ...]
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
            found = ", ".join(self.router.experts)
            raise DataError(f"--fallback {settings.fallback}: no such expert; expected {found}")
        self._recent: OrderedDict[str, Choice] = OrderedDict()
        self._characters = 0

    def choose(self, prompts: Sequence[str]) -> dict[str, Choice]:
        """Return the choice of each different prompt."""
        different = dict.fromkeys(prompts)
        known = {prompt: self._recent[prompt] for prompt in different if prompt in self._recent}
        for prompt in known:
            self._recent.move_to_end(prompt)
        unknown = [prompt for prompt in different if prompt not in known]
        found = dict(zip(unknown, self._compute(unknown), strict=True))
        self._remember(found)
        return known | found if known else found

    def _compute(self, prompts: list[str]) -> list[Choice]:
        probs = self.router.predict_proba(prompts)
        best = probs.argmax(axis=1)
        highest = probs.max(axis=1, initial=0).tolist()
        rows = probs.tolist() if self._settings.all_probabilities else [()] * len(best)
        experts = self.router.experts
        choices: list[Choice] = []
        for place, probability, row in zip(best.tolist(), highest, rows, strict=True):
            expert, low = experts[place], probability < self._settings.least
            if low and self._settings.fallback is not None:
                expert = self._settings.fallback
                probability = probs[len(choices), experts.index(expert)].item()
            numbers = [round(value, DIGITS) for value in (probability, *row)]
            choices.append(Choice((expert, *numbers), low))
        return choices

    def _remember(self, choices: dict[str, Choice]) -> None:
        self._recent |= choices
        self._characters += sum(map(len, choices))
        while len(self._recent) > REMEMBERED or self._characters > REMEMBERED_CHARACTERS:
            prompt, _ = self._recent.popitem(last=False)
            self._characters -= len(prompt)
