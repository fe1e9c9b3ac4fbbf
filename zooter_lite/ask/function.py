"""An expert that is a Python function."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from contextlib import suppress

from zooter_lite.ask.answer import Answer, CallError
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError


class Function:
    """The caller of an expert that is a Python function, from prompt to answer.

    Raises
    ------
    DataError
        It cannot be imported, or not be called.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
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
        """Call the function in a thread; raise CallError where it fails or returns no text."""
        try:
            text, problem = await asyncio.wait_for(
                _in_thread(self._function, prompt), self._expert.timeout
            )
        except asyncio.TimeoutError:
            raise CallError(f"no answer within {self._expert.timeout:g} s") from None
        if problem is not None:
            raise CallError(f"{type(problem).__name__}: {problem}", of_query=True)
        if not isinstance(text, str):
            raise CallError(f"expected text, found {type(text).__name__}", of_query=True)
        return Answer(text, (0, 0))

    async def close(self) -> None:
        """Do nothing; a function holds no connection."""


def _in_thread(
    function: Callable[[str], object], prompt: str
) -> asyncio.Future[tuple[object, BaseException | None]]:
    """Call a function in a thread of its own, which a hanging call cannot keep from ending.

    (The threads of asyncio and concurrent.futures are waited for when the program ends.)
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()

    def settle(text: object, problem: BaseException | None) -> None:
        if not future.done():
            future.set_result((text, problem))

    def work() -> None:
        text, problem = None, None
        try:
            text = function(prompt)
        except BaseException as error:  # SystemExit too is only this call's
            problem = error
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, text, problem)

    threading.Thread(target=work, daemon=True).start()
    return future
