"""Which rows of a reward table a router is evaluated on, and its outputs for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.compare.baselines import TrainedOn
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.router.router import Router
from zooter_lite.table.reward_table import RewardTable

SAME = 1e-5  # cosine distance below which two queries are one
CHECKED = 32  # remembered embeddings that the router's graph computes again
EQUAL = 1e-4  # difference of a probability or an embedding up to which they are the same

Remembered = Callable[[Router, Sequence[str]], tuple[NDArray[np.bool_], NDArray[np.float32]]]


class Outputs:
    """The router's outputs for the rows of a table, each computed at most once.

    Parameters
    ----------
    remembered
        Tells which queries' embeddings an earlier fit left, and gives them; the head does
        the rest. They are taken where the router's graph finds the same for a part of them.

    Attributes
    ----------
    probs, embeddings
        (n, n_experts) and (n, dim); zero where `compute` was not asked for the row.
    """

    def __init__(
        self, router: Router, table: RewardTable, remembered: Remembered | None = None
    ) -> None:
        self.router = router
        self._remembered = remembered
        self._queries = table.queries
        self._done = np.zeros(len(table), dtype=bool)
        self.probs = np.zeros((len(table), len(router.experts)), dtype=np.float32)
        self.embeddings = np.zeros((len(table), router.head.dim), dtype=np.float32)

    def compute(
        self, rows: NDArray[np.int64], progress: Callable[[int], object] = lambda _: None
    ) -> None:
        """Fill in the outputs of these rows; `progress` is called with the number just done."""
        todo = np.unique(rows[~self._done[rows]])
        if self._remembered is not None and len(todo):
            todo = self._recall(todo, self._remembered, progress)
        queries = [self._queries[row] for row in todo]
        self.probs[todo], self.embeddings[todo] = self.router.embed(queries, progress)
        self._done[todo] = True

    def _recall(
        self, todo: NDArray[np.int64], remembered: Remembered, progress: Callable[[int], object]
    ) -> NDArray[np.int64]:
        """Take what is remembered and agrees with the graph; return the rows that are left."""
        known, embeddings = remembered(self.router, [self._queries[row] for row in todo])
        rows = todo[known]
        if not len(rows):
            return todo
        probs = self.router.head.probs(embeddings).astype(np.float32)
        part = np.unique(np.linspace(0, len(rows) - 1, CHECKED).astype(np.int64))
        found = self.router.embed([self._queries[row] for row in rows[part]])
        for ours, theirs in zip(found, (probs[part], embeddings[part]), strict=True):
            if np.abs(ours - theirs).max() > EQUAL:
                return todo
        self.probs[rows], self.embeddings[rows] = probs, embeddings
        self._done[rows] = True
        progress(len(rows))
        return todo[~known]


def unseen_apart(
    table: RewardTable, outputs: Outputs, progress: Callable[[int], object] = lambda _: None
) -> tuple[RewardTable, str]:
    """Split a table without splits: queries that the router was fitted on are `train`.

    They are told by an embedding equal to one in the router's tag index, so `outputs` must
    be those of the fp32 graph.

    Returns
    -------
    The table with splits, and what is to be said about it ("" for nothing).
    """
    index = outputs.router.tag_index
    seen = np.zeros(len(table), dtype=bool)
    said = ""
    if index is None:
        said = "no column 'split', and a router without tags cannot tell what it was fitted on"
    else:
        outputs.compute(np.arange(len(table)), progress)
        # an index that rounds its vectors sees a query a little way off itself
        seen = index.distance(outputs.embeddings) < SAME + 2 * index.choice.error
    if seen.any():
        said = (
            f"{int(seen.sum())} of {len(table)} queries are among those the router was fitted on: "
            "they count as 'train' and are not evaluated"
        )
    return replace(table, splits=["train" if s else "all" for s in seen]), said


def known_of(table: RewardTable, outputs: Outputs) -> TrainedOn:
    """Return the table's training rows or, where it has none, what the router knows of its own.

    The outputs of the training rows must have been computed.
    """
    rows = table.rows("train")
    if not len(rows):
        means = outputs.router.config["training"]["mean_rewards"]
        return TrainedOn(np.asarray(means, dtype=np.float64))
    train = table.take(rows)
    return TrainedOn(observed_mean(train.rewards), train, outputs.embeddings[rows])
