"""One call to one expert that is an OpenAI-compatible server; `caller` connects either kind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from zooter_lite.ask.answer import Answer, Caller, CallError
from zooter_lite.ask.function import Function
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError, MissingPackageError

HIDDEN = "[hidden]"
SHORTEST_SECRET = 8  # characters; "none" or "EMPTY" is no secret, and may stand in an answer
_AGAIN = {408, 409, 425, 429}
_FATAL = {401, 402, 404}  # not 403, which some services send for a single prompt
_OF_QUERY = {400, 413, 422}


def caller(expert: Expert) -> Caller:
    """Connect an expert.

    Raises
    ------
    DataError
        The variable of its key is not set, or its callable cannot be imported.
    MissingPackageError
        The package `openai` is missing.
    """
    return Function(expert) if expert.callable else _Endpoint(expert)


class _Endpoint:
    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._key = _key(expert)
        self._pattern = _pattern(self._key)
        with _own_settings():
            try:
                import openai
            except ImportError as error:
                raise MissingPackageError("openai", "experts", "asking an LLM") from error
            try:
                self._client = openai.AsyncOpenAI(
                    api_key=self._key or "none",
                    base_url=expert.base_url,
                    timeout=expert.timeout,
                    max_retries=0,  # attempts are counted and paced for all queries together
                )
            except Exception as error:  # of an address that only the client finds wrong
                raise DataError(
                    f"expert {expert.name!r}: base_url {expert.base_url!r} cannot be used ({error})"
                ) from error
        self._errors = openai
        self._request = {**expert.sampling, "model": expert.model}
        system = [{"role": "system", "content": _encodable(expert.system)}]
        self._system = system if expert.system else []

    async def ask(self, prompt: str) -> Answer:
        messages = [*self._system, {"role": "user", "content": _encodable(prompt)}]
        # The client's own chat.completions.create checks every field of a request and of a
        # reply against its types. That takes most of a call's time, and knows no fields of
        # other servers; this is its documented way to reach any endpoint.
        call = self._client.post(
            "/chat/completions", cast_to=object, body={**self._request, "messages": messages}
        )
        try:
            return self._answer(await asyncio.wait_for(call, self._expert.timeout))
        except CallError:
            raise
        except (self._errors.APITimeoutError, asyncio.TimeoutError) as error:
            raise self._failure(f"no answer within {self._expert.timeout:g} s", error) from None
        except self._errors.APIStatusError as error:
            raise self._refusal(error) from None
        except self._errors.APIConnectionError as error:
            reason = str(error.__cause__ or error) or "connection lost"
            raise self._failure(f"connection: {reason}", error) from None
        except Exception as error:  # whatever a server sent; a traceback might show the key
            reason = f"{type(error).__name__}: {error}"
            raise self._failure(f"a reply that cannot be read ({reason})", error) from None

    async def close(self) -> None:
        await self._client.close()

    def _answer(self, reply: Any) -> Answer:
        if isinstance(reply, str):  # JSON that was not said to be JSON
            reply = json.loads(reply)
        if not isinstance(reply, dict):
            raise ValueError("no JSON object")
        message = reply["choices"][0]["message"]
        text = message["content"]
        if text is None:
            reason = message.get("refusal") or reply["choices"][0].get("finish_reason")
            raise CallError(self._clean(f"no text ({reason})"), lost=True, of_query=True)
        if not isinstance(text, str):
            raise TypeError("the content is no text")
        return Answer(self._clean(text), _usage(reply))

    def _failure(self, text: str, error: Exception) -> CallError:
        sent = not type(error.__cause__).__name__.startswith("Connect")  # of httpx or httpx2
        return CallError(self._clean(text), again=True, lost=sent)

    def _refusal(self, error: Any) -> CallError:
        status = error.status_code
        message = self._clean(f"HTTP {status}: {_message(error)}")
        spent = getattr(error, "code", None) == "insufficient_quota"
        return CallError(
            message,
            again=status in _AGAIN or status >= 500,
            wait=retry_after(error.response.headers),
            fatal=status in _FATAL or spent,
            of_query=status in _OF_QUERY,
        )

    def _clean(self, text: str) -> str:
        """Hide the key, wherever a server or a library repeats it."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


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


@contextmanager
def _own_settings() -> Iterator[None]:
    """Hide OPENAI_* while a client is made.

    It would send its key, organisation and headers to whatever server an expert names.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OPENAI_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _key(expert: Expert) -> str:
    if not expert.api_key_env:
        return ""
    key = os.environ.get(expert.api_key_env, "").strip()
    where = f"expert {expert.name!r}: the environment variable {expert.api_key_env}"
    if not key:
        raise DataError(f"{where} is not set")
    if not re.fullmatch(r"[!#-&(-\[\]-~]+", key):  # no blank, quote or backslash
        raise DataError(f"{where} holds a character that a key cannot have")
    return key


def _pattern(key: str) -> re.Pattern[str] | None:
    """Match a key in any spelling of JSON, URLs and quoted texts; None where it is no secret."""
    if len(key) < SHORTEST_SECRET:
        return None
    spellings = (f"(?:{re.escape(c)}|%(?i:{ord(c):02x})|u(?i:{ord(c):04x}))" for c in key)
    return re.compile(r"\\*".join(spellings))


def _usage(reply: Mapping[str, Any]) -> tuple[int, int] | None:
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if not all(isinstance(n, int) and 0 <= n < 2**53 for n in counts):
        return None
    return int(counts[0] or 0), int(counts[1] or 0)


def _message(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        found = inner.get("message") if isinstance(inner, dict) else inner
        return str(found or body)
    return str(body or error.message)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
