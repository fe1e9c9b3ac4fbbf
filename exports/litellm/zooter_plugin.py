"""Route LiteLLM's requests with an exported router: a routing plugin for its proxy and Router.

    router_settings:
      plugins: [zooter_plugin.plugin]      # made from zooter.json, beside this file

    Router(model_list=..., plugins=[ZooterPlugin("../sample", {"small": "openai/small"})])

LiteLLM asks it before each attempt at a request which of a group's models it may call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import random
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol, cast

from zooter_lite import DataError, Router, RouterError, ZooterError
from zooter_lite.files.journal import Journal
from zooter_lite.files.messages import Context as Turns
from zooter_lite.files.messages import prompt_of

SIGNAL = (
    "zooter"  # a decision is published in the request's metadata: routing_plugin_signals.zooter
)
REFRESH = 5.0  # seconds after which the router directory is looked at again
SESSIONS = 100_000  # whose expert is remembered
REQUESTS = 10_000  # whose last decision is remembered, for a retry
_NARROWED = "_routing_plugin_candidate_models"  # where LiteLLM keeps what the attempt before left
_LOG = logging.getLogger("zooter_lite.litellm")


class Context(Protocol):
    """What a plugin is handed: LiteLLM's RoutingContext."""

    structured_messages: list[dict[str, object]]
    candidate_models: list[str]
    metadata: dict[str, Any]
    signals: dict[str, object]


class Attempt(NamedTuple):
    """An attempt at a request: its first, or one after the experts in `tried` failed."""

    request: str
    session: str
    experts: list[str]  # whose models are candidates
    tried: list[str]
    chances: dict[str, float]  # of each expert to be the first


