"""Rows of CSV and JSON-lines files as a stream, each with the line on which it starts."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    with _open_lines(path) as lines:
        reader = csv.reader(iter(lines), strict=True)
        while True:
            line = lines.count + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise DataError(f"{path}, line {line}: broken CSV ({error})") from error
            if cells is None:
                break
            if not cells and len(columns) != 1:
                continue
            if not columns:
                repeated = sorted({name for name in cells if cells.count(name) > 1})
                if repeated:
                    raise DataError(
                        f"{path}, line {line}: column {repeated[0]!r} appears more than once"
                    )
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
    with _open_lines(path) as lines:
        for text in lines:
            if not text.strip():
                continue
            try:
                value = json_object(text)
            except ValueError as error:
                raise DataError(f"{path}, line {lines.count}: {error}") from error
            empty = False
            yield lines.count, value
    if empty:
        raise DataError(f"{path}: the file is empty; expected one JSON object per line")


@contextmanager
def _open_lines(path: str) -> Iterator[_Lines]:
    opener = gzip.open if path.lower().endswith(".gz") else open
    try:
        stream = cast("IO[bytes]", opener(path, "rb"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    with stream:
        yield _Lines(stream, path)


class _Lines:
    """Decoded lines of a byte stream, counted, with errors that name the line."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name = name
        self.count = 0
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        try:
            for raw in self._stream:
                self.count += 1
                try:
                    yield decode_line(raw, first=self.count == 1)
                except ValueError as error:
                    raise DataError(f"{self.name}, line {self.count}: {error}") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{self.name}, after line {self.count}: truncated or damaged gzip data ({error})"
            ) from error
        except OSError as error:
            raise DataError(f"{self.name}: {error.strerror or error}") from error


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
