"""Which queries a session is asked, and which are remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError

if TYPE_CHECKING:  # onnxruntime takes its time
    from zooter_lite.router.session import TextSession
    from zooter_lite.router.static_session import StaticSession

    Session: TypeAlias = TextSession | StaticSession

FloatArray = NDArray[np.float32]
Precision = Literal["fp32", "fp16", "int8"]
Device = Literal["cpu", "cuda"]
Row = tuple[FloatArray, ...]  # of each output
OUTPUTS = ("probs", "embedding", "rewards", "costs", "novelty")  # the last three not always
_TOLERANCE = 1e-3  # of the sum of the probabilities


class Recent:
    """Outputs of the most recent different `prompts`; safe to share between threads."""

    def __init__(self, prompts: int) -> None:
        self.prompts = prompts
        self._values: OrderedDict[str, Row] = OrderedDict()
        self._lock = Lock()

    def get(self, prompts: Iterable[str]) -> dict[str, Row]:
        """Return those of the prompts that are remembered."""
        if not self.prompts:
            return {}
        with self._lock:
            known = {prompt: self._values[prompt] for prompt in prompts if prompt in self._values}
            for prompt in known:
                self._values.move_to_end(prompt)
        return known

    def put(self, values: Mapping[str, Row]) -> None:
        """Remember these, and forget the oldest."""
        with self._lock:
            self._values |= values
            while len(self._values) > self.prompts:
                self._values.popitem(last=False)


class Runtime:
    """Computes each different query once, and keeps the outputs of the latest `remember`."""

    def __init__(self, session: Session, remember: int) -> None:
        self.session = session
        self.outputs = [name for name in OUTPUTS if name in session.widths]
        self._recent = Recent(remember)

    def run(
        self, queries: Sequence[str], progress: Callable[[int], object]
    ) -> dict[str, FloatArray]:
        """Return all outputs of one query or more by their names, each (n, width)."""
        different = list(dict.fromkeys(queries))
        known = self._recent.get(different)
        unknown = [query for query in different if query not in known] if known else different
        progress(len(queries) - len(unknown))
        if unknown:
            arrays = self.session.run(unknown, self.outputs, progress)
            _check(arrays[0])
            if self._recent.prompts:
                last = range(len(unknown))[-self._recent.prompts :]  # as many as are remembered
                copies = {unknown[i]: tuple(array[i].copy() for array in arrays) for i in last}
                self._recent.put(copies)
            if len(unknown) == len(queries):
                return dict(zip(self.outputs, arrays, strict=True))
            known |= zip(unknown, zip(*arrays, strict=True), strict=True)
        rows = zip(*(known[query] for query in queries), strict=True)
        return {name: np.stack(row) for name, row in zip(self.outputs, rows, strict=True)}


def _check(probs: FloatArray) -> None:
    """Raise RouterError where the rows are no distributions."""
    for row in map(np.ndarray.tolist, probs):  # short rows, which cost numpy more than Python
        if not (min(row) >= 0 and abs(sum(row) - 1) < _TOLERANCE):  # a NaN is in the sum, too
            raise RouterError("the graph's output 'probs' is no distribution; damaged or foreign")
