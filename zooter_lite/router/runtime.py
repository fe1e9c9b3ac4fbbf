"""Which graph answers a query, and which queries need no graph: precision and memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.router.session import TextSession

FloatArray = NDArray[np.float32]
Precision = Literal["fp32", "int8", "auto"]
OUTPUTS = ["probs", "embedding"]
_TOLERANCE = 1e-3  # of the sum of the probabilities


class Recent:
    """Outputs of the most recent different queries; safe to share between threads.

    Parameters
    ----------
    size
        Number of queries remembered; 0 remembers none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._rows: OrderedDict[str, tuple[FloatArray, FloatArray]] = OrderedDict()
        self._lock = Lock()

    def get(self, queries: Sequence[str]) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Return the outputs of those queries that are remembered."""
        found: dict[str, tuple[FloatArray, FloatArray]] = {}
        if not self.size:
            return found
        with self._lock:
            for query in queries:
                if query in self._rows:
                    self._rows.move_to_end(query)
                    found[query] = self._rows[query]
        return found

    def put(self, queries: Sequence[str], probs: FloatArray, embeddings: FloatArray) -> None:
        """Remember these outputs, and forget the oldest beyond `size`."""
        start = max(0, len(queries) - self.size)
        with self._lock:
            for row in range(start, len(queries)):
                self._rows[queries[row]] = (probs[row].copy(), embeddings[row].copy())
            while len(self._rows) > self.size:
                self._rows.popitem(last=False)


class Runtime:
    """Computes each different query once, in the precision that was asked for.

    Parameters
    ----------
    first
        The graph that answers every query.
    exact
        The graph that answers again where the two best of `first` are closer than
        `margin`; None where `first` has the last word.
    margin
        Smallest difference of the two best probabilities that is no close call.
    remember
        Number of recent queries whose outputs are kept.
    """

    def __init__(
        self, first: TextSession, exact: TextSession | None, margin: float, remember: int
    ) -> None:
        self._first = first
        self._exact = exact
        self._margin = margin
        self._recent = Recent(remember)
        self._lock = Lock()
        self._computed = self._repeated = 0

    @property
    def provider(self) -> str:
        """What runs the graph, as onnxruntime names it."""
        return self._first.provider

    @property
    def repeats(self) -> tuple[int, int]:
        """Number of queries that the exact graph answered again, and of all that were computed."""
        with self._lock:
            return self._repeated, self._computed

    def outputs(
        self, queries: Sequence[str], progress: Callable[[int], object]
    ) -> tuple[FloatArray, FloatArray]:
        """Probabilities (n, n_experts) and embeddings (n, dim) of one query or more."""
        different = list(dict.fromkeys(queries))
        known = self._recent.get(different)
        unknown = [query for query in different if query not in known] if known else different
        progress(len(queries) - len(unknown))
        if unknown:
            probs, embeddings = self._compute(unknown, progress, OUTPUTS)
            self._recent.put(unknown, probs, embeddings)
            if len(unknown) == len(queries):
                return probs, embeddings
            rows = zip(unknown, zip(probs, embeddings, strict=True), strict=True)
            known |= dict(rows)
        return (
            np.stack([known[query][0] for query in queries]),
            np.stack([known[query][1] for query in queries]),
        )

    def probs(self, queries: Sequence[str], progress: Callable[[int], object]) -> FloatArray:
        """Probabilities (n, n_experts) of one query or more; no embeddings are kept or copied."""
        if self._recent.size:
            return self.outputs(queries, progress)[0]
        different = list(dict.fromkeys(queries))
        progress(len(queries) - len(different))
        (probs,) = self._compute(different, progress, OUTPUTS[:1])
        if len(different) == len(queries):
            return probs
        rows = {query: row for row, query in enumerate(different)}
        return probs[[rows[query] for query in queries]]

    def _compute(
        self, queries: Sequence[str], progress: Callable[[int], object], outputs: list[str]
    ) -> list[FloatArray]:
        found = self._first.run(queries, outputs, progress)
        probs = found[0]
        _check(probs)
        close = np.zeros(0, dtype=np.int64)
        if self._exact is not None:
            best = np.partition(probs, -2, axis=1)[:, -2:]
            close = np.flatnonzero(best[:, 1] - best[:, 0] <= self._margin)
        if self._exact is not None and len(close):
            again = [queries[row] for row in close.tolist()]
            for output, exact in zip(found, self._exact.run(again, outputs), strict=True):
                output[close] = exact
            _check(probs[close])
        with self._lock:
            self._computed += len(queries)
            self._repeated += len(close)
        return found


def _check(probs: FloatArray) -> None:
    """Raise RouterError where the rows are no distributions."""
    total = probs @ np.ones(probs.shape[1], dtype=np.float32)
    if not (probs.min() >= 0 and total.max() < 1 + _TOLERANCE and total.min() > 1 - _TOLERANCE):
        raise RouterError("the graph's output 'probs' is no distribution; damaged or foreign")
