"""The reward table: read, validated, held in memory, written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.dialect import check_separator
from zooter_lite.files.messages import Context
from zooter_lite.table.arrow import read_frame
from zooter_lite.table.columns import (
    ArrowTexts,
    Column,
    Columns,
    filled_text,
    subset_in,
    tags_in,
    taken,
)
from zooter_lite.table.keys import query_hashes
from zooter_lite.table.shapes import OF_QUERY, columns_of, in_our_shape
from zooter_lite.table.storage import read_columns, write_columns

FloatArray = NDArray[np.float32]

_BY_ROW = (
    "queries", "rewards", "subsets", "splits", "tags", "costs", "responses", "query_ids",
    "propensities",
)  # fmt: skip


@dataclass(frozen=True)
class RewardTable:
    """Rewards of several experts on the same queries; NaN or None where nothing was observed."""

    queries: Sequence[str]  # the prompts: a list, or `ArrowTexts` where they stay on disk
    experts: list[str]  # their names, in the order of the columns of `rewards`
    rewards: FloatArray  # (n_queries, n_experts) float32
    subsets: list[str]  # benchmark or domain of each query; "all" where the file has none
    splits: list[str] | None  # `train`, `test`, or any other name that is evaluated apart
    tags: list[list[str]] | None  # of each query, in the file's order
    costs: FloatArray | None  # (n_queries, n_experts) float32 in one unit for the whole table
    responses: list[list[str | None]] | None  # of each query, one text per expert
    query_ids: list[str]  # names of the rows; their position where the file has none
    # (n_queries, n_experts) of each scorer by its name, where `score` had several
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    # (n_queries,) chance, in (0, 1], with which the only expert observed for a query was chosen,
    # as a log of routed prompts has it; NaN where unknown or where a query has several rewards
    propensities: NDArray[np.float64] | None = None

    @classmethod
    def read(
        cls,
        source: str | os.PathLike[str],
        *,
        responses: bool = True,
        scores: bool = True,
        long: Sequence[str] = (),
        separator: str = "",
        fewest: int = 2,
        context: Context = "last",
    ) -> RewardTable:
        """Read and validate a reward table.

        Large Parquet files, and what `datasets` reads, are mapped from disk: their queries
        stay there. Text files are read into memory whole. DataError names the file, row and
        column, and what was expected there.

        Parameters
        ----------
        source
            A .parquet, .jsonl, .json or .csv file (the text files also .gz), a folder saved by
            `datasets`, a folder or hub name (owner/name) that `datasets.load_dataset` reads.
            One row for each query, or one for each query and model; or what another project
            publishes (table/shapes.py).
        responses, scores
            Whether the columns "response:<expert>", which outweigh all others, and
            "score:<scorer>:<expert>" are read.
        long
            Columns of the model and of the reward, where a row is a query's and a model's and
            they have unusual names.
        separator
            Between the cells of CSV; empty where the file tells.
        fewest
            Experts that there have to be; 1 for a file that adds one to another table.
        context
            Which turns of a chat are the query (files/messages.py).
        """
        columns = read_columns(
            os.fspath(source),
            lambda names: _used(names, long, responses=responses, scores=scores),
            check_separator(separator),
        )
        return build_table(columns, fewest, context, long)

    @classmethod
    def of(cls, frame: Any, name: str = "table", context: Context = "last") -> RewardTable:
        """Validate a frame in memory, with the columns that a file has, as `read` does.

        That is a pandas or polars frame, a `datasets.Dataset` or `DatasetDict`, an Arrow table, or
        anything else that Arrow takes over. Messages call it `name`.
        """
        return build_table(read_frame(frame, name, _used), context=context)

    def __repr__(self) -> str:
        """Name its size and its experts, in one line."""
        return f"<RewardTable: {len(self)} queries; {', '.join(self.experts)}>"

    @property
    def has_costs(self) -> bool:
        """Whether a cost of every expert was observed, on some row at least."""
        return self.costs is not None and not bool(np.isnan(self.costs).all(axis=0).any())

    def __len__(self) -> int:
        return len(self.queries)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of the rows of one split, in order."""
        return np.flatnonzero(np.asarray(self.splits) == split)

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> RewardTable:
        """Return the table of these rows, in the given order."""
        index = np.asarray(rows, dtype=np.int64)
        parts = {name: taken(getattr(self, name), index) for name in _BY_ROW}
        scores = {name: values[index] for name, values in self.scores.items()}
        return replace(self, **parts, scores=scores)

    def leaks(self) -> NDArray[np.int64]:
        """Rows outside `train` whose query also stands in `train` (white space folded)."""
        if self.splits is None:
            return np.zeros(0, dtype=np.int64)
        hashes, train = query_hashes(self.queries), np.asarray(self.splits) == "train"
        return np.flatnonzero(~train & np.isin(hashes, hashes[train]))

    def hold_out(self, share: float = 0.2) -> RewardTable:
        """Split a table that has no splits into `train` and `test`.

        A row's split depends on its query alone (a hash), so equal queries never
        stand on both sides and a grown table keeps its old split.
        """
        held = query_hashes(self.queries) >> np.uint64(32) < int(share * 2**32)
        return replace(self, splits=[("train", "test")[one] for one in held.tolist()])


