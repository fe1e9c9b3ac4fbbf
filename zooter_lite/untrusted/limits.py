"""Bounds on what a graph may take: memory for its intermediate results, and time.

A few hundred bytes of plain operators can ask for terabytes (two vectors added crosswise)
or for days of arithmetic, and no look at the file tells that in general. So the graph of a
router directory runs with onnxruntime's arena bounded, and is told to stop after
`RUN_SECONDS`. An encoder that you fit with is your own, and runs without bounds.

On a CPU the arena belongs to the process, so at most `SLOTS` runs share it at a time; others
wait. On a GPU each session has an arena of its own, bounded by the same number of bytes.

What is not bounded: weights, which take as much as their file; what the libraries of a GPU
take for themselves outside the arena; the operator that is at work when a run is told to
stop, which is finished first; and the time that it takes to start a session.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from zooter_lite.cores import cores
from zooter_lite.errors import RouterError

Feed = Mapping[str, NDArray[np.int64]]
Outputs = list[NDArray[np.float32]]
Provider = str | tuple[str, dict[str, str]]

MEMORY_VARIABLE = "ZOOTER_MEMORY_MB"
RUN_SECONDS = 30.0  # of one batch, about 512 tokens; long for any encoder that is a router's
_TICK = 0.25
SLOTS = max(4, cores())


def memory() -> int:
    """Bytes that the intermediate results of all runs may take: 128 MiB a slot, at least 512."""
    text = os.environ.get(MEMORY_VARIABLE, "")
    if not text:
        return SLOTS * 128 * 2**20
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 2**24:
        raise RouterError(f"{MEMORY_VARIABLE} is {text!r}, expected mebibytes, such as 4096")
    return int(text) * 2**20


@lru_cache(maxsize=1)
def _register_arena() -> int:
    """Bound the memory of this process' sessions once; return the bound in bytes."""
    limit = memory()
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg(limit, -1, -1, -1))
    return limit


def bound_memory(options: Any, providers: Sequence[str]) -> list[Provider]:
    """Make a session that starts with these options and providers use bounded arenas.

    Returns
    -------
    The providers as the session takes them.
    """
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    if "CUDAExecutionProvider" not in providers:
        return list(providers)
    # weights stand outside the arena, as they do on a CPU
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    bound = {"gpu_mem_limit": str(memory())}
    return [(name, bound) if name == "CUDAExecutionProvider" else name for name in providers]


class _Runs:
    """The runs at work, at most `SLOTS`, and a thread that stops those that take too long.

    The thread sleeps while nothing runs.
    """

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(SLOTS)
        self._deadlines: dict[Any, float] = {}  # of the runs at work, by their options
        self._busy = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def slot(self) -> Iterator[Any]:
        """Wait for a slot, and yield the options of a run that ends when its time is over."""
        with self._slots:
            options = onnxruntime.RunOptions()
            options.log_severity_level = 4  # what went wrong is told once, by the error
            options.only_execute_path_to_fetches = True
            self._deadlines[options] = time.monotonic() + RUN_SECONDS
            if not self._busy.is_set():
                self._busy.set()
            try:
                yield options
            finally:
                del self._deadlines[options]

    def _watch(self) -> None:
        while True:
            self._busy.wait()
            self._busy.clear()  # before the look at the runs: one that begins now sets it again
            while self._deadlines:
                time.sleep(_TICK)
                for options, deadline in self._deadlines.copy().items():
                    if time.monotonic() > deadline:
                        options.terminate = True


@lru_cache(maxsize=1)
def _runs() -> _Runs:
    """Return the runs of this process."""
    return _Runs()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    # a child begins anew: no thread watches there, and a lock may be held by one of the parent's
    os.register_at_fork(after_in_child=_runs.cache_clear)


def run_graph(
    session: Any, widths: Mapping[str, object], feed: Feed, *, trusted: bool = False
) -> Outputs:
    """Run a session within the bounds; a `trusted` one, of the user's own, for as long as it takes.

    Returns
    -------
    The outputs that `widths` names, float32 (batch, width).

    Raises
    ------
    RouterError
        The graph fails, takes too much memory or time, or returns something else than
        finite rows of these widths, one for each row of the feed.
    """
    options = None
    try:
        if trusted:
            outputs: Outputs = session.run(list(widths), feed)
        else:
            with _runs().slot() as options:
                outputs = session.run(list(widths), feed, options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        stopped = options is not None and options.terminate
        raise RouterError(_reason(error, stopped=stopped)) from error
    rows = len(next(iter(feed.values())))
    for (name, width), output in zip(widths.items(), outputs, strict=True):
        found = getattr(output, "dtype", None), getattr(output, "shape", None)
        if found != (np.float32, (rows, width)):
            raise RouterError(
                f"the graph's output {name!r} has type and shape {found}, expected float32 and "
                f"{(rows, width)}"
            )
        flat = output.reshape(-1)
        if not isfinite(np.dot(flat, flat)):  # quicker than to look at each
            raise RouterError(f"the graph's output {name!r} is not finite")
    return outputs


def _reason(error: Exception, *, stopped: bool) -> str:
    text = " ".join(str(error).split())
    if stopped:
        return f"the graph ran longer than {RUN_SECONDS:g} seconds on one batch"
    if "Available memory of" in text:
        return (
            f"the graph takes more than {_register_arena() >> 20} MiB for one batch "
            f"({MEMORY_VARIABLE} allows more)"
        )
    return f"the graph cannot be run ({text[:300]})"
