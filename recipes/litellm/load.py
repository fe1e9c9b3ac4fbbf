"""What the plugin adds to a request's latency in LiteLLM's proxy, and what faults lose.

`python -m recipes.litellm.load latency ROUTER TABLE` and `... faults ROUTER TABLE` print tables.
The experts are a server on this machine that answers at once. Two proxies run side by side, one
with the plugin and one without; they get the same prompts, in turns.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai

from tests.litellm_proxy import KEY, configured, running
from tests.llm_server import Canned, echo, refusal, serving
from zooter_lite import Router
from zooter_lite.table import RewardTable

REQUESTS = {1: 100, 32: 400}  # of each proxy, by clients
FAULTY = 1000  # requests among which the faults are
FAULTS = ("none", "down", "429", "slow", "router broken")  # each in a fifth of the requests
CLIENTS = 32
ROUNDS = 5


@contextmanager
def proxies(router: Path, url: str) -> Iterator[dict[str, openai.AsyncOpenAI]]:
    """Run the two proxies; yield their clients."""
    experts = Router.load(router).experts
    deployments = [("auto", f"openai/{expert}", url) for expert in experts]
    models = {expert: f"openai/{expert}" for expert in experts}
    with ExitStack() as stack:
        clients = {}
        for name in ("without", "with"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            own = {"router": str(router), "models": models, "journal": "log.jsonl"}
            plugin = own if name == "with" else None
            environment = configured(folder, deployments, plugin, timeout=1.0)
            clients[name] = openai.AsyncOpenAI(
                base_url=stack.enter_context(running(folder, environment)),
                api_key=KEY,
                max_retries=0,
                timeout=120,
                # both ends close idle connections after five seconds, and may collide in that
                default_headers={"connection": "close"},
            )
        yield clients


async def asked(client: openai.AsyncOpenAI, prompt: str, session: str) -> float:
    """Ask one prompt; return the milliseconds it took."""
    start = time.perf_counter()
    await client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": prompt}],
        extra_body={"metadata": {"session_id": session}},
    )
    return 1000 * (time.perf_counter() - start)


async def latencies(
    clients: dict[str, openai.AsyncOpenAI], prompts: list[str], at_once: int
) -> dict[str, list[float]]:
    """Milliseconds of every request, by proxy; the two take turns of a fifth of the prompts."""
    found: dict[str, list[float]] = {name: [] for name in clients}
    gate = asyncio.Semaphore(at_once)

    async def one(name: str, number: int) -> None:
        async with gate:
            found[name].append(await asked(clients[name], prompts[number], str(number)))

    for part in range(ROUNDS):
        for name in sorted(clients, reverse=part % 2 == 1):
            numbers = range(part, len(prompts), ROUNDS)
            await asyncio.gather(*(one(name, number) for number in numbers))
    return found


def latency(router: Path, prompts: list[str]) -> None:
    """Print the latencies with and without the plugin."""
    command = [sys.executable, "-m", "tests.llm_server"]
    experts = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert experts.stdout is not None
    print("| clients | requests | p50 without | p50 with | p99 without | p99 with |")
    print("|---|---|---|---|---|---|")
    try:
        with proxies(router, experts.stdout.readline().strip()) as clients:
            asyncio.run(measured(clients, prompts))
    finally:
        experts.terminate()
        experts.wait()


async def measured(clients: dict[str, openai.AsyncOpenAI], prompts: list[str]) -> None:
    """Warm both proxies up, then print a row for each number of clients."""
    await latencies(clients, prompts[:20], 4)
    for at_once, requests in REQUESTS.items():
        # no prompt twice: a repeated one would cost the router nothing
        texts = [f"{prompts[n % len(prompts)]} ({at_once}, {n})" for n in range(requests)]
        found = await latencies(clients, texts, at_once)
        cells = [
            f"{np.percentile(found[name], part):.1f} ms"
            for part in (50, 99)
            for name in ("without", "with")
        ]
        print(f"| {at_once} | {requests} | {' | '.join(cells)} |")


def faults(router: Path, prompts: list[str]) -> None:
    """Print how many requests are answered while one expert fails or the router is broken."""
    popular, now = favourite(Router.load(router), prompts), {"fault": "none"}

    def reply(request: dict[str, Any]) -> str | Canned:
        fault = now["fault"] if request["model"] == popular else "none"
        if fault == "429":
            return refusal(429, "busy", "retry-after: 0\r\n")
        if fault == "down":
            return Canned(sent=-1)
        return Canned(delay=3.0) if fault == "slow" else echo(request)

    print("| fault | requests | lost without | lost with | p50 with | p99 with |")
    print("|---|---|---|---|---|---|")
    with serving(reply) as server, tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "router"
        shutil.copytree(router, copy)
        with proxies(copy, server.url) as clients:

            async def suffered() -> None:
                share = FAULTY // len(FAULTS)
                for place, fault in enumerate(FAULTS):
                    now["fault"] = fault
                    if fault == "router broken":
                        (copy / "config.json").write_text("{", "utf-8")
                    texts = prompts[place * share : (place + 1) * share]
                    print(
                        row(fault, {n: await lost(one, texts) for n, one in clients.items()}),
                        flush=True,
                    )

            asyncio.run(suffered())


def favourite(router: Router, prompts: list[str]) -> str:
    """Return the expert that most prompts go to."""
    return Counter(decision.expert for decision in router.route(prompts)).most_common(1)[0][0]


async def lost(client: openai.AsyncOpenAI, prompts: list[str]) -> list[float]:
    """Milliseconds of every request of `CLIENTS` at a time; NaN where none was answered."""
    gate = asyncio.Semaphore(CLIENTS)

    async def one(number: int, prompt: str) -> float:
        async with gate:
            try:
                return await asked(client, prompt, f"{prompt[:40]} {number}")
            except openai.OpenAIError as error:
                print(error, file=sys.stderr)
                return float("nan")

    return list(await asyncio.gather(*(one(n, prompt) for n, prompt in enumerate(prompts))))


def row(fault: str, found: dict[str, list[float]]) -> str:
    """Write the row of one fault."""
    missing = {name: int(np.isnan(values).sum()) for name, values in found.items()}
    p50, p99 = np.nanpercentile(found["with"], (50, 99))
    counts = f"{len(found['with'])} | {missing['without']} | {missing['with']}"
    return f"| {fault} | {counts} | {p50:.0f} ms | {p99:.0f} ms |"


def main(what: str, router: str, source: str) -> None:
    """Measure latency or faults."""
    table = RewardTable.read(source, responses=False)
    prompts = list(table.queries)[:FAULTY]
    {"latency": latency, "faults": faults}[what](Path(router).absolute(), prompts)


if __name__ == "__main__":
    main(*sys.argv[1:])