class ZooterPlugin:
    """Narrow a request's candidate models to the one of the expert that the router chooses.

    It fails open: where it cannot decide, the candidates stay as they are.

    Parameters
    ----------
    router
        The router directory. It is read again when another router is written there.
    models
        The model of each expert, as `litellm_params.model` spells it in the model list.
    point
        Operating point; None for the router's own.
    margin
        A session changes its expert only for more expected reward than this, in the unit of
        the reward table, less what the point makes of the cost; 0 or more.
    explore
        Chance that a request goes to any eligible expert, all equally likely; 0 to 1.
    journal
        File that every decision is appended to, as a JSON line; None keeps none.

    Raises
    ------
    DataError
        An option is out of its range, or names what the router does not have.
    """

    def __init__(
        self,
        router: str | Path,
        models: Mapping[str, str],
        *,
        point: str | None = None,
        margin: float = 0.02,
        explore: float = 0.0,
        journal: str | Path | None = None,
    ) -> None:
        if not 0 <= explore <= 1 or not margin >= 0:
            raise DataError(f"explore {explore}, margin {margin}: expected 0 to 1, and 0 or more")
        if len(set(models.values())) < max(2, len(models)):
            raise DataError("models: expected two experts or more, each with a model of its own")
        self._folder, self._models, self._point = Path(router), dict(models), point
        self._margin, self._explore = margin, explore
        self._journal_path = None if journal is None else Path(journal)
        self._journal: Journal | None = None
        self._router: Router | None = None
        self._stamp, self._looked = (0, 0), 0.0
        self._homes = OrderedDict[str, str]()  # the expert of each session
        self._asked = OrderedDict[str, dict[str, Any]]()  # the last decision of each request
        self._random, self._told = random.Random(), set[str]()
        self._lock, self._loading = Lock(), Lock()
        self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "zooter")
        try:
            self._load()
        except RouterError as error:
            self._tell(error)

    async def run(self, context: Context) -> Context:
        """Decide, off the event loop, and leave the chosen expert's model among the candidates."""
        decision = None
        try:
            loop = asyncio.get_running_loop()
            decision = await loop.run_in_executor(self._pool, self._decide, context)
        except Exception as error:  # whatever it is, the request goes on without the router
            self._tell(error)
        if decision is not None:
            model = decision["model"]
            context.candidate_models = [one for one in context.candidate_models if one == model]
            context.signals[SIGNAL] = decision
        narrowed = context.metadata.get(_NARROWED)
        if isinstance(narrowed, list):  # LiteLLM obeys it again where nothing is narrowed now
            narrowed[:] = context.candidate_models
        return context

    def _decide(self, context: Context) -> dict[str, Any] | None:
        """Return what is published of the decision; None where there is nothing to decide."""
        router, candidates = self._fresh(), set(context.candidate_models)
        experts = [one for one in router.experts if self._models.get(one) in candidates]
        if not experts or not context.structured_messages:
            return None
        try:
            turns = cast(Turns, router.config.training.context)
            text = prompt_of(context.structured_messages, turns).text
        except ValueError:  # a chat without any text
            return None
        attempt = _attempt(context, experts, self._asked)
        decision = self._choose(router, text, attempt) | {
            "request": attempt.request,
            "session": attempt.session,
            "tried": attempt.tried,
            "retries": context.metadata.get("request_retry_count") or 0,
        }
        with self._lock:
            self._asked[attempt.request] = decision
            if len(self._asked) > REQUESTS:
                self._asked.popitem(last=False)
        self._write({"query": text} | decision)
        return decision

    def _choose(self, router: Router, text: str, attempt: Attempt) -> dict[str, Any]:
        point = router.point(self._point)
        ranking = router.route([text], point=point, allowed=attempt.experts)[0].ranking
        left = [one for one in ranking if one not in attempt.tried] or list(ranking)
        predicted = router.predict([text])
        parts = {"probability": predicted.probs, "expected_reward": predicted.rewards}
        parts["expected_cost"] = predicted.costs
        known = {
            name: dict(zip(router.experts, values[0].tolist(), strict=True))
            for name, values in parts.items()
            if values is not None
        }
        worth = known.get("expected_reward", known["probability"])
        if point.cost_weight:
            costs = known["expected_cost"]
            worth = {one: worth[one] - point.cost_weight * costs[one] for one in worth}
        with self._lock:
            chosen, reason = left[0], f"point {point.name}"
            home = self._homes.get(attempt.session)
            if point.expert is None and home is not None and home in left and home != chosen:
                gain = worth[chosen] - worth[home]
                reason += f", session {'moves' if gain > self._margin else 'stays'}: {gain:+.3g}"
                chosen = chosen if gain > self._margin else home
            self._homes[attempt.session] = chosen
            self._homes.move_to_end(attempt.session)
            if len(self._homes) > SESSIONS:
                self._homes.popitem(last=False)
            chances = attempt.chances or self._chances(chosen, attempt)
            if not attempt.tried and self._random.random() < self._explore:
                chosen, reason = self._random.choice(attempt.experts), "explored"
        if attempt.tried:
            reason += f", after {', '.join(attempt.tried)}"
        # what would have gone to an expert that failed goes to the one after it
        propensity = sum(chances.get(one, 0.0) for one in {*attempt.tried, chosen})
        return {
            "expert": chosen,
            "model": self._models[chosen],
            **{name: values[chosen] for name, values in known.items()},
            "reason": reason,
            "propensity": min(1.0, propensity),
            "chances": chances,
        }

    def _chances(self, chosen: str, attempt: Attempt) -> dict[str, float]:
        explore = 0.0 if attempt.tried else self._explore
        share = explore / len(attempt.experts)
        return {one: share + (1 - explore) * (one == chosen) for one in attempt.experts}

    def _fresh(self) -> Router:
        """Return the router, read again where its directory has changed."""
        now = time.monotonic()
        if now - self._looked > REFRESH and self._loading.acquire(blocking=False):
            try:
                if self._router is None or _stamp(self._folder) != self._stamp:
                    self._load()
            except ZooterError as error:  # the one in memory goes on
                self._tell(error)
            finally:
                self._looked = now
                self._loading.release()
        if self._router is None:
            raise RouterError(f"{self._folder}: no router was loaded")
        return self._router

    def _load(self) -> None:
        stamp, router = _stamp(self._folder), Router.load(self._folder, threads=1)
        unknown, names = sorted(set(self._models) - set(router.experts)), ", ".join(router.experts)
        if unknown:
            raise DataError(f"models: no expert {unknown[0]!r}; expected {names}")
        router.point(self._point)
        self._router, self._stamp = router, stamp
        self._told.clear()

    def _write(self, record: dict[str, Any]) -> None:
        if self._journal_path is None:
            return
        try:
            with self._lock:
                if self._journal is None:
                    self._journal = _open_journal(self._journal_path)
                time_now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
                self._journal.append({"time": time_now} | record)
        except ZooterError as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Log a problem, in one line, once."""
        line = " ".join(f"{type(error).__name__}: {error}".split())
        if line not in self._told and len(self._told) < 100:
            self._told.add(line)
            _LOG.error("%s (no request is lost by this; said once)", line)


def _attempt(context: Context, experts: list[str], asked: Mapping[str, dict[str, Any]]) -> Attempt:
    """Tell a request's first attempt from those after a failure, and find its session.

    A client may write metadata of its own, so only the request's name is taken from there.
    """
    metadata, messages = context.metadata, context.structured_messages
    signal = (metadata.get("routing_plugin_signals") or {}).get(SIGNAL) or {}
    before = asked.get(str(signal.get("request"))) if isinstance(signal, dict) else None
    # metadata that a caller uses for a second request holds the signals of the first, too
    if before and (metadata.get("request_retry_count") or 0) > before["retries"]:
        chances = before["chances"] if set(before["chances"]) & set(experts) else {}
        tried = [*before["tried"], before["expert"]]
        return Attempt(before["request"], before["session"], experts, tried, chances)
    headers = metadata.get("headers") or {}
    request = metadata.get("request_id") or headers.get("x-litellm-call-id") or uuid.uuid4().hex
    session = metadata.get("session_id")
    if session is None:  # a chat is told by who sends it and how it opens
        others = [message.get("role") not in ("system", "developer") for message in messages]
        first = others.index(True) if True in others else len(messages)
        opening = [metadata.get("user_api_key_hash"), messages[: first + 1]]
        text = json.dumps(opening, sort_keys=True, default=str)
        session = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Attempt(str(request), str(session), experts, [], {})


def _stamp(folder: Path) -> tuple[int, int]:
    try:
        status = (folder / "config.json").stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def _open_journal(path: Path) -> Journal:
    """Open a journal; where another worker writes to it, one with this process's number."""
    try:
        return Journal(path)
    except DataError:
        if not path.is_file():
            raise
        return Journal(path.with_suffix(f".{os.getpid()}{path.suffix}"))


def __getattr__(name: str) -> Any:
    """Make `plugin` of zooter.json, beside this file or where $ZOOTER_SETTINGS says."""
    if name != "plugin":
        raise AttributeError(name)
    path = Path(os.environ.get("ZOOTER_SETTINGS", Path(__file__).with_name("zooter.json")))
    settings = json.loads(path.read_text("utf-8"))
    places = {key: path.parent / settings[key] for key in ("router", "journal") if key in settings}
    return ZooterPlugin(**settings | places)
