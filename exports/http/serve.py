"""Serve a router over HTTP: prompts in, decisions out. Copy it and make it yours.

python serve.py ROUTER --port 8000
curl -d '{"prompts": ["What is 17 * 23?"]}' http://localhost:8000/route
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from bisect import bisect_left
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from zooter_lite import Router
from zooter_lite.cores import cores
from zooter_lite.errors import DataError, ZooterError

KEYS = {"prompts": "list", "point": "str", "allowed": "list", "top": "int", "max_cost": "int|float"}
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # of the histogram


class Service:
    """The endpoints: the router works in threads, the counters in the event loop."""

    def __init__(self, router: Router, max_body: int = 2**20, max_prompts: int = 256) -> None:
        self.router, self.max_body, self.max_prompts = router, max_body, max_prompts
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="route")
        self._statuses, self._experts = Counter[int](), Counter[str]()
        self._latencies, self._seconds = Counter[int](), 0.0

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/route", self.route, methods=["POST"]),
            Route("/healthz", self.healthz),
            Route("/metrics", self.metrics),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: refused})

    async def route(self, request: Request) -> Response:
        """Answer a request for decisions, and count it."""
        started = time.perf_counter()
        try:
            body, loop = bytearray(), asyncio.get_running_loop()
            async for chunk in request.stream():
                body += chunk
                if len(body) > self.max_body:
                    raise HTTPException(413, f"the body has more than {self.max_body} bytes")
            decisions = await loop.run_in_executor(self._pool, self._decide, body)
            self._experts.update(decision["expert"] for decision in decisions)
            response: Response = JSONResponse({"decisions": decisions})
        except (HTTPException, DataError, ClientDisconnect) as error:
            response = await refused(request, error)
        except Exception:
            logging.getLogger("uvicorn.error").exception("POST /route")
            response = JSONResponse({"error": "internal error; the log says more"}, 500)
        seconds = time.perf_counter() - started
        self._statuses[response.status_code] += 1
        self._latencies[bisect_left(SECONDS, seconds)] += 1
        self._seconds += seconds
        return response

    def _decide(self, body: bytearray) -> list[dict[str, Any]]:
        wish = wish_of(body)
        prompts, top = wish.pop("prompts"), wish.pop("top", None)
        if len(prompts) > self.max_prompts:
            raise HTTPException(413, f"{len(prompts)} prompts; expected at most {self.max_prompts}")
        found = [asdict(decision) for decision in self.router.route(prompts, **wish)]
        known = [{name: part for name, part in one.items() if part is not None} for one in found]
        return [one | {"ranking": one["ranking"][:top]} for one in known]

    async def healthz(self, _: Request) -> Response:
        """Tell that the router is loaded, and what it offers."""
        experts, points = self.router.experts, list(self.router.points)
        return JSONResponse({"status": "ok", "experts": experts, "points": points})

    async def metrics(self, _: Request) -> Response:
        """Return the counters in the text format of Prometheus."""
        counts = {f'requests_total{{status="{key}"}}': n for key, n in self._statuses.items()}
        counts["prompts_total"] = self._experts.total()
        for name, count in self._experts.items():
            counts[f"decisions_total{{expert={json.dumps(name, ensure_ascii=False)}}}"] = count
        lines = [f"zooter_{name} {count}" for name, count in counts.items()]
        lines.append("# TYPE zooter_request_seconds histogram")
        for place, most in enumerate([*map(str, SECONDS), "+Inf"]):
            below = sum(self._latencies[one] for one in range(place + 1))
            lines.append(f'zooter_request_seconds_bucket{{le="{most}"}} {below}')
        lines.append(f"zooter_request_seconds_sum {self._seconds}")
        lines.append(f"zooter_request_seconds_count {self._latencies.total()}\n")
        return PlainTextResponse("\n".join(lines), media_type="text/plain; version=0.0.4")


def wish_of(body: bytearray) -> dict[str, Any]:
    """Return what a body asks for; DataError for what it may not hold."""
    try:
        wish = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the body is not JSON ({error})") from error
    if not isinstance(wish, dict) or wish.get("prompts") is None:
        raise DataError('expected a JSON object with "prompts", a list of texts or chats')
    wish = {key: value for key, value in wish.items() if value is not None}
    for key, value in wish.items():
        if key not in KEYS:
            raise DataError(f"key {key!r:.40}: expected {', '.join(KEYS)}")
        if type(value).__name__ not in KEYS[key].split("|"):
            raise DataError(f"{key}: expected {KEYS[key]}, found {type(value).__name__}")
    if not all(isinstance(name, str) for name in wish.get("allowed", ())):
        raise DataError("allowed: expected a list of names")
    if not 0 <= wish.get("max_cost", 0) < 1e30 or wish.get("top", 1) < 1:
        raise DataError("expected a max_cost from 0 and a top from 1")
    return wish


async def refused(_: Request, error: Exception) -> Response:
    """Tell in one line what is wrong with a request."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    return JSONResponse({"error": str(error) or "the body ended early"}, 400)


def main() -> None:
    """Load the router, or end with exit code 2; then serve until a signal."""
    parser = argparse.ArgumentParser(description="Serve a router over HTTP.")
    parser.add_argument("router", help="router directory")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000")
    options = parser.parse_args()
    try:
        app = Service(Router.load(options.router, threads=1)).app()  # a core for each request
    except ZooterError as error:
        parser.exit(2, f"serve.py: {error}\n")
    uvicorn.run(app, host=options.host, port=options.port, limit_concurrency=1024, access_log=False)


if __name__ == "__main__":
    main()
