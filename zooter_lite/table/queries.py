"""A file of queries: each one's text, its id, and the other columns of its row."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from zooter_lite.files.dialect import check_separator
from zooter_lite.files.messages import Context
from zooter_lite.files.rows import no_column
from zooter_lite.table.cells import prompts, row_ids, tag_lists
from zooter_lite.table.columns import Column, objects
from zooter_lite.table.storage import check_cells, read_columns, write_columns


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
    def columns(self) -> list[str]:
        """Names of the other columns, in the order in which they appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def tags(self) -> list[list[str]]:
        """Tags of each query; empty lists where the file has none."""
        cells = [row.get("tags") for row in self.rows]
        return tag_lists(cells, lambda row: f"query {self.ids[row]!r}")

    def take(self, places: Sequence[int]) -> Queries:
        """Return the queries at these positions, in the given order."""
        return Queries(
            [self.ids[place] for place in places],
            [self.texts[place] for place in places],
            [self.rows[place] for place in places],
        )


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
    """Read queries from whatever holds a table (`read_columns`).

    Parameters
    ----------
    column
        Name of the column that holds the prompts.
    others
        Columns to read beside it and query_id; None reads all.
    separator
        Between the cells of CSV; empty where the file tells.
    context
        Which turns of a chat are the prompt (files/messages.py).

    Raises
    ------
    DataError
        With the file and line, and what was expected there: a text in `column`, and
        one text for every query_id.
    """
    columns = read_columns(
        path,
        lambda names: [
            name
            for name in names
            if name in (column, "query_id") or others is None or name in others
        ],
        check_separator(separator),
    )
    if column not in columns.names:
        raise no_column(path, column, columns.names, " (--column names another)")
    texts = prompts(column, columns.cells[column], columns.where, context)
    ids = row_ids(columns, texts, lambda row: query_id(texts[row]))
    cells = {
        name: objects(cells)
        for name, cells in columns.cells.items()
        if name not in (column, "query_id")
    }
    first: dict[str, int] = {}
    kept = [row for row, name in enumerate(ids) if first.setdefault(name, row) == row]
    return Queries(
        [ids[row] for row in kept],
        [texts[row] for row in kept],
        [
            {name: None if column[row] == "" else column[row] for name, column in cells.items()}
            for row in kept
        ],
        repeated=len(ids) - len(kept),
    )


def check_writable(queries: Queries, path: str) -> None:
    """Raise DataError where a column of the queries cannot be written to `path`."""
    check_cells(_others(queries), path)


def write_queries(queries: Queries, path: str, column: str = "query") -> None:
    """Write queries as .csv, .jsonl (both also .gz) or .parquet; the file appears whole.

    Raises
    ------
    DataError
        The format is unknown, the file cannot be written, or it cannot hold a cell.
    """
    write_columns({"query_id": queries.ids, column: queries.texts} | _others(queries), path)


def _others(queries: Queries) -> dict[str, Column]:
    return {name: [row.get(name) for row in queries.rows] for name in queries.columns}
