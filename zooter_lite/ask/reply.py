"""What a call comes to: an answer, or an error that says what to do next; read from a reply."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from zooter_lite.ask.texts import spoken

AGAIN = {408, 409, 425, 429}
FATAL = {401, 402, 404}  # not 403, which some services send for a single prompt
OF_QUERY = {400, 413, 422}
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
_SHOWN = 200  # characters of a reply that cannot be read


@dataclass(frozen=True)
class Answer:
    """What an expert said, thinking in it too."""

    text: str
    usage: tuple[int, int] | None = None  # tokens, (input, output), where the server counts
    cut: str = ""  # why the server ended it early, such as "length"


@dataclass(eq=False)
class CallError(Exception):
    """A call that failed."""

    message: str
    _: KW_ONLY
    again: bool = False  # another attempt may succeed
    wait: float = 0.0  # seconds that the server asks to wait before it
    fatal: bool = False  # no call to this expert can succeed, as with a key that is refused
    lost: bool = False  # the reply was lost, or says nothing of tokens: it may have been charged
    of_query: bool = False  # it is the query that is refused: that says nothing of the next one
    usage: tuple[int, int] | None = None  # tokens, (input, output), that were charged all the same

    def __post_init__(self) -> None:
        super().__init__(" ".join(self.message.split())[:500])


def answer_of(body: str, clean: Callable[[str], str]) -> Answer:
    """Read the body of a reply that came with a good status; `clean` takes keys out of a text.

    A chat completion with its text as it is, in parts (those that think are left out) or in
    the events of a stream; the older completion; or an error in the place of one.

    Raises
    ------
    CallError
        The server says what went wrong, ended without a text, or sent something else.
    """
    try:
        body = body.lstrip("\ufeff \t\r\n")
        streamed = re.match(r"data:|event:|id:|retry:|:|{.*}\s*\n\s*{", body)
        reply = _joined(body) if streamed else json.loads(body)
        if isinstance(reply, list) and len(reply) == 1:
            (reply,) = reply
        if not isinstance(reply, dict):
            raise ValueError("no JSON object")
        return _answer(reply, clean)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        start = clean(body).strip()[:_SHOWN]
        raise CallError(
            clean(f"a reply that cannot be read ({reason}): {start}"), again=True, lost=True
        ) from None


def _answer(reply: dict[str, Any], clean: Callable[[str], str]) -> Answer:
    usage = _usage(reply.get("usage"))
    choices = reply.get("choices") or []
    choice: dict[str, Any] = choices[0] if choices else {}
    problem = _problem(reply) or choice.get("error")
    if problem:
        raise refusal(_code(problem), clean(words_of(problem)), usage=usage)
    if not choices:
        filtered = ", ".join(_filtered(reply))
        if filtered:
            text = f"no answer (content filter: {filtered})"
            raise CallError(clean(text), of_query=True, usage=usage)
        raise ValueError("no choices")
    message = choice.get("message") or choice.get("delta") or {}
    content = message.get("content") if message else choice.get("text")
    text = clean(_text(content))
    reason = str(choice.get("finish_reason") or "")
    if reason.lower() in _FAILED:
        words = f"the server gave the answer up ({reason})"
        raise CallError(clean(words), again=True, lost=True, usage=usage)
    cut = "" if reason.lower() in _WHOLE else reason
    parts = [part for part in content or () if isinstance(part, dict)]
    bare = content is None or (parts and not text)
    if not spoken(text).strip() and (bare or cut or message.get("tool_calls")):
        refusals = [each.get("refusal") for each in (message, *parts)]
        refused = next(filter(None, refusals), reason or "null")
        raise CallError(clean(f"no text ({refused})"), lost=True, of_query=True, usage=usage)
    return Answer(text, usage, cut)


def _text(content: Any) -> str:
    """Read a message's content: a text, or parts of which those that are texts are joined."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise TypeError("the content is no text")
    texts = []
    for part in content:
        text = part
        if isinstance(part, dict):
            says = part.get("type", "text") in ("text", "output_text") and not part.get("thought")
            text = (part.get("text", part) or "") if says else ""
        if isinstance(text, dict):  # of an assistant's annotated text
            text = text.get("value")
        if not isinstance(text, str):
            raise TypeError("a part of the content is no text")
        texts.append(text)
    return "".join(texts)


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
        told = {"error": _problem(event), "usage": event.get("usage")}
        whole |= {name: value for name, value in told.items() if value}
        for choice in (event.get("choices") or [])[:1]:
            part = choice.get("delta") or choice.get("message") or {}
            text += _text(part.get("content")) if part else choice.get("text") or ""
            reason = choice.get("finish_reason") or reason
    if not ended and not reason and "error" not in whole:
        raise ValueError("an event stream that breaks off")
    message = {"content": text or None}
    return {**whole, "choices": [{"message": message, "finish_reason": reason}]}


