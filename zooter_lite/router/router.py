"""Router: load a directory, then prompts in, decisions out."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError, RouterError
from zooter_lite.files.messages import Context, prompt_of
from zooter_lite.router.decision import (
    Decision,
    Doubt,
    Mask,
    Predictions,
    choose,
    decisions,
    point_on,
    within_budget,
)
from zooter_lite.router.directory.config import Point, RouterConfig
from zooter_lite.router.directory.store import RouterFiles, read_router
from zooter_lite.router.explanation import Explanation, explain_decision
from zooter_lite.router.forked import tell_after_fork
from zooter_lite.router.head import Head
from zooter_lite.router.notebook import router_html
from zooter_lite.router.runtime import OUTPUTS, Precision, Runtime
from zooter_lite.router.session import TextSession
from zooter_lite.tags.index import TagIndex
from zooter_lite.untrusted.onnx_check import check_graph
from zooter_lite.untrusted.verified import VerifiedFile

FloatArray = NDArray[np.float32]
MAX_THREADS = 256  # onnxruntime ends the process where the system refuses it a thread


def _silent(_: int) -> None:
    """Report no progress."""


class Router:
    """Routes prompts to experts; safe to share between threads, to fork, and to pickle.

    In a forked child it starts its own session with the first prompt. Pickled, it is its
    folder and the options it was loaded with, so the folder must stand where it is read.

    Examples
    --------
    >>> router = Router.load("exports/sample")  # doctest: +SKIP
    >>> router.route(["What is 17 * 23?"])[0].expert  # doctest: +SKIP
    'calculator'
    """

    def __init__(self, files: RouterFiles, runtime: Runtime, options: Mapping[str, Any]) -> None:
        self._files = files
        self._started: Runtime | None = runtime
        self._options = options
        costs = options.get("costs")
        self._cost_factors = None if costs is None else _cost_factors(files.config, costs)
        self._starting = Lock()
        tell_after_fork(self)

    @classmethod
    def load(
        cls,
        path: str | Path,
        precision: Precision = "fp32",
        threads: int | None = None,
        remember: int = 1024,
        *,
        exact: bool = False,
        at_once: int | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> Router:
        """Load a router directory after verifying it.

        Parameters
        ----------
        path
            The router directory.
        precision
            "fp32"; "int8", faster, with the loss that config.json states under `parity`;
            "auto", which answers close calls of int8 again in fp32.
        threads
            Threads of one forward pass. None takes every core up to four, and measures
            on the first long list of prompts whether several side by side are faster.
            One is meant for long lists: as many passes as cores, side by side.
        remember
            Outputs of so many recent prompts are kept, so that repeated ones cost nothing.
        exact
            A prompt's probabilities are the same bits whatever prompts come with it, so that
            work can be divided and repeated at will. For long lists: a short one costs as
            much as eight prompts. Needs a CPU, and one thread.
        at_once
            Forward passes side by side; None for what `threads` says.
        costs
            Mean cost of a prompt by expert, where prices have changed since the fit: expected
            costs are multiplied by what an expert's mean has changed.

        Raises
        ------
        RouterError
            With what is damaged, missing or unknown, and where.
        DataError
            `threads` or `remember` is out of its range, or `costs` are none that can be used.
        """
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise DataError(f"threads {threads}: expected a number from 1 to {MAX_THREADS}")
        if remember < 0:
            raise DataError(f"remember {remember}: expected a number from 0")
        files = read_router(Path(path))
        options: dict[str, Any] = {
            "precision": precision,
            "threads": threads,
            "remember": remember,
            "exact": exact,
            "at_once": at_once,
        }
        slim = replace(files, tokenizer="")  # the sessions have their own copies
        return cls(slim, _start(files, **options), options | {"costs": costs})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the options, from which it is loaded again."""
        return partial(Router.load, self.folder, **self._options), ()

    def after_fork(self) -> None:
        """Forget the parent's sessions: the child starts its own when it needs them."""
        self._started = None
        self._starting = Lock()

    @property
    def _runtime(self) -> Runtime:
        started = self._started
        if started is None:
            with self._starting:
                started = self._started or self._start_again()
                self._started = started
        return started

    def _start_again(self) -> Runtime:
        files = read_router(self.folder)
        if files.config != self.config:
            raise RouterError(
                f"{self.folder}: another router stands there since this one was loaded, before "
                "this process was forked; load it again"
            )
        return _start(files, **{k: v for k, v in self._options.items() if k != "costs"})

    @property
    def folder(self) -> Path:
        """The directory that it was loaded from."""
        return self._files.folder

    @property
    def experts(self) -> list[str]:
        """Expert names, in the order of the columns of `predict_proba`."""
        return list(self.config.experts)

    @property
    def config(self) -> RouterConfig:
        """The content of config.json."""
        return self._files.config

    @property
    def head(self) -> Head:
        """The head's arrays, as fitted."""
        return self._files.head

    @property
    def tag_index(self) -> TagIndex | None:
        """Tags and nearest training queries; None for a router fitted without tags."""
        return self._files.tags

    def predict_proba(
        self, queries: Sequence[str], progress: Callable[[int], object] = _silent
    ) -> FloatArray:
        """Probability of each expert being the best for each query.

        Parameters
        ----------
        queries
            Prompts: texts, or chats as files/messages.py reads them; longer ones are truncated
            at the encoder's max_length.
        progress
            Called with the number of queries done since the last call.

        Returns
        -------
        (n_queries, n_experts) float32; rows sum to 1, columns in the order of `experts`.
        """
        return self._outputs(queries, ["probs"], progress)[0]

    def predict(
        self, queries: Sequence[str], progress: Callable[[int], object] = _silent
    ) -> Predictions:
        """Probabilities, expected rewards and costs of every expert, and the prompts' novelty.

        Returns
        -------
        An object with `.probs`, `.rewards`, `.costs` (n_queries, n_experts), columns in the
        order of `experts`, and `.novelty` (n_queries,); None for what the router lacks.
        """
        names = [name for name in self._runtime.outputs if name != "embedding"]
        return self.repriced(_named(names, self._outputs(queries, names, progress)))

    def predict_and_embed(
        self, queries: Sequence[str], progress: Callable[[int], object] = _silent
    ) -> tuple[Predictions, FloatArray]:
        """Return `predict` and the unit embeddings (n_queries, dim), in one pass."""
        names = self._runtime.outputs
        outputs = self._outputs(queries, names, progress)
        return self.repriced(_named(names, outputs)), outputs[names.index("embedding")]

    def repriced(self, predicted: Predictions) -> Predictions:
        """Return what the head predicts at the costs that the router was loaded with."""
        if self._cost_factors is None or predicted.costs is None:
            return predicted
        return replace(predicted, costs=predicted.costs * self._cost_factors)

    def embed(
        self, queries: Sequence[str], progress: Callable[[int], object] = _silent
    ) -> tuple[FloatArray, FloatArray]:
        """Return `predict_proba` and the unit embeddings (n_queries, dim), in one pass."""
        probs, embeddings = self._outputs(queries, ["probs", "embedding"], progress)
        return probs, embeddings

    def _outputs(
        self, queries: Sequence[str], names: list[str], progress: Callable[[int], object]
    ) -> list[FloatArray]:
        if isinstance(queries, str):
            raise DataError("expected a list of prompts, found one text; put it in a list")
        queries = self._texts(queries)
        if not len(queries):
            return [np.zeros((0, self.head.widths[name]), dtype=np.float32) for name in names]
        return self._runtime.run(queries, names, progress)

    def route(
        self,
        queries: Sequence[str],
        progress: Callable[[int], object] = _silent,
        *,
        point: str | Point | None = None,
        allowed: Collection[str] | None = None,
        max_cost: float | None = None,
        windows: Mapping[str, int] | None = None,
        doubt: Doubt | None = None,
    ) -> list[Decision]:
        """Choose one expert for each query, in order.

        Parameters
        ----------
        queries, progress
            As for `predict_proba`.
        point
            Operating point: a name in `points`, "recommended", or what `point_for` returns;
            None for the router's default, which is "quality" unless it was fitted otherwise.
        allowed
            Experts that may be chosen, such as those that are up; None for all.
        max_cost
            Most that a prompt may cost, as expected, in the unit of the table.
        windows
            Most tokens of a prompt that an expert takes, by its name; an expert that is not
            named takes any. Tokens are counted by the router's own tokenizer.
        doubt
            When the fallback gets a prompt; `doubt_for` makes one.

        Raises
        ------
        DataError
            An unknown name; nobody is eligible; or the router does not predict what is asked.
        """
        chosen_by = self.point(point)
        predicted = self.predict(queries, progress)
        eligible = self.eligible(
            predicted, queries, allowed=allowed, max_cost=max_cost, windows=windows
        )
        choices = choose(predicted, chosen_by, self.config.experts, eligible, doubt)
        return decisions(predicted, choices, chosen_by, self.config.experts, doubt)

    @property
    def points(self) -> dict[str, Point]:
        """Operating points by name, with what each earned out of fold on train."""
        return {point.name: point for point in self.config.decisions.points}

    def point(self, point: str | Point | None = None) -> Point:
        """Return the operating point of a name; None for the default. DataError for no such."""
        if isinstance(point, Point):
            return point
        known, own = self.points, self.config.decisions
        name = own.default if point is None else point
        name = own.recommended if name == "recommended" else name
        if name not in known:
            raise DataError(f"point {name!r}: expected {', '.join([*known, 'recommended'])}")
        return known[name]

    def point_for(
        self,
        *,
        budget: float | None = None,
        floor: float | None = None,
        queries: Sequence[str] = (),
        allowed: Collection[str] | None = None,
    ) -> Point:
        """Find an operating point of your own.

        Parameters
        ----------
        budget
            Mean cost of a prompt: the best choices for no more than this.
        floor
            Mean reward: the cheapest choices that earn no less than this.
        queries
            Prompts like those that will come, on whose expected costs a budget is met;
            without them, the curve that was measured on train tells.
        allowed
            Experts that will be allowed; only with `queries`.

        Raises
        ------
        DataError
            Not exactly one of the two, out of reach, or a router without costs.
        """
        if budget is not None and floor is None and len(queries):
            predicted = self.predict(queries)
            eligible = self.eligible(predicted, queries, allowed=allowed)
            return within_budget(predicted, budget, self.config.decisions.curve, eligible)
        return point_on(self.config.decisions.curve, budget=budget, floor=floor)

    def eligible(
        self,
        predicted: Predictions,
        queries: Sequence[str],
        *,
        allowed: Collection[str] | None = None,
        max_cost: float | None = None,
        windows: Mapping[str, int] | None = None,
    ) -> Mask | None:
        """(n, n_experts) who may be chosen, by the options of `route`; None for everybody."""
        if allowed is None and max_cost is None and not windows:
            return None
        experts = self.config.experts
        if isinstance(allowed, str):
            raise DataError("allowed: expected a list of names, found one text; put it in a list")
        wanted = set(experts if allowed is None else allowed)
        unknown = sorted({*wanted, *(windows or ())} - set(experts))
        if unknown:
            raise DataError(f"no expert {unknown[0]!r}; expected {', '.join(experts)}")
        mask = np.tile([expert in wanted for expert in experts], (len(predicted.probs), 1))
        if max_cost is not None:
            if predicted.costs is None:
                raise DataError("max_cost: this router predicts no costs")
            mask &= predicted.costs <= max_cost
        if windows:
            tokens = self._runtime.whole_lengths(self._texts(queries))[:, None]
            mask &= tokens <= [windows.get(expert, np.inf) for expert in experts]
        return mask

    def doubt_for(
        self,
        fallback: str | None = None,
        *,
        min_reward: float | None = None,
        max_novelty: float | None = None,
        min_probability: float | None = None,
    ) -> Doubt:
        """Make the rules that send a prompt to `fallback`, by default the best single expert.

        Raises
        ------
        DataError
            There is no such expert.
        """
        name = self.config.best_single if fallback is None else fallback
        if name not in self.config.experts:
            raise DataError(f"fallback {name}: no such expert; expected {', '.join(self.experts)}")
        place = self.config.experts.index(name)
        return Doubt(place, min_reward, max_novelty, min_probability)

    def _texts(self, queries: Sequence[Any]) -> list[str]:
        """Return what is routed of each prompt, text or chat."""
        if not set(map(type, queries)) - {str}:
            return list(queries)
        if all(isinstance(one, Mapping) and ("role" in one or "from" in one) for one in queries):
            raise DataError("expected a list of prompts, found messages; a chat is one prompt")
        texts = []
        for place, query in enumerate(queries):
            if query is None:
                raise DataError(f"prompt {place}: expected text or a list of messages, found None")
            try:
                texts.append(prompt_of(query, cast(Context, self.config.training.context)).text)
            except ValueError as error:
                raise DataError(f"prompt {place}: {error}") from error
        return texts

    def tags(
        self, queries: Sequence[str], k: int = 16, top: int = 4
    ) -> list[list[tuple[str, float]]]:
        """Tags of each query by its `k` nearest training queries.

        Returns
        -------
        For each query up to `top` pairs (tag, weight), heaviest first; the weight is the
        similarity-weighted share of the neighbours that carry the tag.

        Raises
        ------
        RouterError
            The router was fitted without tags.
        """
        _check_neighbours(k)
        index = self.tag_index
        if index is None:
            raise RouterError(
                f"{self._files.folder}: fitted without tags; expected a router with tags"
            )
        return index.nearest_tags(self.embed(queries)[1], k, top)

    def explain(self, query: str, k: int = 16, point: str | Point | None = None) -> Explanation:
        """Tell why `query` goes where it goes at a point, by its `k` nearest training queries.

        A router without tags, or without kept queries, tells what it can and names what
        is missing.
        """
        _check_neighbours(k)
        if not isinstance(query, str):
            raise DataError(f"expected one prompt, found {type(query).__name__}")
        predicted, embeddings = self.predict_and_embed([query])
        chosen_by = self.point(point)
        choices = choose(predicted, chosen_by, self.config.experts)
        (decision,) = decisions(predicted, choices, chosen_by, self.config.experts)
        return explain_decision(
            *(query, decision, predicted, embeddings[0]),
            *(self.tag_index, self._files.kept_queries, k),
        )

    def __repr__(self) -> str:
        """Name where it is from, its experts and its encoder, in one line."""
        experts = ", ".join(self.experts)
        return f"<Router {self._files.folder}: {experts}; encoder {self.config.encoder.name}>"

    def _repr_html_(self) -> str:
        """Show the router, and what was measured of it, in a notebook."""
        return router_html(self._files)

    @property
    def repeat_share(self) -> float:
        """Share of the prompts that `auto` answered again in fp32; NaN before the first."""
        repeated, computed = self.repeats
        return repeated / computed if computed else float("nan")

    @property
    def provider(self) -> str:
        """What runs the graph, as onnxruntime names it: "CPUExecutionProvider", for one."""
        return self._runtime.provider

    @property
    def cut(self) -> int:
        """Number of computed prompts of which only the first max_length tokens were read."""
        return self._runtime.cut

    def lengths(self, queries: Sequence[str]) -> NDArray[np.int64]:
        """(n_queries,) tokens of each prompt, cut at max_length."""
        return self._runtime.lengths(queries)

    def longer(self, queries: Sequence[str]) -> int:
        """Count the prompts that are longer than max_length; not beside other threads."""
        return self._runtime.longer(queries)

    @property
    def repeats(self) -> tuple[int, int]:
        """Number of prompts that `auto` answered again in fp32, and of all it computed.

        A prompt whose outputs are remembered is not computed and counts in neither.
        """
        return self._runtime.repeats


