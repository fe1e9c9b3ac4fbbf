"""From a verified directory to a session that answers: checked, started, started again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.decision import check_names
from zooter_lite.router.directory.config import STATIC_POOLING, RouterConfig
from zooter_lite.router.directory.store import RouterFiles, read_router
from zooter_lite.router.forked import tell_after_fork
from zooter_lite.router.runtime import OUTPUTS, Device, Precision, Runtime
from zooter_lite.router.static_session import StaticSession
from zooter_lite.router.tokens import TextTokens
from zooter_lite.tags.index import TagIndex
from zooter_lite.untrusted.onnx_check import check_graph
from zooter_lite.untrusted.verified import VerifiedFile

if TYPE_CHECKING:
    from zooter_lite.router.runtime import Session

Own = TypeVar("Own", bound="LoadedRouter")
MAX_THREADS = 256  # onnxruntime ends the process where the system refuses it a thread


class LoadedRouter:
    """A router directory at work: verified, its session started, and again after a fork.

    Attributes
    ----------
    folder, config, head
        The directory that it was loaded from, its config.json, and the head as fitted.
    """

    def __init__(
        self, files: RouterFiles, costs: Mapping[str, float] | None, options: Mapping[str, Any]
    ) -> None:
        runtime = _start(files, **options)
        self._files = replace(files, tokenizer="")  # the session has its own copy
        self.folder, self.config, self.head = files.folder, files.config, files.head
        self._costs, self._options = costs, options
        self._cost_factors = None if costs is None else _cost_factors(files.config, costs)
        self._started: Runtime | None = runtime
        self._starting = Lock()
        tell_after_fork(self)

    @classmethod
    def load(
        cls: type[Own],
        path: str | Path,
        precision: Precision = "fp32",
        threads: int | None = None,
        remember: int = 1024,
        *,
        exact: bool = False,
        at_once: int | None = None,
        device: Device | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> Own:
        """Load a router directory after verifying it.

        Parameters
        ----------
        path
            The router directory.
        precision
            "fp32"; "int8", faster, with the loss that config.json states under `parity`;
            "fp16", for a GPU.
        threads
            Threads of one forward pass, of which as many run side by side as the cores then
            allow. None takes every core up to four; one is meant for long lists. A static
            router is computed by numpy, whose threads are its own.
        remember
            Outputs of so many recent prompts are kept, so that repeated ones cost nothing.
        exact
            A prompt's probabilities are the same bits whatever prompts come with it, so that
            work can be divided and repeated at will. For long lists: a short one costs as
            much as eight prompts. Needs a CPU, and one thread.
        at_once
            Forward passes side by side; None for what `threads` says.
        device
            "cpu" or "cuda"; None for CUDA where the onnxruntime that is installed has it. A
            static router is computed on the CPU.
        costs
            Mean cost of a prompt by expert, where prices have changed since the fit: expected
            costs are multiplied by what an expert's mean has changed.

        Raises
        ------
        RouterError
            With what is damaged, missing or unknown, and where.
        DataError
            `threads`, `remember` or `device` is not as told, or `costs` are none that can be used.
        """
        options: dict[str, Any] = {"precision": precision, "threads": threads, "remember": remember}
        options |= {"exact": exact, "at_once": at_once, "device": device}
        return cls(read_router(Path(path)), costs, options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the options, from which it is loaded again."""
        return partial(type(self).load, self.folder, costs=self._costs, **self._options), ()

    def after_fork(self) -> None:
        """Forget the parent's session: the child starts its own when it needs it."""
        self._started = None
        self._starting = Lock()

    @property
    def _runtime(self) -> Runtime:
        started = self._started
        if started is None:
            with self._starting:
                started = self._started or _start_again(self._files, self._options)
                self._started = started
        return started

    @property
    def experts(self) -> list[str]:
        """Expert names, in the order of the columns of `predict_proba`."""
        return list(self.config.experts)

    @property
    def tag_index(self) -> TagIndex | None:
        """Tags and nearest training queries; None for a router fitted without tags."""
        return self._files.tags

    @property
    def tokens(self) -> TextTokens:
        """The tokeniser, which counts the prompts that were cut at max_length."""
        return self._runtime.session.tokens

    @property
    def provider(self) -> str:
        """What runs the graph, as onnxruntime names it: "CPUExecutionProvider", for one."""
        return self._runtime.session.provider


