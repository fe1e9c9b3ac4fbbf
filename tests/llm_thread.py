"""The tests' LLM server in a thread of the test's own process, with replies as told."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from tests.llm_server import Reply, Server


@contextmanager
def serving(reply: Reply, faults: float = 0.0) -> Iterator[tuple[Server, str]]:
    """Serve on loopback while the block runs; yields the server and its base_url."""
    server = Server(faults, reply)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def serve() -> None:
        stop, listening = asyncio.Event(), await server.start()
        port = listening.sockets[0].getsockname()[1]
        started.set_result((asyncio.get_running_loop(), stop, port))
        await stop.wait()
        listening.close()  # asyncio.run cancels the tasks of open connections

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    loop, stop, port = started.result(10)
    try:
        yield server, f"http://127.0.0.1:{port}/v1"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def prompt_of(request: dict[str, Any]) -> str:
    """Last message of a request."""
    return str(request["messages"][-1]["content"])


def quoted_texts(prompt: str) -> dict[str, str]:
    """Texts between marks, by the name that the marks give."""
    found = re.findall(r"\[(\w+) (\w{16}) begins\]\n(.*?)\n\[\1 \2 ends\]", prompt, re.S)
    return {name: text for name, _, text in found}
