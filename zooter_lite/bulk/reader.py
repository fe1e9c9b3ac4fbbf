"""From files to blocks; the only part of a job that reads its input."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO

from zooter_lite.bulk.block import Block
from zooter_lite.errors import DataError
from zooter_lite.files.lines import decode_line
from zooter_lite.files.parquet import open_parquet, parquet_columns, parquet_pieces
from zooter_lite.files.records import Lines, Piece, Record, csv_records, pieces
from zooter_lite.files.store import Source, go_to, open_text


@dataclass(frozen=True)
class Start:
    """A file and the place in it from which a job has to read.

    Attributes
    ----------
    number
        Place of the file among those of the job.
    source, packing
        The file, and how the output is packed.
    column, added
        Column that holds the prompt, and those that the output adds.
    size
        Bytes of a block.
    end, last
        Bytes and lines (rows of Parquet) that are done.
    alone
        Whether it is the only file, which is then not expected to be empty.
    """

    number: int
    source: Source
    packing: str
    column: str
    added: tuple[str, ...]
    size: int
    end: int = 0
    last: int = 0
    alone: bool = True


def read_blocks(start: Start) -> Iterator[Block]:
    """Yield the blocks of a file, at least one; where they end depends on the file alone.

    Raises
    ------
    DataError
        The file cannot be read, or lacks what the job needs.
    """
    source = start.source
    read = {"csv": _csv_pieces, "jsonl": _json_pieces, "parquet": _parquet_pieces}[source.kind]
    waiting: Block | None = None
    for columns, piece in read(start):
        first = waiting is None and not start.end
        if waiting is not None:
            yield waiting
        waiting = Block(
            start.number, source.name, source.kind, start.packing, columns, piece, first, False
        )
    if waiting is None:
        raise RuntimeError("a file without a block")
    yield replace(waiting, final=True)


_Pieces = Iterator[tuple[tuple[str, ...] | None, Piece]]


def _csv_pieces(start: Start) -> _Pieces:
    with open_text(start.source) as stream:
        lines = Lines(stream, start.source.name)
        columns = _header(lines, start)
        yield from ((columns, piece) for piece in _rest(lines, stream, start, quotes=True))


def _json_pieces(start: Start) -> _Pieces:
    with open_text(start.source) as stream:
        lines = Lines(stream, start.source.name)
        blank = not start.end
        for piece in _rest(lines, stream, start, quotes=False):
            blank = blank and not piece.cut and not piece.raw.strip()
            if not blank or not start.alone:
                yield None, piece
        if blank and start.alone:
            raise DataError(
                f"{start.source.name}: the file is empty; expected one JSON object per line"
            )


def _rest(lines: Lines, stream: IO[bytes], start: Start, *, quotes: bool) -> Iterator[Piece]:
    """Pieces from the place where the job stands; an empty one where none are left."""
    if start.end:
        go_to(stream, start.source, lines.offset, start.end)
        lines = Lines(stream, start.source.name, start.end, start.last)
    some = False
    for piece in pieces(lines, start.size, quotes=quotes):
        some = True
        yield piece
    if not some:
        yield Piece(b"", lines.line + 1, lines.offset, lines.line)


def _header(lines: Lines, start: Start) -> tuple[str, ...]:
    """Read the names of the columns.

    Raises
    ------
    DataError
        There are none, one stands twice, or they do not fit the job.
    """
    record = next((record for record in csv_records(lines) if _holds_something(record)), None)
    if record is None:
        raise DataError(
            f"{lines.name}: the file is empty; expected a header line with column names"
        )
    try:
        if not record.whole:
            raise ValueError(f"a header of {record.size} bytes")
        text = decode_line(record.raw, first=record.line == 1)
        columns = next(csv.reader(io.StringIO(text, newline="\n"), strict=True))
    except ValueError as error:
        raise DataError(f"{lines.name}, line {record.line}: {error}") from error
    except csv.Error as error:
        raise DataError(f"{lines.name}, line {record.line}: broken CSV ({error})") from error
    repeated = next((name for name in columns if columns.count(name) > 1), None)
    if repeated is not None:
        raise DataError(
            f"{lines.name}, line {record.line}: column {repeated!r} appears more than once"
        )
    _check_columns(columns, start)
    return tuple(columns)


def _holds_something(record: Record) -> bool:
    mark = "\ufeff".encode() if record.line == 1 else b""
    return bool(record.raw.removeprefix(mark).strip())


def _check_columns(columns: Sequence[str], start: Start) -> None:
    name = start.source.name
    if start.column not in columns:
        found = ", ".join(repr(column) for column in columns[:8])
        other = next((sign for sign in (";", "\t", "|") if sign in "".join(columns)), None)
        hint = f"; are its cells divided by {other!r}? expected commas" if other else ""
        raise DataError(
            f"{name}: no column {start.column!r}; found {found} (--column names another){hint}"
        )
    taken = next((column for column in start.added if column in columns), None)
    if taken is not None:
        raise DataError(f"{name}: already has a column {taken!r}, which the output adds; rename it")


def _parquet_pieces(start: Start) -> _Pieces:
    with open_parquet(start.source) as file:
        columns = parquet_columns(file, start.source, start.column)
        _check_columns(columns, start)
        some = False
        for piece in parquet_pieces(file, start.source, start.size, start.last):
            some = True
            yield columns, piece
        if not some:
            yield columns, Piece(b"", start.last + 1, start.end, start.last)