def _start(
    files: RouterFiles,
    precision: Precision,
    threads: int | None,
    remember: int,
    *,
    exact: bool,
    at_once: int | None,
    device: Device | None,
) -> Runtime:
    """Start the session of a precision; options and errors as of `Router.load`."""
    if device not in (None, "cpu", "cuda"):
        raise DataError(f"device {device!r}: expected 'cpu' or 'cuda'")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise DataError(f"threads {threads}: expected a number from 1 to {MAX_THREADS}")
    if remember < 0:
        raise DataError(f"remember {remember}: expected a number from 0")
    with files.open_graph(precision) as graph, ThreadPoolExecutor(1) as pool:
        # hashing takes about as long as loading, so both are done at a time
        check = pool.submit(graph.check)
        try:
            session = _session(files, graph, threads, exact=exact, at_once=at_once, device=device)
        finally:
            check.result()  # damage is told before what it led to
    return Runtime(session, remember)


def _start_again(known: RouterFiles, options: Mapping[str, Any]) -> Runtime:
    """Start the session of a router in a forked child, if it still stands where it was."""
    files = read_router(known.folder)
    if files.config != known.config:
        raise RouterError(
            f"{known.folder}: another router stands there since this one was loaded, before "
            "this process was forked; load it again"
        )
    return _start(files, **options)


def _session(
    files: RouterFiles, graph: VerifiedFile, threads: int | None, *, exact: bool, **options: Any
) -> Session:
    """Start one of the graphs, or numpy in its place; it must be what config.json describes."""
    where, max_length = f"{files.folder}: {graph.name}", files.config.encoder.max_length
    static = files.config.encoder.pooling == STATIC_POOLING
    session: Session | None = None
    try:
        content = graph.content()
        metadata = check_graph(content)
        if static and not exact:
            session = StaticSession.of(content, files.head, files.tokenizer, max_length)
        del content  # it may be mapped
        if session is None:
            from zooter_lite.router import session as graphs  # onnxruntime takes its time

            options["budget"] = graphs.STATIC_BUDGET if static else graphs.TOKENS_PER_BATCH
            session = graphs.TextSession(
                *(graph.path, files.tokenizer, max_length, threads), exact=exact, **options
            )
    except RouterError as error:
        raise RouterError(f"{where}: {error}") from error
    ours = {name: width for name, width in session.widths.items() if name in OUTPUTS}
    if ours != files.head.widths:
        raise RouterError(f"{where} has the outputs {session.widths}, expected {files.head.widths}")
    if metadata.get("zooter.experts") != json.dumps(files.config.experts, ensure_ascii=False):
        raise RouterError(f"{where} and config.json name different experts")
    if metadata.get("zooter.max_length") != str(max_length):
        raise RouterError(f"{where} and config.json name different max_lengths")
    return session


def _cost_factors(config: RouterConfig, costs: Mapping[str, float]) -> NDArray[np.float32]:
    """(n_experts,) new mean cost of each expert over that at the fit."""
    before = config.training.mean_costs
    if before is None or not all(before):
        raise DataError("costs: the router does not know a mean cost above 0 of every expert")
    check_names(costs, config.experts, "costs: ")
    factors = []
    for expert, old in zip(config.experts, before, strict=True):
        new = costs.get(expert)
        if new is None:
            raise DataError(f"costs: none of {expert!r}; expected the mean cost of every expert")
        if not 0 <= new < 1e30:
            raise DataError(f"costs: {expert!r} has {new!r}; expected a number from 0")
        factors.append(new / (old or 1.0))
    return np.asarray(factors, dtype=np.float32)
