"""Texts to what a static router's graph computes, in numpy: no session to start or to feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.router.head import Head
from zooter_lite.router.tokens import Ids, TextTokens
from zooter_lite.untrusted.onnx_check import constant_of
from zooter_lite.untrusted.verified import Content

Outputs = list[NDArray[np.float32]]
TABLE = "encoder.table"  # name of the constant in the graph
LARGEST = 2**27  # numbers of a table, and no more than an eighth of it for one text
TOGETHER = 2**20  # numbers of the head's products at a time
_UNBOUNDED = ("rewards", "costs")  # the others are finite where the probabilities are
_TINY = 1e-12  # of a length: a text without a known token has the zero vector


class StaticSession:
    """Sums the vectors of a text's tokens and asks the head; safe to share between threads.

    Agrees with the graph to the rounding of float32. A text's bits may depend on the texts
    beside it, in the head's product. `table` is (n_tokens, dim), float16 or float32; the head is
    float32, as it is stored; `tokenizer` is the content of a tokenizer.json.
    """

    provider = "numpy"

    @classmethod
    def of(
        cls, graph: Content, head: Head, tokenizer: str, max_length: int
    ) -> StaticSession | None:
        """Start on a checked graph; None for one that is not such, or too large for numpy."""
        table = constant_of(graph, TABLE)
        if table is None or table.shape[1] != head.dim or table.size > LARGEST:
            return None
        if max_length * head.dim > LARGEST // 8 or head.columns > TOGETHER:
            return None
        return cls(table, head, tokenizer, max_length)

    def __init__(
        self, table: NDArray[np.floating], head: Head, tokenizer: str, max_length: int
    ) -> None:
        self._table = table.astype(np.float32)
        self._head = head
        self.widths = head.widths
        self.tokens = TextTokens(tokenizer, max_length)

    def run(
        self,
        texts: Sequence[str],
        outputs: Sequence[str],
        progress: Callable[[int], object] = lambda _: None,
    ) -> Outputs:
        """Return the named outputs, rows in the order of the texts."""
        tokens = [self.tokens.one(texts[0])] if len(texts) == 1 else self.tokens.many(texts)
        step = TOGETHER // self._head.columns
        parts = []
        for start in range(0, len(tokens), step):
            parts.append(self._outputs(tokens[start : start + step], outputs))
            progress(len(parts[-1][0]))
        return (
            parts[0]
            if len(parts) == 1
            else [np.concatenate(one) for one in zip(*parts, strict=True)]
        )

    def _outputs(self, tokens: Sequence[Ids], names: Sequence[str]) -> Outputs:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            units = self._units(tokens)
            predicted = self._head.predict(units, np.asarray([len(ids) for ids in tokens]))
        novelty = None if predicted.novelty is None else predicted.novelty[:, None]
        found = {"embedding": units, "probs": predicted.probs, "novelty": novelty}
        found |= {"rewards": predicted.rewards, "costs": predicted.costs}
        outputs = [np.asarray(found[name], dtype=np.float32) for name in names]
        for name, output in zip(names, outputs, strict=True):
            if name in _UNBOUNDED and not all(isfinite(sum(row.tolist())) for row in output):
                raise RouterError(f"the graph's output {name!r} is not finite")
        return outputs

    def _units(self, tokens: Sequence[Ids]) -> NDArray[np.float32]:
        """(n, dim) sums of the tokens' vectors, scaled to unit length."""
        units = np.empty((len(tokens), self._table.shape[1]), dtype=np.float32)
        try:
            for row, ids in zip(units, tokens, strict=True):
                np.add.reduce(self._table.take(ids, axis=0), axis=0, out=row)
                row /= max(sqrt(row @ row), _TINY)
        except IndexError as error:
            raise RouterError(f"the graph cannot be run: no vector of a token ({error})") from error
        return units