def _start(
    files: RouterFiles,
    precision: Precision,
    threads: int | None,
    remember: int,
    *,
    exact: bool,
    at_once: int | None,
) -> Runtime:
    """Start the sessions of a precision; options as of `Router.load`."""
    wanted = ("int8", "fp32") if precision == "auto" else (precision,)
    with ExitStack() as held, ThreadPoolExecutor(len(wanted)) as pool:
        graphs = [held.enter_context(files.open_graph(name)) for name in wanted]
        # hashing takes about as long as loading, so both are done at a time
        checks = [pool.submit(graph.check) for graph in graphs]
        try:
            sessions = [
                _session(files, graph, threads, exact=exact, at_once=at_once) for graph in graphs
            ]
        finally:
            for check in checks:  # damage is told before what it led to
                check.result()
    again = sessions[1] if precision == "auto" else None
    int8 = files.config.parity.int8
    margin = int8.margin if precision == "auto" and int8 is not None else 0.0
    return Runtime(sessions[0], again, margin, remember)


def _session(
    files: RouterFiles, graph: VerifiedFile, threads: int | None, **options: Any
) -> TextSession:
    """Start one of the graphs; it must be what config.json describes."""
    where = f"{files.folder}: {graph.name}"
    try:
        with graph.view() as content:
            check_graph(content)
        session = TextSession(
            graph.path,
            files.tokenizer,
            files.config.encoder.max_length,
            threads,
            **options,
        )
    except RouterError as error:
        raise RouterError(f"{where}: {error}") from error
    widths = files.head.widths
    ours = {name: width for name, width in session.widths.items() if name in OUTPUTS}
    if ours != widths:
        raise RouterError(f"{where} has the outputs {session.widths}, expected {widths}")
    expected = {
        "experts": json.dumps(files.config.experts, ensure_ascii=False),
        "max_length": str(files.config.encoder.max_length),
    }
    for name, value in expected.items():
        if session.metadata.get(f"zooter.{name}") != value:
            raise RouterError(f"{where} and config.json name different {name.rstrip('s')}s")
    return session


