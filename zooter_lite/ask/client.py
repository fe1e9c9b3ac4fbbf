"""One call to one expert: an OpenAI-compatible server, or a Python function."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TypeAlias

from zooter_lite.ask.pool import VARIABLE, Expert
from zooter_lite.ask.reply import Answer, CallError, answer_of, refusal, retry_after
from zooter_lite.errors import DataError, needs

HIDDEN = "[hidden]"
SHORTEST_SECRET = 8  # characters; "none" or "EMPTY" is no secret, and may stand in an answer


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
        with needs("experts", "asking an LLM"):
            import httpx2
        self._errors, self._expert = httpx2, expert
        self._secrets: list[re.Pattern[str]] = []
        self._url = expert.base_url.rstrip("/") + "/chat/completions"
        headers, query = self._filled(expert.headers), self._filled(expert.query)
        if expert.api_key_env:
            headers = {"Authorization": f"Bearer {self._key(expert.api_key_env)}", **headers}
        limits = httpx2.Limits(max_connections=None)
        try:
            httpx2.URL(self._url)
            self._client = httpx2.AsyncClient(
                headers=headers, params=query, timeout=None, limits=limits
            )
        except (ValueError, httpx2.InvalidURL) as error:  # of a proxy, or of base_url
            raise DataError(f"expert {expert.name!r}: cannot be asked ({error})") from error
        system = [{"role": "system", "content": _encodable(expert.system)}]
        self._system = system if expert.system else []

    async def ask(self, prompt: str) -> Answer:
        messages = [*self._system, {"role": "user", "content": _encodable(prompt)}]
        request = {**self._expert.sampling, "model": self._expert.model, "messages": messages}
        call = self._client.post(self._url, json=request)
        try:
            reply = await asyncio.wait_for(call, self._expert.timeout)
        except asyncio.TimeoutError:
            text = f"no answer within {self._expert.timeout:g} s"
            raise CallError(text, charged=True) from None
        except self._errors.HTTPError as error:
            text = self._hide(f"connection: {error or type(error).__name__}, at {self._url}")
            sent = not isinstance(error, self._errors.ConnectError)
            raise CallError(text, charged=sent) from None
        body = self._hide(reply.text)
        if reply.status_code < 300:
            return answer_of(body)
        # a redirect is not followed: the pool file says where prompts and keys go
        place = f" for {self._url}" if reply.status_code < 400 or reply.status_code == 404 else ""
        if place and not re.search(r"/v\d|/openai/", place):
            place += " (base_url usually ends with /v1)"
        raise refusal(reply.status_code, body, retry_after(reply.headers), place)

    async def close(self) -> None:
        await self._client.aclose()

    def _filled(self, table: Mapping[str, str]) -> dict[str, str]:
        """Put the values of variables into texts."""
        return {
            name: VARIABLE.sub(lambda place: self._key(place[1]), text)
            for name, text in table.items()
        }

    def _key(self, name: str) -> str:
        """Read a key from the environment, and remember to hide it."""
        key = os.environ.get(name, "").strip()
        where = f"expert {self._expert.name!r}: the environment variable {name}"
        if not key:
            raise DataError(f"{where} is not set")
        if not re.fullmatch(r"[!#-&(-\[\]-~]+", key):  # no blank, quote or backslash
            raise DataError(f"{where} holds a character that a key cannot have")
        if len(key) >= SHORTEST_SECRET:  # in any spelling of JSON, URLs and quoted texts
            spelled = (f"\\\\*(?:{re.escape(c)}|(?i:%{ord(c):02x}|u{ord(c):04x}))" for c in key)
            self._secrets.append(re.compile("".join(spelled)))
        return key

    def _hide(self, text: str) -> str:
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
        done: Future[tuple[object, BaseException | None]] = Future()

        def work() -> None:
            result: tuple[object, BaseException | None]
            try:
                result = self._function(prompt), None
            except BaseException as error:  # SystemExit too is only this call's
                result = None, error
            with suppress(InvalidStateError):  # nobody waits any more
                done.set_result(result)

        # a thread of asyncio would keep the program from ending
        threading.Thread(target=work, daemon=True).start()
        try:
            text, problem = await asyncio.wait_for(asyncio.wrap_future(done), self._timeout)
        except asyncio.TimeoutError:
            raise CallError(f"no answer within {self._timeout:g} s", 0) from None
        if problem is not None:
            raise CallError(f"{type(problem).__name__}: {problem}", 400)
        if not isinstance(text, str):
            raise CallError(f"expected text, found {type(text).__name__}", 400)
        return Answer(text, (0, 0))

    async def close(self) -> None:
        pass  # a function holds no connection


Caller: TypeAlias = _Server | _Function


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
