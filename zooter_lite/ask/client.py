"""One call to one expert: an OpenAI-compatible server, or a Python function."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from zooter_lite.ask.pool import VARIABLE, Expert
from zooter_lite.ask.reply import Answer, CallError, answer_of, refusal, retry_after, words_of
from zooter_lite.errors import DataError, needs

HIDDEN = "[hidden]"
SHORTEST_SECRET = 8  # characters; "none" or "EMPTY" is no secret, and may stand in an answer
_BY_PROXY = {403, 407, 502, 503, 504}  # statuses that a proxy in the way may send itself


def caller(expert: Expert) -> Caller:
    """Connect an expert: `ask` answers one prompt or raises CallError, `close` ends connections.

    Raises
    ------
    DataError
        The variable of its key is not set, or its callable cannot be imported or called.
    """
    return _Function(expert) if expert.callable else _Server(expert)


class _Server:
    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        key = _variable(expert, expert.api_key_env) if expert.api_key_env else ""
        self._secrets = list(filter(None, [_secret(key)]))
        headers, query = self._filled(expert.headers), self._filled(expert.query)
        self._url = expert.base_url.rstrip("/") + "/chat/completions"
        with _own_settings():
            with needs("experts", "asking an LLM"):
                import openai
            try:
                self._client = openai.AsyncOpenAI(
                    api_key=key or "none",
                    base_url=expert.base_url,
                    default_headers=headers,
                    default_query=query,
                    timeout=expert.timeout,
                    max_retries=0,  # attempts are counted and paced for all queries together
                )
            except Exception as error:  # of an address that only the client finds wrong
                raise DataError(
                    f"expert {expert.name!r}: base_url {expert.base_url!r} cannot be used "
                    f"({error}){self._proxy()}"
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
            "/chat/completions", cast_to=str, body={**self._request, "messages": messages}
        )
        try:
            body = await asyncio.wait_for(call, self._expert.timeout)
        except (self._errors.APITimeoutError, asyncio.TimeoutError) as error:
            raise self._failure(f"no answer within {self._expert.timeout:g} s", error) from None
        except self._errors.APIStatusError as error:
            raise self._refusal(error) from None
        except self._errors.APIConnectionError as error:
            reason = str(error.__cause__ or error) or "connection lost"
            hint = " (perhaps it speaks http, not https)" if "WRONG_VERSION" in reason else ""
            text = f"connection: {reason}, at {self._url}{hint}{self._proxy()}"
            raise self._failure(text, error) from None
        except Exception as error:  # whatever a server sent; a traceback might show the key
            reason = f"{type(error).__name__}: {error}"
            raise self._failure(f"a reply that cannot be read ({reason})", error) from None
        if body.lstrip().startswith("<"):
            text = (
                f"a web page, which cannot be read as a reply{self._place()}: {body.strip():.200}"
            )
            raise CallError(self._clean(text), again=True, lost=True)
        return answer_of(body, self._clean)

    async def close(self) -> None:
        await self._client.close()

    def _failure(self, text: str, error: Exception) -> CallError:
        sent = not type(error.__cause__).__name__.startswith("Connect")  # of httpx or httpx2
        return CallError(self._clean(text), again=True, lost=sent)

    def _refusal(self, error: Any) -> CallError:
        status, place = error.status_code, ""
        if status in (404, 405):
            place = self._place()
        elif status in _BY_PROXY:
            place = self._proxy()
        quota = {"fatal": True} if getattr(error, "code", None) == "insufficient_quota" else {}
        words = self._clean(f"HTTP {status}{place}: {words_of(error.body or error.message)}")
        return refusal(status, words, wait=retry_after(error.response.headers), **quota)

    def _place(self) -> str:
        hint = "" if re.search(r"/v\d|/openai/", self._url) else " (base_url usually ends with /v1)"
        return f" for {self._url}{hint}"

    def _proxy(self) -> str:
        """Name the variable of the proxy that the calls go through, if any."""
        parts = urlsplit(self._url)
        names = (f"{parts.scheme}_proxy", "all_proxy")
        given = [name for plain in names for name in (plain, plain.upper()) if os.environ.get(name)]
        if not given or proxy_bypass(parts.netloc):
            return ""
        return f" (through the proxy that {given[0]} names; NO_PROXY leaves a host out)"

    def _filled(self, table: Mapping[str, str]) -> dict[str, str]:
        """Put the values of variables into texts, and remember them as secrets."""

        def value(match: re.Match[str]) -> str:
            found = _variable(self._expert, match[1])
            self._secrets.extend(filter(None, [_secret(found)]))
            return found

        return {name: VARIABLE.sub(value, text) for name, text in table.items()}

    def _clean(self, text: str) -> str:
        """Hide every key, wherever a server or a library repeats it."""
        for secret in self._secrets:
            text = secret.sub(HIDDEN, text)
        return text


class _Function:
    def __init__(self, expert: Expert) -> None:
        self._timeout = expert.timeout
        module, name = expert.callable.split(":")
        try:
            self._function = getattr(importlib.import_module(module), name)
        except Exception as error:  # whatever the module does when it is imported
            raise DataError(
                f"expert {expert.name!r}: cannot import {expert.callable!r} "
                f"({type(error).__name__}: {error})"
            ) from error
        if not callable(self._function):
            raise DataError(f"expert {expert.name!r}: {expert.callable!r} cannot be called")

    async def ask(self, prompt: str) -> Answer:
        try:
            text, problem = await asyncio.wait_for(self._in_thread(prompt), self._timeout)
        except asyncio.TimeoutError:
            raise CallError(f"no answer within {self._timeout:g} s") from None
        if problem is not None:
            raise CallError(f"{type(problem).__name__}: {problem}", of_query=True)
        if not isinstance(text, str):
            raise CallError(f"expected text, found {type(text).__name__}", of_query=True)
        return Answer(text, (0, 0))

    async def close(self) -> None:
        pass  # a function holds no connection

    def _in_thread(self, prompt: str) -> asyncio.Future[tuple[object, BaseException | None]]:
        """Call the function in a thread; those of asyncio would keep the program from ending."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()

        def settle(text: object, problem: BaseException | None) -> None:
            if not future.done():
                future.set_result((text, problem))

        def work() -> None:
            text, problem = None, None
            try:
                text = self._function(prompt)
            except BaseException as error:  # SystemExit too is only this call's
                problem = error
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(settle, text, problem)

        threading.Thread(target=work, daemon=True).start()
        return future


Caller: TypeAlias = _Server | _Function


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


def _variable(expert: Expert, name: str) -> str:
    """Read a key from the environment."""
    key = os.environ.get(name, "").strip()
    where = f"expert {expert.name!r}: the environment variable {name}"
    if not key:
        raise DataError(f"{where} is not set")
    if not re.fullmatch(r"[!#-&(-\[\]-~]+", key):  # no blank, quote or backslash
        raise DataError(f"{where} holds a character that a key cannot have")
    return key


def _secret(key: str) -> re.Pattern[str] | None:
    """Match a key in any spelling of JSON, URLs and quoted texts; None where it is no secret."""
    if len(key) < SHORTEST_SECRET:
        return None
    spellings = (f"(?:{re.escape(c)}|%(?i:{ord(c):02x})|u(?i:{ord(c):04x}))" for c in key)
    return re.compile(r"\\*".join(spellings))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
