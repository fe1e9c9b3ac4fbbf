"""What asking an expert comes to: an answer, or an error that says what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """What an expert said: `text`, and tokens (input, output), None where it does not count."""

    text: str
    usage: tuple[int, int] | None = None


class CallError(Exception):
    """A call that failed.

    Attributes
    ----------
    again
        Another attempt may succeed.
    wait
        Seconds that the server asks to wait before it.
    fatal
        No call to this expert can succeed, as with a key that is refused.
    lost
        The reply was lost on its way, so that the call may have been charged.
    of_query
        It is the query that is refused, which says nothing about the next one.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        wait: float = 0.0,
        fatal: bool = False,
        lost: bool = False,
        of_query: bool = False,
    ) -> None:
        super().__init__(" ".join(message.split())[:500])
        self.again, self.wait, self.fatal = again, wait, fatal
        self.lost, self.of_query = lost, of_query


class Caller(Protocol):
    """What answers prompts in the name of one expert."""

    async def ask(self, prompt: str) -> Answer:
        """Answer one prompt; raise CallError where that fails."""

    async def close(self) -> None:
        """Let go of connections."""