def _usage(usage: Any) -> tuple[int, int] | None:
    """Read how many tokens were charged; None where it is not said."""
    counts = usage if isinstance(usage, dict) else {}
    given: Any = counts.get("prompt_tokens", counts.get("input_tokens"))
    total = counts.get("total_tokens")
    rest = total - given if isinstance(given, int) and isinstance(total, int) else 0
    made: Any = counts.get("completion_tokens", counts.get("output_tokens", rest))
    told = all(type(n) in (int, float) and 0 <= n < 2**53 for n in (given, made))
    return (int(given), int(made)) if told else None


def _problem(reply: dict[str, Any]) -> Any:
    """Find an error in a reply; the whole of it may be one."""
    whole = "choices" not in reply and any(
        reply.get(name) for name in ("message", "detail", "errors")
    )
    return reply.get("error") or (reply if whole else None)


def _code(problem: Any) -> int | str:
    """Read the code of an error: a status such as 429, or a word such as content_filter."""
    problem = _innermost(problem)
    if not isinstance(problem, dict):
        return ""
    names = ("code", "status", "status_code", "type")
    found = [str(problem[name]) for name in names if problem.get(name)]
    statuses = [int(code) for code in found if re.fullmatch("[45][0-9][0-9]", code)]
    return statuses[0] if statuses else " ".join(found).lower()


def _filtered(reply: Mapping[str, Any]) -> Iterator[str]:
    """Yield the categories in which a filter stopped the prompt, as Azure tells them."""
    for result in reply.get("prompt_filter_results") or []:
        for name, category in (result.get("content_filter_results") or {}).items():
            if category.get("filtered"):
                yield str(name)


def refusal(code: int | str, words: str, **facts: Any) -> CallError:
    """Make the error of a server's refusal; its code says whether another attempt may help.

    The code is a status of HTTP, or the word that stands in its place; the words are the
    server's own, and the facts further arguments of `CallError`.
    """
    if isinstance(code, str):
        code = next((number for number, names in _WORDS if any(n in code for n in names)), 500)
    again = code in AGAIN or code >= 500
    how = {"again": again, "fatal": code in FATAL, "of_query": code in OF_QUERY}
    return CallError(words, **{**how, **facts})


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


def words_of(problem: Any) -> str:
    """Read what a server says of an error: its message, a text, or all of it as JSON.

    >>> words_of({"error": {"message": "no such model", "code": 404}})
    'no such model'
    """
    problem = _innermost(problem)
    if isinstance(problem, dict):
        texts = [problem.get(name) for name in ("message", "detail", "error_message")]
        text = next((text for text in texts if isinstance(text, str)), None)
        raw = problem["metadata"].get("raw") if isinstance(problem.get("metadata"), dict) else None
        if text is not None:
            return f"{text}: {raw}" if raw else text
    return problem if isinstance(problem, str) else json.dumps(problem)


def _innermost(problem: Any) -> Any:
    while True:
        if isinstance(problem, list) and len(problem) == 1:
            (problem,) = problem
        inner = isinstance(problem, dict) and (problem.get("error") or problem.get("errors"))
        if not inner:
            return problem
        problem = inner
