"""What a call comes to: an answer, or an error that says what to do next; read from a reply."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any


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


def answer_of(reply: Any, clean: Callable[[str], str]) -> Answer:
    """Read a chat completion; `clean` takes the key out of its text.

    Raises
    ------
    CallError
        The server finished without a text.
    ValueError, KeyError, IndexError, TypeError
        It is no chat completion.
    """
    if isinstance(reply, str):  # JSON that was not said to be JSON
        reply = json.loads(reply)
    if not isinstance(reply, dict):
        raise ValueError("no JSON object")
    choice = reply["choices"][0]
    text = choice["message"]["content"]
    if text is None:
        reason = choice["message"].get("refusal") or choice.get("finish_reason")
        raise CallError(clean(f"no text ({reason})"), lost=True, of_query=True)
    if not isinstance(text, str):
        raise TypeError("the content is no text")
    usage = reply.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    tokens: tuple[Any, Any] = counts.get("prompt_tokens"), counts.get("completion_tokens", 0)
    told = all(isinstance(n, int) and 0 <= n < 2**53 for n in tokens)
    return Answer(clean(text), tokens if told else None)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a reply asks to wait: Retry-After (RFC 9110, 10.2.3), or 0."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) / scale)
        except (KeyError, ValueError):
            continue
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0


def message_of(error: Any) -> str:
    """Read the message of an error of the package `openai`."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        text = inner.get("message") if isinstance(inner, dict) else inner
        return str(text or body)
    return str(body or error.message)
