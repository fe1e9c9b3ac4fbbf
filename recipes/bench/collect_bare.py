"""The floor of `collect`: the same bodies posted by a bare HTTP client, and the answers read.

`python -m recipes.bench.collect_bare URL QUERIES EXPERTS CONCURRENCY` prints seconds and CPU
seconds of the calls alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2


async def _worker(client: httpx2.AsyncClient, url: str, model: str, texts: Iterator[str]) -> None:
    for text in texts:
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        reply = await client.post(url, json=body)
        answer = reply.json()["choices"][0]["message"]["content"]
        assert answer == f"{model}: {text}"


async def _work(url: str, texts: list[str], experts: int, concurrency: int) -> None:
    workers = []
    async with httpx2.AsyncClient(timeout=120) as client:
        for i in range(experts):
            left = iter(texts)
            workers += [
                _worker(client, f"{url}/chat/completions", f"m{i}", left)
                for _ in range(concurrency)
            ]
        await asyncio.gather(*workers)


def main(url: str, queries: str, experts: str, concurrency: str) -> None:
    """Post every query once for every expert."""
    lines = Path(queries).read_text("utf-8").splitlines()
    texts = [str(json.loads(line)["query"]) for line in lines]
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(_work(url, texts, int(experts), int(concurrency)))
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))


if __name__ == "__main__":
    main(*sys.argv[1:])