def _named(names: Sequence[str], outputs: Sequence[FloatArray]) -> Predictions:
    """Put the graph's outputs under their names; the novelty without its second axis."""
    values = dict(zip(names, outputs, strict=True))
    values.pop("embedding", None)
    if "novelty" in values:
        values["novelty"] = values["novelty"][:, 0]
    return Predictions(**values)


def _cost_factors(config: RouterConfig, costs: Mapping[str, float]) -> FloatArray:
    """(n_experts,) new mean cost of each expert over that at the fit."""
    before = config.training.mean_costs
    if before is None or not all(before):
        raise DataError("costs: the router does not know a mean cost above 0 of every expert")
    unknown = sorted(set(costs) - set(config.experts))
    if unknown:
        raise DataError(f"costs: no expert {unknown[0]!r}; expected {', '.join(config.experts)}")
    factors = []
    for expert, old in zip(config.experts, before, strict=True):
        new = costs.get(expert)
        if new is None:
            raise DataError(f"costs: none of {expert!r}; expected the mean cost of every expert")
        if not 0 <= new < 1e30:
            raise DataError(f"costs: {expert!r} has {new!r}; expected a number from 0")
        factors.append(new / (old or 1.0))
    return np.asarray(factors, dtype=np.float32)


def _check_neighbours(k: int) -> None:
    if k < 1:
        raise DataError(f"{k} neighbours: expected at least 1")
