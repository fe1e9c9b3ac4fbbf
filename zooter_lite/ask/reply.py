"""What a call comes to: an answer, or an error that says what to do next; read from a reply."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from zooter_lite.ask.texts import spoken

_WHOLE = {"", "stop", "eos", "eos_token", "end", "end_turn", "stop_sequence", "complete"} | {
    "completed", "done", "none", "tool_calls", "tool_use", "function_call"
}  # fmt: skip
_FAILED = {"error", "abort", "network_error", "insufficient_system_resource"}
_WORDS = (  # in an error's code, and the status that they stand for
    (429, ("rate_limit", "too_many", "exhausted")),
    (402, ("insufficient_quota", "billing", "invalid_api_key", "model_not_found", "authentic")),
    (401, ("unauthorized", "permission")),
    (400, ("content_filter", "content_policy", "moderation", "safety", "inspection", "invalid")),
    (400, ("context_length", "badrequest", "bad_request", "too_long")),
)

Tokens = tuple[int, int]  # input, output


@dataclass(frozen=True)
class Answer:
    """What an expert said, thinking in it too."""

    text: str
    usage: Tokens | None = None  # where the server counts
    cut: str = ""  # why the server ended it early, such as "length"
    parsed: Any = None
    charged: ClassVar[bool] = True


@dataclass(eq=False)
class CallError(Exception):
    """A call that failed; its status, of HTTP or the like of one, says what follows."""

    message: str
    status: int = 500
    _: KW_ONLY
    wait: float = 0.0  # seconds that the server asks to wait before another attempt
    charged: bool = False  # perhaps, since the reply was lost, or says nothing of tokens
    usage: Tokens | None = None  # that were charged all the same

    def __post_init__(self) -> None:
        super().__init__(" ".join(self.message.split())[:500])

    @property
    def again(self) -> bool:
        """Whether another attempt may succeed."""
        return self.status in (408, 409, 425, 429) or self.status >= 500

    @property
    def fatal(self) -> bool:
        """Whether no call to this expert can succeed, as with a key that is refused."""
        return self.status in (401, 402, 404)  # not 403, which may be about a single prompt

    @property
    def of_query(self) -> bool:
        """Whether it is the query that is refused: that says nothing of the next one."""
        return self.status in (400, 413, 422)


def answer_of(body: str) -> Answer:
    """Read the body of a reply that came with a good status.

    It holds a chat completion, with its text as it is, in parts (those that think are left out)
    or in the events of a stream; or an error in the place of one.

    Raises
    ------
    CallError
        The server says what went wrong, ended without a text, or sent something else.
    """
    body = body.strip()
    try:
        reply = _joined(body) if re.match("data:|event:|id:|retry:|:", body) else json.loads(body)
        if not isinstance(reply, dict):
            raise ValueError("no JSON object")
        return _answer(reply)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        text = f"a reply that cannot be read ({reason}): {body[:200]}"
        raise CallError(text, charged=True) from None


def _answer(reply: dict[str, Any]) -> Answer:
    usage = _usage(reply.get("usage"))
    choice: dict[str, Any] = next(iter(reply.get("choices") or []), {})
    bare = "choices" not in reply and any(reply.get(x) for x in ("message", "detail", "errors"))
    problem = reply.get("error") or choice.get("error") or (reply if bare else None)
    if problem:
        raise CallError(*_told(problem), usage=usage)
    if not choice:
        raise ValueError("no choices")
    message = choice.get("message") or {}
    content = message.get("content")
    text = _text(content)
    reason = str(choice.get("finish_reason") or "")
    if reason.lower() in _FAILED:
        raise CallError(f"the server gave the answer up ({reason})", charged=True, usage=usage)
    cut = "" if reason.lower() in _WHOLE else reason
    parts = [part for part in content or () if isinstance(part, dict)]
    silent = content is None or cut or message.get("tool_calls") or (parts and not text)
    if silent and not spoken(text).strip():
        refused = next(filter(None, (each.get("refusal") for each in (message, *parts))), reason)
        raise CallError(f"no text ({refused})", 400, charged=True, usage=usage)
    return Answer(text, usage, cut)


def _text(content: Any) -> str:
    """Read a message's content: a text, or parts of which those that are texts are joined."""
    return "".join(map(_part, content)) if isinstance(content, list) else _part(content or "")


def _part(part: Any) -> str:
    if isinstance(part, dict):
        says = part.get("type", "text") in ("text", "output_text") and not part.get("thought")
        part = (part.get("text") or "") if says else ""
    if not isinstance(part, str):
        raise TypeError("the content is no text")
    return part


def _joined(body: str) -> dict[str, Any]:
    """Make one completion of a stream of events that nobody asked for."""
    whole: dict[str, Any] = {}
    text, reason, ended = "", "", False
    for line in body.splitlines():
        data = line.removeprefix("data:").strip()
        ended |= data == "[DONE]"
        if not data.startswith("{"):
            continue
        event = json.loads(data)
        whole |= {name: event[name] for name in ("error", "usage") if event.get(name)}
        for choice in (event.get("choices") or [])[:1]:
            text += _text((choice.get("delta") or {}).get("content"))
            reason = choice.get("finish_reason") or reason
    if not ended and not reason and "error" not in whole:
        raise ValueError("an event stream that breaks off")
    message = {"content": text or None}
    return {**whole, "choices": [{"message": message, "finish_reason": reason}]}


def _usage(usage: Any) -> Tokens | None:
    """Read how many tokens were charged; None where it is not said."""
    counts = usage if isinstance(usage, dict) else {}
    given: Any = counts.get("prompt_tokens")
    made: Any = counts.get("completion_tokens", 0)
    told = all(isinstance(n, (int, float)) and 0 <= n < 2**53 for n in (given, made))
    return (int(given), int(made)) if told else None


def refusal(status: int, body: str, wait: float, place: str) -> CallError:
    """Make the error of a reply that came with a bad status; `place` says where it happened."""
    problem: Any = body
    with suppress(ValueError, RecursionError):
        problem = json.loads(body)
    words, told = _told(problem)
    means = 402 if told == 402 else status  # an empty account comes with 429, too
    return CallError(f"HTTP {status}{place}: {words}", means, wait=wait)


def _told(problem: Any) -> tuple[str, int]:
    """Read what a server says of an error: its own words, and the status that its code stands for.

    The words are its message, a text, or all of it as JSON; the code a number such as 429, or
    words; 500 without one.
    """
    while True:
        if isinstance(problem, list) and len(problem) == 1:
            (problem,) = problem
        inner = isinstance(problem, dict) and (problem.get("error") or problem.get("errors"))
        if not inner:
            break
        problem = inner
    if not isinstance(problem, dict):
        return problem if isinstance(problem, str) else json.dumps(problem), 500
    texts = (problem.get(name) for name in ("message", "detail", "error_message"))
    words = next((text for text in texts if isinstance(text, str)), json.dumps(problem))
    if "metadata" in problem:  # which says more
        words = json.dumps(problem)
    codes = [str(problem.get(name)) for name in ("code", "status", "status_code", "type")]
    for code in codes:
        if re.fullmatch("[45][0-9][0-9]", code):
            return words, int(code)
    told = " ".join(codes).lower()
    found = (status for status, names in _WORDS if any(name in told for name in names))
    return words, next(found, 500)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a reply asks to wait: Retry-After (RFC 9110, 10.2.3), or 0."""
    text = headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(text))
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0
