"""Rows of CSV and JSON files as a stream, each with the line on which it starts."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from zooter_lite.errors import DataError
from zooter_lite.files.dialect import Header, separator_of
from zooter_lite.files.lines import decode_line, json_array
from zooter_lite.files.places import CSV_KINDS, JSON_KINDS, Source, open_source, split_suffix
from zooter_lite.files.records import SHOWN, Lines, Record, pieces, records

TEXT_SUFFIXES = tuple(f".{kind}{gz}" for kind in (*CSV_KINDS, *JSON_KINDS) for gz in ("", ".gz"))
_DECIMAL = re.compile(r"^(\s*[-+]?\d*),(\d+\s*)$")
_SIZE = 2**20  # bytes of a file that are parsed at a time


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
    with open_source(Source(path, *split_suffix(path), "")) as stream:
        lines = Lines(stream, path)
        line, header = read_header(lines, separator)
        columns = list(header.columns)
        yield line, columns
        places = [place for place, name in enumerate(columns) if is_number(name)]
        numbers = [] if header.separator == "," else places
        blank = 0
        for record in _records(lines, header):
            cells: list[str] = record.value
            if not any(cells) and len(columns) > 1:
                blank += 1
                continue
            for place in numbers:
                cells[place] = _DECIMAL.sub(r"\1.\2", cells[place])
            yield record.line, cells
    if blank:
        print(f"{path}: {blank} rows of empty cells are left out", file=sys.stderr)


def json_rows(path: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the line and the object of each line that is not blank, or of each of one array.

    A file may also be one object over several lines.

    Raises
    ------
    DataError
        Missing, empty, truncated or badly encoded file; a line or an element of the array
        that is no JSON object.
    """
    with open_source(Source(path, *split_suffix(path), "")) as stream:
        for record in _records(json_lines(Lines(stream, path)), None):
            yield record.line, record.value


def _records(lines: Lines, header: Header | None) -> Iterator[Record]:
    for piece in pieces(lines, _SIZE, header.separator if header else ""):
        for record in records(piece, header):
            if record.reason:
                raise DataError(f"{lines.name}, line {record.line}: {record.reason}")
            yield record


def read_header(lines: Lines, separator: str = "") -> tuple[int, Header]:
    """Read the names of the columns, and on which line they stand; tell what is left out.

    Raises
    ------
    DataError
        The file is empty, a column stands twice, or there is no telling them.
    """
    raw = lines.first()
    if not raw:
        raise DataError(
            f"{lines.name}: the file is empty; expected a header line with column names"
        )
    where = f"{lines.name}, line {lines.line + 1}"
    try:
        sign, told = separator_of(decode_line(raw[:SHOWN]), separator)
        if told:
            lines.count(lines.readline())
            where = f"{lines.name}, line {lines.line + 1}"
        piece = next(pieces(lines, 1, sign))
        if piece.too_long:
            raise ValueError(f"a header of {piece.too_long} bytes")
        record = next(records(piece, Header((), sign)))
        if record.reason:
            raise ValueError(record.reason)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    header = Header.of(record.value, sign, told)
    check_different(header.columns, where)
    if header.surplus:
        print(
            f"{lines.name}: {header.surplus} empty columns at the end are left out", file=sys.stderr
        )
    return record.line, header


def json_lines(lines: Lines, *, needed: bool = True) -> Lines:
    """Return JSON lines; of a file that is one array, or one object over several lines, made ones.

    Each element then is a line of its own, with its number where no two stand on one line.

    Raises
    ------
    DataError
        The file is empty, though one that is not is `needed`; or the array is broken.
    """
    first = lines.first().strip()
    if not first and needed:
        raise DataError(f"{lines.name}: the file is empty; expected one JSON object per line")
    if first[:1] != b"[" and first != b"{":
        return lines
    whole = b"".join(iter(lambda: lines.block(_SIZE), b""))
    made, last = [], 0
    try:
        text = "\n" * lines.line + decode_line(whole)
        for line, element in json_array(f"[{text}]" if first == b"{" else text):
            gap = max(line - last, 1)
            made.append("\n" * (gap - 1) + element.replace("\n", " ") + "\n")
            last += gap
    except ValueError as error:
        raise DataError(f"{lines.name}, {error}") from error
    return Lines(io.BytesIO("".join(made).encode()), lines.name)


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
