"""A file of queries: each one's text, its id, and the other columns of its row."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from zooter_lite.files.dialect import check_separator
from zooter_lite.files.messages import Context
from zooter_lite.files.rows import no_column
from zooter_lite.table.columns import Column, Columns, objects, tags_in
from zooter_lite.table.storage import read_columns, write_columns


@dataclass(frozen=True)
class Queries:
    """Queries in the order of their file, each once."""

    ids: list[str]  # the column query_id, or a hash of the text where the file has none
    texts: list[str]
    rows: list[dict[str, Any]]  # every other column of each row; None for an empty cell
    repeated: int = 0  # rows of the file that were left out because their id had been met

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> dict[str, Column]:
        """The other columns, in the order in which they appear."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row.get(name) for row in self.rows] for name in names}

    def tags(self) -> list[list[str]]:
        """Tags of each query; empty lists where the file has none."""
        cells: dict[str, Column] = {"tags": [row.get("tags") for row in self.rows]}
        own = Columns("the queries", cells, ["tags"], lambda row: f"query {self.ids[row]!r}")
        return own.converted("tags", tags_in)

    def take(self, places: Sequence[int]) -> Queries:
        """Return the queries at these positions, in the given order."""
        parts = ([part[place] for place in places] for part in (self.ids, self.texts, self.rows))
        return Queries(*parts)  # type: ignore[arg-type]


def query_id(text: str) -> str:
    """Name of a query that has none: 16 hexadecimal digits of a hash of its text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_queries(
    path: str,
    column: str = "query",
    others: Container[str] | None = None,
    *,
    separator: str = "",
    context: Context = "last",
) -> Queries:
    """Read queries from whatever holds a table, with the options of `RewardTable.read`.

    The prompts stand in `column`; `others` are the columns to read beside it and query_id,
    None for all. DataError where a prompt has no text, or a query_id two.
    """
    own = (column, "query_id")
    columns = read_columns(
        path,
        lambda names: [name for name in names if others is None or name in own or name in others],
        check_separator(separator),
    )
    if column not in columns.names:
        raise no_column(path, column, columns.names, " (--column names another)")
    texts = columns.prompts(column, context)
    ids = columns.row_ids(texts, lambda row: query_id(texts[row]))
    rest = {name: objects(cells) for name, cells in columns.cells.items() if name not in own}
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        first.setdefault(name, row)
    return Queries(
        list(first),
        [texts[row] for row in first.values()],
        [
            {name: None if cells[row] == "" else cells[row] for name, cells in rest.items()}
            for row in first.values()
        ],
        repeated=len(ids) - len(first),
    )


def write_queries(queries: Queries, path: str, column: str = "query") -> None:
    """Write queries as .csv, .jsonl (both also .gz) or .parquet; the file appears whole."""
    write_columns({"query_id": queries.ids, column: queries.texts} | queries.columns, path)
