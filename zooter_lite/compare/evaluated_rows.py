"""Which rows of a reward table a router is evaluated on, and its outputs for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
EQUAL = 1e-4  # difference of a probability or an embedding up to which they are the same


@dataclass(frozen=True)
class SplitChoice:
    """One split to evaluate: the subsets in `only`, or all of them, but those to leave out."""

    split: str
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


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
    groups
        Group of each subset; subsets without one are in none.
    also
        Directories of further routers over the same experts.
    long
        Columns of the model and of the reward of a long table, as for `RewardTable.read`.
    separator
        Between the cells of CSV, likewise.
    """

    name: str
    data: str | RewardTable
    router: str | Router
    splits: tuple[SplitChoice, ...] = ()
    only: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    long: tuple[str, ...] = ()
    separator: str = ""

    @property
    def source(self) -> str:
        """What errors call the table."""
        return self.data if isinstance(self.data, str) else f"table {self.name!r}"

    @property
    def router_name(self) -> str:
        """Name of the router directory, without the folders it stands in."""
        where = self.router.folder if isinstance(self.router, Router) else self.router
        return Path(where).name


def chosen_splits(table: RewardTable, wanted: TableChoice) -> dict[str, Rows]:
    """Rows of each split that is to be evaluated, by its name.

    DataError for what the table does not have, and where nothing is left to evaluate.
    """
    present = sorted(set(table.splits or []))
    choices = wanted.splits or tuple(
        SplitChoice(name, wanted.only) for name in present if name != "train"
    )
    if not choices:
        raise DataError(
            f"{wanted.source}: every row has the split 'train', which the router was fitted on; "
            "name it with --split train to evaluate there all the same"
        )
    for subset, group in sorted(wanted.groups.items()):
        if subset not in set(table.subsets):
            raise DataError(
                f"{wanted.source}: no subset {subset!r}, which group {group!r} names; "
                f"found {', '.join(sorted(set(table.subsets)))}"
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
    unknown = sorted({*choice.only, *choice.leave_out} - known)
    if unknown:
        raise DataError(f"{where} has no subset {unknown[0]!r}; found {', '.join(sorted(known))}")
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
    outputs, rows = [], np.zeros(0, dtype=np.intp)
    if remembered is not None:
        known, kept = remembered(router, queries)
        texts = [queries[row] for row in np.flatnonzero(known).tolist()]
        estimates = router.head.estimates
        priced = estimates is not None and estimates.costs is not None
        tokens = router.tokens.lengths(texts) if priced else None
        likely = router.repriced(router.head.predict(kept, tokens))
        part = np.unique(np.linspace(0, len(texts) - 1, CHECKED).astype(np.int64))
        if texts and _agrees(
            router, [texts[row] for row in part.tolist()], likely.probs[part], kept[part]
        ):
            outputs, rows = [(likely, kept)], np.flatnonzero(known)
    left = np.setdiff1d(np.arange(len(queries)), rows)
    with bar(len(left), "routing") as progress:
        texts = [queries[row] for row in left.tolist()]
        outputs.append(router.predict_and_embed(texts, progress.update))
    order = np.argsort(np.concatenate([rows, left]))

    def joined(parts: Sequence[Any]) -> Any:
        """Put the rows of the parts in order; None where the router has no such part."""
        missing = any(part is None for part in parts)
        return None if missing else np.concatenate(parts, dtype=np.float32)[order]

    names = ("probs", "rewards", "costs", "novelty")
    predicted = {name: joined([getattr(one, name) for one, _ in outputs]) for name in names}
    return Predictions(**predicted), joined([embeddings for _, embeddings in outputs])


def _agrees(
    router: Router, queries: Sequence[str], probs: NDArray[np.floating], embeddings: FloatArray
) -> bool:
    """Whether the router's graph gives these outputs for these queries."""
    pairs = zip(router.embed(queries), (probs, embeddings), strict=True)
    return all(float(np.abs(ours - theirs).max()) <= EQUAL for ours, theirs in pairs)


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
