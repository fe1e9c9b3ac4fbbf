"""What was found out about recent prompts, so that repeated ones cost nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A value for each of the most recent different prompts; safe to share between threads.

    Parameters
    ----------
    prompts, characters
        How many are remembered at most, and how long they may be together; 0 prompts
        remember nothing.
    """

    def __init__(self, prompts: int, characters: float = float("inf")) -> None:
        self.prompts = prompts
        self._characters = characters
        self._held = 0  # characters
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, prompts: Iterable[str]) -> dict[str, Value]:
        """Return the values of those prompts that are remembered."""
        if not self.prompts:
            return {}
        with self._lock:
            known = {prompt: self._values[prompt] for prompt in prompts if prompt in self._values}
            for prompt in known:
                self._values.move_to_end(prompt)
        return known

    def put(self, values: Mapping[str, Value]) -> None:
        """Remember these, and forget the oldest beyond the bounds."""
        with self._lock:
            for prompt, value in values.items():
                self._held += 0 if prompt in self._values else len(prompt)
                self._values[prompt] = value
            while len(self._values) > self.prompts or self._held > self._characters:
                self._held -= len(self._values.popitem(last=False)[0])
