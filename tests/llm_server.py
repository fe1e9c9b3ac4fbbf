"""An OpenAI-compatible server for tests: answers instantly, counts, and misbehaves as told.

`python -m tests.llm_server --faults 0.1 --log FILE` prints its port; the log has a line for
every request: what became of it, the model, and the prompt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

FAULTS = ("429", "500", "reset", "truncated", "broken", "slow")


@dataclass(frozen=True)
class Canned:
    """A reply as it goes over the line."""

    status: str = "200 OK"
    body: bytes = b""
    headers: str = ""  # lines with their \r\n
    sent: float = 1.0  # share of the body before the connection is closed; -1 resets it at once
    delay: float = 0.0  # seconds before the reply
    kind: str = "canned"  # what the log and the counts call it


Reply = Callable[[dict[str, Any]], "str | Canned"]


def echo(request: dict[str, Any]) -> str:
    """Answer a request with its model and its last message."""
    return f"{request['model']}: {request['messages'][-1]['content']}"


def refusal(status: int, message: str, headers: str = "", **more: Any) -> Canned:
    """Refuse with an error as OpenAI words it."""
    body = json.dumps({"error": {"message": message, **more}}).encode()
    return Canned(f"{status} No", body, headers, kind=str(status))


class Server:
    """Serves POST /v1/chat/completions; a share of the requests gets one of `FAULTS` instead."""

    def __init__(
        self, faults: float = 0.0, reply: Reply = echo, log: IO[str] | None = None, seed: int = 0
    ) -> None:
        self.counts: Counter[str] = Counter()  # of the replies, by kind
        self.requests: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.most_at_a_time: Counter[str] = Counter()
        self.url = ""
        self._reply, self._faults, self._log = reply, faults, log
        self._random = random.Random(seed)
        self._open: Counter[str] = Counter()

    async def start(self) -> asyncio.Server:
        """Listen on the loopback interface."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**26)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if not head.startswith("POST"):  # such as a gateway's look at the models
                    writer.write(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
                    continue
                place = head.lower().index("content-length:") + len("content-length:")
                length = int(head[place : head.index("\r", place)])
                request = json.loads(await reader.readexactly(length))
                name = request["model"]
                self._open[name] += 1
                self.most_at_a_time[name] = max(self.most_at_a_time[name], self._open[name])
                try:
                    if not await self._answer(head, request, writer):
                        break
                finally:
                    self._open[name] -= 1
        writer.close()

    async def _answer(
        self, head: str, request: dict[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        canned = self._canned(request)
        self.counts[canned.kind] += 1
        self.requests.append(request)
        self.headers.append(head)
        if self._log is not None:
            prompt = request["messages"][-1]["content"]
            self._log.write(json.dumps([canned.kind, request["model"], prompt]) + "\n")
            self._log.flush()
        if canned.delay:
            await asyncio.sleep(canned.delay)
        if canned.sent < 0:
            writer.transport.abort()
            return False
        length = len(canned.body)
        kind = "" if "content-type" in canned.headers else "content-type: application/json\r\n"
        lines = (
            f"HTTP/1.1 {canned.status}\r\n{kind}{canned.headers}content-length: {length}\r\n\r\n"
        )
        writer.write(lines.encode() + canned.body[: int(length * canned.sent)])
        await writer.drain()
        return canned.sent == 1

    def _canned(self, request: dict[str, Any]) -> Canned:
        fault = self._random.choice(FAULTS) if self._random.random() < self._faults else ""
        if fault == "429":
            return refusal(429, "injected", "retry-after: 0.05\r\n")
        if fault == "500":
            return refusal(500, "injected")
        reply = self._reply(request)
        if isinstance(reply, Canned):
            return reply
        body = json.dumps(completion(reply, request)).encode()
        if fault == "broken":
            body = body[: len(body) // 2]
        sent = {"reset": -1.0, "truncated": 0.5}.get(fault, 1.0)
        delay = self._random.uniform(0.0, 0.3) if fault == "slow" else 0.0
        return Canned(body=body, sent=sent, delay=delay, kind=fault or "answered")


def completion(text: Any, request: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Wrap a text as a chat completion; a word is a token."""
    words = sum(len(str(m.get("content", "")).split()) for m in request["messages"])
    said = len(str(text).split())
    message = {"role": "assistant", "content": text}
    return {
        "id": "0",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {
            "prompt_tokens": words,
            "completion_tokens": said,
            "total_tokens": words + said,
        },
        **more,
    }


def said(text: Any, request: dict[str, Any], delay: float = 0.0, **more: Any) -> Canned:
    """Reply with a text, after a delay in seconds."""
    return Canned(body=json.dumps(completion(text, request, **more)).encode(), delay=delay)


@contextmanager
def serving(reply: Reply = echo, faults: float = 0.0) -> Iterator[Server]:
    """Serve from a thread of this process."""
    server = Server(faults, reply)
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def finish() -> None:
        listening.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(finish(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def main(argv: list[str]) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        log = stack.enter_context(options.log.open("a")) if options.log else None
        server = Server(options.faults, log=log, seed=options.seed)
        listening = await server.start()
        print(server.url, flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
