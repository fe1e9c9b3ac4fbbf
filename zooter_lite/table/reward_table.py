"""The reward table in memory, and the one place where its columns are validated."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.table.keys import query_hashes
from zooter_lite.table.texts import ArrowTexts, taken

FloatArray = NDArray[np.float32]
Column = Sequence[Any] | NDArray[Any]

_NUMBER = re.compile(r"\s*[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf|infinity)\s*", re.I)


@dataclass(frozen=True)
class RewardTable:
    """Rewards of several experts on the same queries.

    Attributes
    ----------
    queries
        The prompts, length n_queries: a list, or `ArrowTexts` where they stay on disk.
    experts
        Expert names, in the order of the columns of `rewards`.
    rewards
        (n_queries, n_experts) float32; NaN where the reward was not observed.
    subsets
        Benchmark or domain of each query; "all" where the file has none.
    splits
        `train`, `test` or any other name that is evaluated apart; None where the file has none.
    tags
        Tags of each query, in the file's order; None where the file has none.
    costs
        (n_queries, n_experts) float32 in one unit for the whole table, NaN where unknown.
    responses
        One list per query, one text (or None) per expert.
    query_ids
        Names of the rows; their position where the file has none.
    """

    queries: Sequence[str]
    experts: list[str]
    rewards: FloatArray
    subsets: list[str]
    splits: list[str] | None
    tags: list[list[str]] | None
    costs: FloatArray | None
    responses: list[list[str | None]] | None
    query_ids: list[str]

    def __len__(self) -> int:
        return len(self.queries)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of the rows of one split, in order."""
        return np.flatnonzero(np.asarray(self.splits) == split)

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> RewardTable:
        """Return the table of these rows, in the given order."""
        index = [int(i) for i in rows]
        return RewardTable(
            queries=taken(self.queries, np.asarray(rows, dtype=np.int64)),
            experts=self.experts,
            rewards=self.rewards[index],
            subsets=[self.subsets[i] for i in index],
            splits=None if self.splits is None else [self.splits[i] for i in index],
            tags=None if self.tags is None else [self.tags[i] for i in index],
            costs=None if self.costs is None else self.costs[index],
            responses=None if self.responses is None else [self.responses[i] for i in index],
            query_ids=[self.query_ids[i] for i in index],
        )

    def leaks(self) -> NDArray[np.int64]:
        """Rows outside `train` whose query also stands in `train` (white space folded)."""
        if self.splits is None:
            return np.zeros(0, dtype=np.int64)
        hashes, train = query_hashes(self.queries), np.asarray(self.splits) == "train"
        return np.flatnonzero(~train & np.isin(hashes, hashes[train]))

    def drop(self, rows: NDArray[np.int64]) -> RewardTable:
        """Return the table without these rows."""
        keep = np.ones(len(self), dtype=bool)
        keep[rows] = False
        return self.take(np.flatnonzero(keep))

    def hold_out(self, share: float = 0.2) -> RewardTable:
        """Split a table that has no splits into `train` and `test`.

        A row's split depends on its query alone (a hash), so equal queries never
        stand on both sides and a grown table keeps its old split.
        """
        held = query_hashes(self.queries) >> np.uint64(32) < int(share * 2**32)
        return replace(self, splits=[("train", "test")[one] for one in held.tolist()])


def build_table(
    columns: Mapping[str, Column], source: str, where: Callable[[int], str]
) -> RewardTable:
    """Validate the columns of a file and make the reward table of them.

    Parameters
    ----------
    columns
        Cells by column name; all of one length.
    source
        Name of the file, for errors about the file as a whole.
    where
        Maps a row's position to the words that locate it, such as "prompts.csv, line 14".

    Raises
    ------
    DataError
        A missing or unusable column, or a cell that is not what its column needs.
    """
    if "query" not in columns:
        raise DataError(f"{source}: no column 'query'; found {_listed(columns)}")
    experts = [name.removeprefix("reward:") for name in columns if name.startswith("reward:")]
    if "" in experts:
        raise DataError(f"{source}: column 'reward:' names no expert; expected 'reward:<expert>'")
    if len(experts) < 2:
        raise DataError(
            f"{source}: expected at least two columns named 'reward:<expert>', "
            f"found {len(experts)} among {_listed(columns)}"
        )
    n_queries = len(columns["query"])
    if n_queries == 0:
        raise DataError(f"{source}: no rows; expected one row per query")
    for prefix in ("cost:", "response:"):
        for name in columns:
            if name.startswith(prefix) and name.removeprefix(prefix) not in experts:
                raise DataError(
                    f"{source}: column {name!r} has no column "
                    f"'reward:{name.removeprefix(prefix)}' beside it"
                )
    rewards = _matrix(columns, "reward:", experts, where)
    unrewarded = np.flatnonzero(np.isnan(rewards).all(axis=1))
    if len(unrewarded):
        raise DataError(
            f"{where(int(unrewarded[0]))}: no reward at all; "
            "expected a number in at least one 'reward:' column"
        )
    return RewardTable(
        queries=_queries(columns["query"], where),
        experts=experts,
        rewards=rewards,
        subsets=list(_texts("subset", columns["subset"], where, blank="(none)"))
        if "subset" in columns
        else ["all"] * n_queries,
        splits=list(_texts("split", columns["split"], where)) if "split" in columns else None,
        tags=_tags(columns["tags"], where) if "tags" in columns else None,
        costs=_matrix(columns, "cost:", experts, where)
        if any(name.startswith("cost:") for name in columns)
        else None,
        responses=_responses(columns, experts, where),
        query_ids=_ids(columns.get("query_id"), n_queries),
    )


