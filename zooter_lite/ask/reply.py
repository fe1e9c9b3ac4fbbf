"""What a call comes to: an answer, or an error that says what to do next; read from a reply."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from zooter_lite.ask.texts import spoken

AGAIN = {408, 409, 425, 429}
FATAL = {401, 402, 404}  # not 403, which some services send for a single prompt
OF_QUERY = {400, 413, 422}
_CUT = ("length", "max_tokens", "max_output_tokens", "model_length", "content_filter")
_FILTER = ("content_filter", "content_policy", "moderation", "safety", "invalid_prompt")
_BROKE = ("insufficient_quota", "invalid_api_key", "model_not_found", "authentication")
_SHOWN = 200  # characters of a reply that cannot be read


@dataclass(frozen=True)
class Answer:
    """What an expert said.

    Attributes
    ----------
    text
        As it came, thinking in it too.
    usage
        Tokens, (input, output); None where the server does not count.
    cut
        Why the server ended it early, such as "length"; empty where it did not.
    """

    text: str
    usage: tuple[int, int] | None = None
    cut: str = ""


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
        The reply was lost on its way, or says nothing of tokens, so that the call may have
        been charged.
    of_query
        It is the query that is refused, which says nothing about the next one.
    usage
        Tokens, (input, output), that were charged all the same; None where it is not known.
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
        usage: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(" ".join(message.split())[:500])
        self.again, self.wait, self.fatal = again, wait, fatal
        self.lost, self.of_query, self.usage = lost, of_query, usage


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
        streamed = body.lstrip().startswith(("data:", "event:", ":"))
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
    problem = reply.get("error") or choice.get("error")
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
    cut = reason if reason.lower() in _CUT else ""
    said = spoken(text).strip()
    if not said and (content is None or cut or message.get("tool_calls")):
        refused = message.get("refusal") or reason or "null"
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
            text = part.get("text") if part.get("type", "text") in ("text", "output_text") else ""
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
        if not line.startswith("data:") or data in ("", "[DONE]"):
            continue
        event = json.loads(data)
        whole |= {name: event[name] for name in ("error", "usage") if event.get(name)}
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
    made: Any = counts.get("completion_tokens", counts.get("output_tokens", 0))
    told = all(type(n) is int and 0 <= n < 2**53 for n in (given, made))
    return (given, made) if told else None


def _code(problem: Any) -> int | str:
    """Read the code of an error: a status such as 429, or a word such as content_filter."""
    if not isinstance(problem, dict):
        return ""
    found = [problem[name] for name in ("code", "status", "type") if problem.get(name)]
    for code in found:
        if isinstance(code, int) or str(code).isdecimal():
            return int(code)
    return " ".join(map(str, found)).lower()


def _filtered(reply: Mapping[str, Any]) -> Iterator[str]:
    """Yield the categories in which a filter stopped the prompt, as Azure tells them."""
    for result in reply.get("prompt_filter_results") or []:
        for name, category in (result.get("content_filter_results") or {}).items():
            if category.get("filtered"):
                yield str(name)


def refusal(code: int | str, words: str, **facts: Any) -> CallError:
    """Make the error of a server's refusal; its code says whether another attempt may help.

    Parameters
    ----------
    code
        A status of HTTP, or the word that stands in its place.
    words
        The server's own.
    facts
        Further arguments of `CallError`.
    """
    if isinstance(code, str):
        known = ((429, ("rate_limit", "too_many")), (402, _BROKE), (400, _FILTER))
        code = next((number for number, names in known if any(n in code for n in names)), 500)
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
    while isinstance(problem, dict) and problem.get("error"):
        problem = problem["error"]
    if isinstance(problem, dict) and isinstance(problem.get("message"), str):
        return str(problem["message"])
    return problem if isinstance(problem, str) else json.dumps(problem)
