"""Rows of CSV and JSON-lines files as a stream, each with the line on which it starts."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, cast

from zooter_lite.errors import DataError
from zooter_lite.files.lines import decode_line, json_object

STANDARD = "-"  # standard input or output, for the commands that take it
TEXT_SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_MAX_CELL = 2**31 - 1  # the csv module refuses cells over 128 KiB unless told otherwise


def is_csv(path: str) -> bool:
    """Whether a path with one of the `TEXT_SUFFIXES` is CSV, else JSON lines."""
    return path.lower().removesuffix(".gz").endswith(".csv")


def csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each record, the header first.

    A blank line is one empty cell where there is one column, else nothing.

    Raises
    ------
    DataError
        Missing, empty, truncated or badly encoded file; a row that does not fit the header.
    """
    csv.field_size_limit(_MAX_CELL)
    columns: list[str] = []
    reader = csv.reader(_lines(path), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: broken CSV ({error})") from error
        if cells is None:
            break
        if not cells and len(columns) != 1:
            continue
        if not columns:
            check_different(cells, f"{path}, line {line}")
            columns = cells
        cells = cells or [""]
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells, "
                f"but the header has {len(columns)} columns"
            )
        yield line, cells
    if not columns:
        raise DataError(f"{path}: the file is empty; expected a header line with column names")


def json_rows(path: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the line and the object of each line that is not blank.

    Raises
    ------
    DataError
        Missing, empty, truncated or badly encoded file; a line that is no JSON object.
    """
    empty = True
    for line, text in enumerate(_lines(path), 1):
        if not text.strip():
            continue
        try:
            value = json_object(text)
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}") from error
        empty = False
        yield line, value
    if empty:
        raise DataError(f"{path}: the file is empty; expected one JSON object per line")


def _lines(path: str) -> Iterator[str]:
    opener = gzip.open if path.lower().endswith(".gz") else open
    line = 0
    try:
        with cast("IO[bytes]", opener(path, "rb")) as stream:
            for line, raw in enumerate(stream, 1):
                try:
                    text = decode_line(raw, first=line == 1)
                except ValueError as error:
                    raise DataError(f"{path}, line {line}: {error}") from error
                yield text
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}, after line {line}: truncated or damaged gzip data ({error})"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def check_different(columns: Sequence[str], where: str) -> None:
    """Raise DataError where two columns have one name."""
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise DataError(f"{where}: column {repeated[0]!r} appears more than once")


def no_column(source: str, column: str, found: Sequence[str], advice: str = "") -> DataError:
    """Make the error for a file that lacks a column.

    It lists the columns that were found, and says so where their names look as if
    something else than commas divided the cells.
    """
    other = next((sign for sign in (";", "\t", "|") if sign in "".join(found)), None)
    hint = f"; are its cells divided by {other!r}? expected commas" if other else ""
    return DataError(f"{source}: no column {column!r}; found {listed(found)}{advice}{hint}")


def listed(names: Sequence[str], most: int = 8) -> str:
    """Join the first names for a message.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
