"""One call to one expert: an OpenAI-compatible server, or a Python function."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.experts.pool import Expert

HIDDEN = "[hidden]"
_AGAIN = {408, 409, 425, 429}
_FATAL = {401, 403, 404}
_OWN = {
    "frequency_penalty", "logit_bias", "max_completion_tokens", "max_tokens", "presence_penalty",
    "reasoning_effort", "response_format", "seed", "stop", "temperature", "top_p",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What an expert said: `text`, and tokens (input, output), 0 where it does not count."""

    text: str
    usage: tuple[int, int] = (0, 0)


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
    """

    def __init__(
        self, message: str, *, again: bool = False, wait: float = 0.0, fatal: bool = False
    ) -> None:
        super().__init__(" ".join(message.split())[:500])
        self.again, self.wait, self.fatal = again, wait, fatal


class Caller(Protocol):
    """What answers prompts in the name of one expert."""

    async def ask(self, prompt: str) -> Answer:
        """Answer one prompt; raise CallError where that fails."""

    async def close(self) -> None:
        """Let go of connections."""


def caller(expert: Expert) -> Caller:
    """Connect an expert.

    Raises
    ------
    DataError
        The variable of its key is not set, or its callable cannot be imported.
    MissingPackageError
        The package `openai` is missing.
    """
    return _Function(expert) if expert.callable else _Endpoint(expert)


class _Endpoint:
    def __init__(self, expert: Expert) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingPackageError("openai", "experts", "asking an LLM") from error
        self._expert = expert
        self._key = os.environ.get(expert.api_key_env, "") if expert.api_key_env else ""
        if expert.api_key_env and not self._key:
            raise DataError(
                f"expert {expert.name!r}: the environment variable {expert.api_key_env} is not set"
            )
        self._errors = openai
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none",  # never OPENAI_API_KEY, which is for somebody else
            organization="",
            project="",
            base_url=expert.base_url,
            timeout=expert.timeout,
            max_retries=0,  # attempts are counted and paced for all queries together
        )
        own = {k: v for k, v in expert.sampling.items() if k in _OWN}
        other = {k: v for k, v in expert.sampling.items() if k not in _OWN}
        self._request: dict[str, Any] = own | ({"extra_body": other} if other else {})

    async def ask(self, prompt: str) -> Answer:
        system: list[Any] = (
            [{"role": "system", "content": self._expert.system}] if self._expert.system else []
        )
        messages = [*system, {"role": "user", "content": _encodable(prompt)}]
        call = self._client.chat.completions.create(
            model=self._expert.model, messages=messages, **self._request
        )
        try:
            reply = await asyncio.wait_for(call, self._expert.timeout)
            return self._answer(reply)
        except (self._errors.APITimeoutError, asyncio.TimeoutError) as error:
            raise CallError(f"no answer within {self._expert.timeout:g} s", again=True) from error
        except self._errors.APIStatusError as error:
            raise self._refusal(error) from None
        except self._errors.APIConnectionError as error:
            reason = str(error.__cause__ or error) or "connection lost"
            raise CallError(self._clean(f"connection: {reason}"), again=True) from None
        except (self._errors.OpenAIError, ValueError, TypeError, AttributeError) as error:
            text = f"a reply that cannot be read: {error}"
            raise CallError(self._clean(text), again=True) from None

    async def close(self) -> None:
        await self._client.close()

    def _answer(self, reply: Any) -> Answer:
        choice = reply.choices[0] if reply.choices else None
        if choice is None:
            raise ValueError("no choices")
        text = choice.message.content
        if text is None:
            reason = choice.message.refusal or f"finish_reason {choice.finish_reason}"
            raise CallError(self._clean(f"no text ({reason})"))
        if not isinstance(text, str):
            raise TypeError("the content is no text")
        usage = reply.usage
        counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        return Answer(self._clean(text), (int(counts[0] or 0), int(counts[1] or 0)))

    def _refusal(self, error: Any) -> CallError:
        status = error.status_code
        message = self._clean(f"HTTP {status}: {_message(error)}")
        spent = getattr(error, "code", None) == "insufficient_quota"
        return CallError(
            message,
            again=status in _AGAIN or status >= 500,
            wait=retry_after(error.response.headers),
            fatal=status in _FATAL or spent,
        )

    def _clean(self, text: str) -> str:
        """Hide the key, wherever a server or a library repeats it."""
        return text.replace(self._key, HIDDEN) if self._key else text


class _Function:
    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        module, name = expert.callable.split(":")
        try:
            self._function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise DataError(
                f"expert {expert.name!r}: cannot import {expert.callable!r} ({error})"
            ) from error
        if not callable(self._function):
            raise DataError(f"expert {expert.name!r}: {expert.callable!r} cannot be called")

    async def ask(self, prompt: str) -> Answer:
        started = time.monotonic()
        work = asyncio.to_thread(self._function, prompt)
        try:
            text = await asyncio.wait_for(work, self._expert.timeout)
        except asyncio.TimeoutError as error:
            if time.monotonic() - started < self._expert.timeout:  # the function's own
                raise CallError(f"TimeoutError: {error}") from error
            raise CallError(f"no answer within {self._expert.timeout:g} s") from error
        except Exception as error:
            raise CallError(f"{type(error).__name__}: {error}") from error
        if not isinstance(text, str):
            raise CallError(f"expected text, found {type(text).__name__}")
        return Answer(text)

    async def close(self) -> None:
        pass


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a reply asks to wait: Retry-After (RFC 9110, 10.2.3), or 0."""
    found = headers.get("retry-after-ms")
    scale = 1000.0 if found else 1.0
    found = found or headers.get("retry-after", "")
    try:
        return max(0.0, float(found) / scale) if found else 0.0
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(found).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _message(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        found = inner.get("message") if isinstance(inner, dict) else inner
        return str(found or body)
    return str(body or error.message)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
