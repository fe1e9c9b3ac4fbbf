"""Which rows of a reward table a router is evaluated on, and its outputs for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.cli import bar
from zooter_lite.errors import DataError
from zooter_lite.measure.system import FloatArray
from zooter_lite.router.decision import Predictions
from zooter_lite.router.router import Router
from zooter_lite.table.reward_table import RewardTable

Rows = NDArray[np.int64]
Remembered = Callable[[Router, Sequence[str]], tuple[NDArray[np.bool_], FloatArray]]

SAME = 1e-5  # cosine distance below which two queries are one
CHECKED = 32  # remembered embeddings that the router's graph computes again
EQUAL = 1e-4  # difference of a number of an embedding up to which it is the same


@dataclass(frozen=True)
class SplitChoice:
    """One split to evaluate: the subsets in `only`, or all of them, but those to leave out."""

    split: str
    only: list[str] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TableChoice:
    """One reward table to evaluate.

    Attributes
    ----------
    data, router
        The reward table and the router, or where they are read from.
    splits
        What is evaluated; empty for every split except train.
    only
        The subsets to evaluate where `splits` is empty; empty for all.
    also
        Directories of further routers over the same experts.
    long, separator
        As for `RewardTable.read`.
    """

    name: str
    data: str | RewardTable
    router: str | Router
    splits: Sequence[SplitChoice] = ()
    only: list[str] = field(default_factory=list)
    also: Sequence[str] = ()
    long: Sequence[str] = ()
    separator: str = ""

    @property
    def source(self) -> str:
        """What errors call the table."""
        return self.data if isinstance(self.data, str) else f"table {self.name!r}"


def chosen_splits(table: RewardTable, wanted: TableChoice) -> dict[str, Rows]:
    """Rows of each split that is to be evaluated, by its name.

    DataError for what the table does not have, and where nothing is left to evaluate.
    """
    present = sorted(set(table.splits or []))
    choices = wanted.splits or [
        SplitChoice(name, wanted.only) for name in present if name != "train"
    ]
    if not choices:
        raise DataError(
            f"{wanted.source}: every row has the split 'train', which the router was fitted on; "
            "name it with --split train to evaluate there all the same"
        )
    return {choice.split: _rows(table, choice, wanted.source, present) for choice in choices}


def _rows(table: RewardTable, choice: SplitChoice, source: str, present: list[str]) -> Rows:
    where = f"{source}: split {choice.split!r}"
    if choice.split not in present:
        raise DataError(
            f"{source}: no row has the split {choice.split!r}; found {', '.join(present)}"
        )
    rows = table.rows(choice.split)
    subsets = np.asarray(table.subsets)[rows]
    known = set(subsets.tolist())
    for name in [*choice.only, *choice.leave_out]:
        if name not in known:
            raise DataError(f"{where} has no subset {name!r}; found {', '.join(sorted(known))}")
    kept = (set(choice.only) or known) - set(choice.leave_out)
    if not kept:
        raise DataError(f"{where}: every subset is left out")
    return rows[np.isin(subsets, sorted(kept))]


def outputs_of(
    router: Router, queries: Sequence[str], remembered: Remembered | None = None
) -> tuple[Predictions, FloatArray]:
    """Predictions and unit embeddings (n, dim) of n queries.

    Parameters
    ----------
    remembered
        Tells which queries' embeddings an earlier fit left, and gives them; the head does
        the rest. They are taken where the router's graph agrees on a part of them.
    """
    known, kept = np.zeros(len(queries), dtype=bool), np.zeros((0, router.head.dim), "f4")
    if remembered is not None:
        known, kept = remembered(router, queries)
        sample = np.unique(np.linspace(0, len(kept) - 1, min(CHECKED, len(kept))).astype(int))
        again = router.embed([queries[row] for row in np.flatnonzero(known)[sample]])[1]
        if np.abs(again - kept[sample]).max(initial=0.0) > EQUAL:
            known = np.zeros(len(queries), dtype=bool)
    left = np.flatnonzero(~known)
    with bar(len(left), "routing") as progress:
        asked = router.predict_and_embed([queries[row] for row in left.tolist()], progress.update)
    if len(left) == len(queries):
        return asked
    embeddings = np.empty((len(queries), router.head.dim), dtype=np.float32)
    embeddings[known], embeddings[left] = kept, asked[1]
    estimates = router.head.estimates
    priced = estimates is not None and estimates.costs is not None
    tokens = router.tokens.lengths(queries) if priced else None
    return router.repriced(router.head.predict(embeddings, tokens)), embeddings


def unseen_apart(
    table: RewardTable, router: Router, embeddings: FloatArray
) -> tuple[RewardTable, list[str]]:
    """Split a table without splits: queries that the router was fitted on are `train`.

    They are told by an embedding (n, dim), of the fp32 graph, that equals one in the router's
    tag index. Beside the table with splits stands what is to be said about it.
    """
    index = router.tag_index
    if index is None:
        note = "no column 'split', and a router without tags cannot tell what it was fitted on"
        return replace(table, splits=["all"] * len(table)), [note]
    # an index that rounds its vectors sees a query a little way off itself
    seen = index.distance(embeddings) < SAME + 2 * index.choice.error
    note = (
        f"{int(seen.sum())} of {len(table)} queries are among those the router was fitted on: "
        "they count as 'train' and are not evaluated"
    )
    splits = np.where(seen, "train", "all").tolist()
    return replace(table, splits=splits), [note] if seen.any() else []
