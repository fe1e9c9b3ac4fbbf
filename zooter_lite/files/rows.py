"""Rows of CSV and JSON-lines files as a stream, each with the line on which it starts."""

from __future__ import annotations

import csv
import gzip
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import IO, cast

from zooter_lite.errors import DataError
from zooter_lite.files.dialect import dialect_of, header_of, left_out
from zooter_lite.files.lines import decode_line, is_array, json_array, json_object

STANDARD = "-"  # standard input or output, for the commands that take it
CSV_KINDS = ("csv", "tsv")
JSON_KINDS = ("jsonl", "ndjson", "json")
TEXT_SUFFIXES = tuple(f".{kind}{gz}" for kind in (*CSV_KINDS, *JSON_KINDS) for gz in ("", ".gz"))
_DECIMAL = re.compile(r"^(\s*[-+]?\d*),(\d+\s*)$")
_MAX_CELL = 2**31 - 1  # the csv module refuses cells over 128 KiB unless told otherwise


def is_csv(path: str) -> bool:
    """Whether a path with one of the `TEXT_SUFFIXES` is CSV, else JSON lines."""
    return path.lower().removesuffix(".gz").endswith(CSV_KINDS)


def csv_rows(
    path: str, is_number: Callable[[str], bool] = lambda _: False, separator: str = ""
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each record, the header first.

    A blank line, or one of empty cells, is one empty cell where there is one column, else
    nothing. Such rows and unnamed columns at the end are left out, with a word on stderr.
    Where no commas divide the cells, 0,75 is 0.75 in a column whose name `is_number` takes.
    An empty `separator` is told by the file.

    Raises
    ------
    DataError
        Missing, empty, truncated or badly encoded file; a row that does not fit the header.
    """
    csv.field_size_limit(_MAX_CELL)
    columns: list[str] = []
    numbers: list[int] = []
    blank = 0
    lines = _lines(path)
    before, first = next(((n, line) for n, line in enumerate(lines) if line.strip()), (0, ""))
    dialect = dialect_of(first, separator)
    rest = lines if dialect.told else chain([first], lines)
    before += dialect.told
    reader = csv.reader(rest, delimiter=dialect.separator, strict=True)
    while True:
        line = before + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: broken CSV ({error})") from error
        if cells is None:
            break
        if not any(cells) and len(columns) != 1:
            blank += bool(cells and columns)
            continue
        if not columns:
            cells, dialect = header_of(cells, dialect)
            check_different(cells, f"{path}, line {line}")
            if dialect.surplus:
                print(left_out(dialect, path), file=sys.stderr)
            columns = cells
            if dialect.separator != ",":
                numbers = [place for place, name in enumerate(cells) if is_number(name)]
        cells = dialect.fitted(cells or [""], len(columns))
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells, "
                f"but the header has {len(columns)} columns"
            )
        for place in numbers:
            cells[place] = _DECIMAL.sub(r"\1.\2", cells[place])
        yield line, cells
    if blank:
        print(f"{path}: {blank} rows of empty cells are left out", file=sys.stderr)
    if not columns:
        raise DataError(f"{path}: the file is empty; expected a header line with column names")


def json_rows(path: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the line and the object of each line that is not blank, or of each of one array.

    A file may also be one object over several lines.

    Raises
    ------
    DataError
        Missing, empty, truncated or badly encoded file; a line or an element of the array
        that is no JSON object.
    """
    empty = True
    lines = ((line, text) for line, text in enumerate(_lines(path), 1) if text.strip())
    for line, text in _elements(lines, path):
        try:
            value = json_object(text)
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}") from error
        empty = False
        yield line, value
    if empty:
        raise DataError(f"{path}: the file is empty; expected one JSON object per line")


def _elements(lines: Iterator[tuple[int, str]], path: str) -> Iterator[tuple[int, str]]:
    """Yield the lines as they are, or what the one array or object that they are holds."""
    first, second = next(lines, None), next(lines, None)
    one_object = first is not None and first[1].strip("\ufeff \t\r\n") == "{"
    if first is None or not (one_object or is_array(first[1], alone=second is None)):
        yield from (line for line in chain([first, second], lines) if line is not None)
        return
    lines = chain([second] if second else [], lines)
    whole = "\n" * (first[0] - 1) + first[1] + "".join(text for _, text in lines)
    try:
        yield from json_array(f"[{whole}]" if one_object else whole)
    except ValueError as error:
        raise DataError(f"{path}, {error}") from error


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
    """Make the error for a file that lacks a column; it lists those that were found."""
    return DataError(f"{source}: no column {column!r}; found {listed(found)}{advice}")


def listed(names: Sequence[str], most: int = 8) -> str:
    """Join the first names for a message.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