def _listed(columns: Mapping[str, Column], most: int = 8) -> str:
    names = [repr(name) for name in columns]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _matrix(
    columns: Mapping[str, Column], prefix: str, experts: list[str], where: Callable[[int], str]
) -> FloatArray:
    """Numbers of all experts as (n_queries, n_experts) float32, NaN where empty or absent."""
    matrix = np.full((len(columns["query"]), len(experts)), np.nan, dtype=np.float32)
    for place, expert in enumerate(experts):
        name = prefix + expert
        if name in columns:
            matrix[:, place] = _numbers(name, columns[name], where)
    return matrix


def _numbers(name: str, cells: Column, where: Callable[[int], str]) -> FloatArray:
    numbers = np.empty(len(cells), dtype=np.float64)
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
        numbers[:] = cells
    else:
        for row, cell in enumerate(cells):
            try:
                numbers[row] = _number(cell)
            except ValueError as error:
                raise DataError(
                    f"{where(row)}, column {name!r}: {cell!r} is not a number "
                    "(leave the cell empty if it was not observed)"
                ) from error
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    infinite = np.flatnonzero(np.isinf(single)).tolist()
    if infinite:
        first = infinite[0]
        raise DataError(
            f"{where(first)}, column {name!r}: {cells[first]} is not finite in 32 bits; "
            "expected a number"
        )
    return single


def _number(cell: object) -> float:
    """Return the cell's value, NaN for an empty cell; raise ValueError for what is no number."""
    if cell is None or cell == "":
        return float("nan")
    if isinstance(cell, str) and not _NUMBER.fullmatch(cell):
        raise ValueError(cell)
    if isinstance(cell, bool) or not isinstance(cell, (str, int, float)):
        raise ValueError(cell)
    try:
        return float(cell)
    except OverflowError:  # an integer beyond the largest float
        return float("inf")


def _queries(cells: Column, where: Callable[[int], str]) -> Sequence[str]:
    """Check the texts; those that are on disk stay there."""
    texts = _texts("query", cells, where)
    if isinstance(cells, ArrowTexts):
        deque(texts, maxlen=0)
        return cells
    return list(texts)


def _texts(
    name: str, cells: Column, where: Callable[[int], str], blank: str | None = None
) -> Iterator[str]:
    """Texts of a column; an empty cell becomes `blank`, or is an error where that is None."""
    for row, cell in enumerate(cells):
        if cell is not None and not isinstance(cell, str):
            raise DataError(
                f"{where(row)}, column {name!r}: expected text, found {type(cell).__name__}"
            )
        if cell is None or not cell.strip():
            if blank is None:
                raise DataError(f"{where(row)}, column {name!r}: empty; expected text")
            cell = blank
        yield cell


def _tags(cells: Column, where: Callable[[int], str]) -> list[list[str]]:
    """Tags per row, from a list of texts or from one text separated by ';'."""
    tags = []
    for row, cell in enumerate(cells):
        names = [] if cell is None else cell.split(";") if isinstance(cell, str) else cell
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(
                f"{where(row)}, column 'tags': expected a list of texts, found {cell!r}"
            )
        tags.append(list(dict.fromkeys(name.strip() for name in names if name.strip())))
    return tags


def _responses(
    columns: Mapping[str, Column], experts: list[str], where: Callable[[int], str]
) -> list[list[str | None]] | None:
    names = [f"response:{expert}" for expert in experts]
    if not any(name in columns for name in names):
        return None
    for name in names:
        for row, cell in enumerate(columns.get(name, ())):
            if cell is not None and not isinstance(cell, str):
                raise DataError(
                    f"{where(row)}, column {name!r}: expected text, found {type(cell).__name__}"
                )
    empty: list[None] = [None] * len(columns["query"])
    by_expert = [columns.get(name, empty) for name in names]
    return [list(texts) for texts in zip(*by_expert, strict=True)]


def _ids(cells: Column | None, n_queries: int) -> list[str]:
    if cells is None:
        return [str(row) for row in range(n_queries)]
    return [str(row) if cell in (None, "") else str(cell) for row, cell in enumerate(cells)]
