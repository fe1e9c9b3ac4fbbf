"""An OpenAI-compatible server for tests: echoes instantly, counts, and misbehaves as told.

`python -m tests.llm_server --faults 0.1 --log FILE` prints its port; the log has a line for
every request: what became of it, the model, and the prompt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

FAULTS = ("429", "500", "reset", "truncated", "broken", "slow")
Reply = Callable[[dict[str, Any]], str]


def echo(request: dict[str, Any]) -> str:
    """Answer a request with its model and its last message."""
    return f"{request['model']}: {request['messages'][-1]['content']}"


class Server:
    """Serves POST /v1/chat/completions.

    Parameters
    ----------
    faults
        Share of the requests that get one of `FAULTS` instead of an answer.
    reply
        From request to answer.
    log
        Open for writing; a line for every request.
    """

    def __init__(
        self, faults: float = 0.0, reply: Reply = echo, log: IO[str] | None = None, seed: int = 0
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self._faults, self._reply, self._log = faults, reply, log
        self._random = random.Random(seed)

    async def start(self, port: int = 0) -> asyncio.Server:
        """Listen on the loopback interface."""
        return await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = dict(
                    line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line
                )
                body = await reader.readexactly(int(lines.get("content-length", "0")))
                if not await self._answer(head, json.loads(body), writer):
                    break
        writer.close()

    async def _answer(
        self, head: str, request: dict[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        fault = ""
        if self._random.random() < self._faults:
            fault = self._random.choice(FAULTS)
        kind = fault or "answered"
        self.counts[kind] += 1
        if self._log is None:
            self.requests.append(request)
            self.headers.append(head)
        else:
            prompt = request["messages"][-1]["content"]
            self._log.write(json.dumps([kind, request["model"], prompt]) + "\n")
            self._log.flush()
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault == "slow":
            await asyncio.sleep(self._random.uniform(0.0, 0.3))
        if fault in ("429", "500"):
            error = json.dumps({"error": {"message": f"injected {fault}"}}).encode()
            wait = "retry-after: 0.05\r\n" if fault == "429" else ""
            _send(writer, f"{fault} No", error, wait)
        else:
            content = json.dumps(completion(self._reply(request), request)).encode()
            if fault == "broken":
                content = content[: len(content) // 2]
            promised = len(content)
            if fault == "truncated":
                content = content[: promised // 2]
            _send(writer, "200 OK", content, "", promised)
            if fault == "truncated":
                return False
        await writer.drain()
        return True


def completion(text: str, request: dict[str, Any]) -> dict[str, Any]:
    """Wrap a text as a chat completion; a word is a token."""
    words = sum(len(str(m["content"]).split()) for m in request["messages"])
    return {
        "id": "0",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {
            "prompt_tokens": words,
            "completion_tokens": len(text.split()),
            "total_tokens": words + len(text.split()),
        },
    }


def _send(
    writer: asyncio.StreamWriter, status: str, body: bytes, extra: str, promised: int | None = None
) -> None:
    length = len(body) if promised is None else promised
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}"
    writer.write(f"{head}content-length: {length}\r\n\r\n".encode() + body)


async def main(argv: list[str]) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args(argv)
    with options.log.open("a") as log:
        server = await Server(options.faults, log=log).start()
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