def as_table(source: Any, **options: Any) -> RewardTable:
    """Return the reward table that `source` is, names (a path), or holds (a frame).

    Of a file neither responses nor scores are read, unless `options`, those of `read`, say so.
    """
    if isinstance(source, RewardTable):
        return source
    if isinstance(source, (str, os.PathLike)):
        return RewardTable.read(source, **{"responses": False, "scores": False, **options})
    return RewardTable.of(source, context=options.get("context", "last"))


def _used(
    names: Sequence[str], long: Sequence[str] = (), *, responses: bool = True, scores: bool = True
) -> list[str]:
    """Return those of these columns that a reward table is made of."""
    left_out = ("response",) * (not responses) + ("score:",) * (not scores)
    pairs = columns_of(names, long).items()
    return [theirs for ours, theirs in pairs if not ours.startswith(left_out)]


def sample_path() -> str:
    """Path of the bundled sample: prompts answered by pocket experts (recipes/pocket)."""
    return str(resources.files("zooter_lite.table").joinpath("sample.jsonl.gz"))


def write_table(table: RewardTable, path: str) -> None:
    """Write a reward table as .parquet, .jsonl or .csv (the last two also .gz), atomically.

    DataError where the folder cannot be written, the format is unknown, or it cannot hold a cell,
    such as a tag with the ';' that separates tags in CSV.
    """
    by_query = (
        table.query_ids, table.queries, table.subsets, table.splits, table.tags,
        table.propensities,
    )  # fmt: skip
    columns: dict[str, Column | None] = dict(zip(OF_QUERY, by_query, strict=True))
    said = None if table.responses is None else list(zip(*table.responses, strict=True))
    by_expert = {"reward": table.rewards.T, "cost": None if table.costs is None else table.costs.T}
    groups: dict[str, Any] = by_expert | {"response": said}
    groups |= {f"score:{scorer}": values.T for scorer, values in table.scores.items()}
    for prefix, own in groups.items():
        if own is not None:
            names = (f"{prefix}:{expert}" for expert in table.experts)
            columns |= dict(zip(names, own, strict=True))
    write_columns({name: column for name, column in columns.items() if column is not None}, path)


def build_table(
    columns: Columns, fewest: int = 2, context: Context = "last", long: Sequence[str] = ()
) -> RewardTable:
    """Validate columns, wide, long or of a published shape, and make the reward table of them.

    DataError for a missing or unusable column, or a cell that is not what its column needs.
    """
    columns = in_our_shape(columns, long)
    source, where, read = columns.source, columns.where, columns.cells
    experts = columns.experts(fewest)
    if len(columns) == 0:
        raise DataError(f"{source}: no rows; expected one row per query")
    rewards = columns.matrix("reward:", experts).astype(np.float32)
    count = (~np.isnan(rewards)).sum(axis=1)
    if fewest > 1 and not count.all():
        raise DataError(
            f"{where(int(np.argmin(count)))}: no reward at all; "
            "expected a number in at least one 'reward:' column"
        )
    queries: Sequence[str] = columns.prompts("query", context)
    if isinstance(read["query"], ArrowTexts) and queries == read["query"][:]:
        queries = read["query"]
    return RewardTable(
        queries=queries,
        experts=experts,
        rewards=rewards,
        subsets=columns.converted("subset", subset_in)
        if "subset" in read
        else ["all"] * len(columns),
        splits=columns.converted("split", filled_text) if "split" in read else None,
        tags=columns.converted("tags", tags_in) if "tags" in read else None,
        costs=columns.matrix("cost:", experts).astype(np.float32)
        if any(name.startswith("cost:") for name in read)
        else None,
        responses=columns.responses(experts),
        query_ids=columns.row_ids(queries, str),
        scores=columns.scores(experts),
        propensities=np.where(count == 1, columns.numbers("propensity"), np.nan)
        if "propensity" in read
        else None,
    )
