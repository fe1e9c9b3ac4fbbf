"""Bounds on what a graph may take: memory for its intermediate results, and time.

A few hundred bytes of plain operators can ask for terabytes (two vectors added crosswise)
or for days of arithmetic, and no look at the file tells that in general. So every graph
runs with onnxruntime's arena bounded, and is told to stop after `RUN_SECONDS`.

The arena belongs to the process, so at most `SLOTS` runs share it at a time; others wait.
Weights are not counted: they take as much as their file. Of one run that is told to stop
the operator at work is finished first; what one operator may take is bounded by memory.
Session creation folds constants within the same arena, but is not timed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from zooter_lite.errors import RouterError

MEMORY_VARIABLE = "ZOOTER_MEMORY_MB"
RUN_SECONDS = 30.0  # of one batch, about 512 tokens; long for any encoder that is a router's
_TICK = 0.25


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


SLOTS = max(4, cores())
_slots = threading.BoundedSemaphore(SLOTS)


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


def bound_memory(options: Any) -> None:
    """Make a session that starts with these options use the bounded arena."""
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")


class _Watch:
    """Tells runs that take too long to stop; one thread, asleep while nothing runs."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[Any, float]] = {}
        self._busy = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, options: Any) -> None:
        self._running[id(options)] = (options, time.monotonic() + RUN_SECONDS)
        if not self._busy.is_set() or self._thread is None or not self._thread.is_alive():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():  # none, or after a fork
                    self._thread = threading.Thread(target=self._watch, daemon=True)
                    self._thread.start()
                self._busy.set()

    def end(self, options: Any) -> None:
        del self._running[id(options)]

    def _watch(self) -> None:
        while True:
            self._busy.wait()
            time.sleep(_TICK)
            now = time.monotonic()
            for options, deadline in list(self._running.values()):
                options.terminate = options.terminate or now > deadline
            self._busy.clear()
            if self._running:
                self._busy.set()


_watch = _Watch()


def run_bounded(
    session: Any, names: Sequence[str], feed: Mapping[str, NDArray[np.int64]]
) -> list[NDArray[np.float32]]:
    """Run a session within the bounds.

    Returns
    -------
    The named outputs, float32 (batch, width).

    Raises
    ------
    RouterError
        The graph fails, takes too much memory or time, or returns something else than
        finite rows, one for each row of the feed.
    """
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # what went wrong is told once, by the error
    with _slots:
        _watch.begin(options)
        try:
            found: list[NDArray[np.float32]] = session.run(names, feed, options)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise RouterError(_reason(error, stopped=options.terminate)) from error
        finally:
            _watch.end(options)
    rows = len(next(iter(feed.values())))
    for name, output in zip(names, found, strict=True):
        if not isinstance(output, np.ndarray) or output.dtype != np.float32:
            raise RouterError(f"the graph's output {name!r} is not float32")
        if output.ndim != 2 or len(output) != rows:
            raise RouterError(
                f"the graph's output {name!r} has the shape {output.shape} for {rows} queries"
            )
        if not isfinite(output.sum()):  # quicker than to look at each
            raise RouterError(f"the graph's output {name!r} is not finite")
    return found


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
