"""A file of queries: each one's text, its id, and the other columns of its row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.rows import (
    TEXT_SUFFIXES,
    RowWriter,
    atomic_file,
    atomic_text,
    open_rows,
)

SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
TAG_SIGN = ";"  # between the tags of a CSV cell


@dataclass(frozen=True)
class Queries:
    """Queries in the order of their file, each once.

    Attributes
    ----------
    ids
        The column query_id, or a hash of the text where the file has none.
    texts
        The prompts.
    rows
        Every other column of each row; None for an empty cell.
    repeated
        Rows of the file that were left out because their id had been met.
    """

    ids: list[str]
    texts: list[str]
    rows: list[dict[str, Any]]
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> list[str]:
        """Names of the other columns, in the order in which they appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def tags(self) -> list[list[str]]:
        """Tags of each query; empty lists where the file has none."""
        return [tags_of(row.get("tags")) for row in self.rows]

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


def tags_of(cell: object) -> list[str]:
    """Tags of one cell: a list of texts, or a text with ; between them.

    Raises
    ------
    DataError
        It is neither.
    """
    if cell is None:
        return []
    if not isinstance(cell, (str, list, tuple)):
        raise DataError(
            f"tags are {cell!r}, expected a list of texts or a text with ; between them"
        )
    parts = cell.split(TAG_SIGN) if isinstance(cell, str) else cell
    return [str(part).strip() for part in parts if str(part).strip()]


def read_queries(path: str, column: str = "query") -> Queries:
    """Read a .csv, .jsonl (both also .gz) or .parquet file of queries.

    Raises
    ------
    DataError
        With the file and line, and what was expected there: a text in `column`, and
        one text for every query_id.
    """
    places: dict[str, int] = {}
    ids: list[str] = []
    texts: list[str] = []
    rows: list[dict[str, Any]] = []
    repeated = 0
    for where, values in _records(path):
        if column not in values:
            raise DataError(f"{where}: no column {column!r} (--column names another)")
        text = values.pop(column)
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: {column} is {text!r:.40}, expected the text of a query")
        given = values.pop("query_id", None)
        if not isinstance(given, (str, int, float, type(None))):
            raise DataError(f"{where}: query_id is {given!r:.40}, expected a text or a number")
        name = query_id(text) if given in (None, "") else str(given)
        if name in places:
            if texts[places[name]] != text:
                raise DataError(f"{where}: query_id {name!r} stands at two different queries")
            repeated += 1
            continue
        places[name] = len(ids)
        ids.append(name)
        texts.append(text)
        rows.append({key: None if cell == "" else cell for key, cell in values.items()})
    return Queries(ids, texts, rows, repeated)


def write_queries(queries: Queries, path: str, column: str = "query") -> None:
    """Write queries as .csv, .jsonl (both also .gz) or .parquet; the file appears whole.

    Raises
    ------
    DataError
        The format is unknown, the file cannot be written, or CSV cannot hold a cell.
    """
    names = ["query_id", column, *queries.columns]
    records = (
        {"query_id": name, column: text, **{key: row.get(key) for key in names[2:]}}
        for name, text, row in zip(queries.ids, queries.texts, queries.rows, strict=True)
    )
    if path.lower().endswith(".parquet"):
        _write_parquet(path, list(records))
        return
    if not path.lower().endswith(TEXT_SUFFIXES):
        raise DataError(f"{path}: unknown format; expected a name ending in {', '.join(SUFFIXES)}")
    kind = "csv" if path.lower().endswith((".csv", ".csv.gz")) else "jsonl"
    with atomic_text(path) as stream:
        writer = RowWriter(stream, kind, names)
        for record in records:
            writer.write([_joined(record, path) if kind == "csv" else record])


def _joined(record: Mapping[str, Any], path: str) -> dict[str, object]:
    cells = dict(record)
    for name, cell in cells.items():
        if isinstance(cell, list):
            if any(TAG_SIGN in str(part) for part in cell):
                raise DataError(f"{path}: {name} holds a text with ';', which CSV cannot keep")
            cells[name] = TAG_SIGN.join(str(part) for part in cell)
    return cells


def _records(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each row stands, and its values."""
    if path.lower().endswith(".parquet"):
        for place, row in enumerate(_read_parquet(path), 1):
            yield f"{path}, row {place}", row
        return
    with open_rows(path) as reader:
        for record in reader.rows:
            yield f"{path}, line {record.line}", dict(record.values)


def _read_parquet(path: str) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("pyarrow", "fit", f"{path}: reading Parquet") from error
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file")
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a readable Parquet file ({reason})") from error


def _write_parquet(path: str, records: list[dict[str, Any]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("pyarrow", "fit", f"{path}: writing Parquet") from error
    try:
        table = pa.Table.from_pylist(records)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise DataError(f"{path}: the columns cannot be written ({error})") from error
    with atomic_file(Path(path)) as partial:
        pq.write_table(table, partial)
