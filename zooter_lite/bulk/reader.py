"""From files to blocks; the only part of a job that reads its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

from zooter_lite.bulk.block import Block, Task
from zooter_lite.bulk.parquet import open_parquet, parquet_columns, parquet_pieces
from zooter_lite.bulk.text_rows import csv_cells
from zooter_lite.errors import DataError
from zooter_lite.files.lines import decode_line
from zooter_lite.files.places import go_to, open_source
from zooter_lite.files.records import MARK, Lines, Piece, csv_records, pieces
from zooter_lite.files.rows import no_column

_Pieces = Iterator[tuple[tuple[str, ...] | None, Piece]]


def read_blocks(task: Task) -> Iterator[Block]:
    """Yield the blocks of a file, at least one; where they end depends on the file alone.

    Raises
    ------
    DataError
        The file cannot be read, or lacks what the job needs.
    """
    read = {"csv": _csv_pieces, "jsonl": _json_pieces, "parquet": _parquet_pieces}
    given = read[task.source.kind](task)
    columns, piece = next(given)
    first = not task.end
    for _, following in given:
        yield Block(task, columns, piece, first, final=False)
        piece, first = following, False
    yield Block(task, columns, piece, first, final=True)


def _csv_pieces(task: Task) -> _Pieces:
    with open_source(task.source) as stream:
        lines = Lines(stream, task.source.name)
        columns = _header(lines, task)
        yield from ((columns, piece) for piece in _rest(lines, stream, task, quotes=True))


def _json_pieces(task: Task) -> _Pieces:
    blank = task.alone and not task.end
    with open_source(task.source) as stream:
        lines = Lines(stream, task.source.name)
        for piece in _rest(lines, stream, task, quotes=False):
            blank = blank and isinstance(piece.content, bytes) and not piece.content.strip()
            if not blank:
                yield None, piece
    if blank:
        raise DataError(f"{task.source.name}: the file is empty; expected one JSON object per line")


def _parquet_pieces(task: Task) -> _Pieces:
    with open_parquet(task.source) as file:
        columns = parquet_columns(file, task.source, task.column)
        _check_columns(columns, task)
        for piece in parquet_pieces(file, task.source, task.size, task.last):
            yield columns, piece


def _rest(lines: Lines, stream: IO[bytes], task: Task, *, quotes: bool) -> Iterator[Piece]:
    """Pieces from the place where the job stands."""
    if task.end:
        go_to(stream, task.source, lines.offset, task.end)
        lines = Lines(stream, task.source.name, task.end, task.last)
    return pieces(lines, task.size, quotes=quotes)


def _header(lines: Lines, task: Task) -> tuple[str, ...]:
    """Read the names of the columns.

    Raises
    ------
    DataError
        There are none, one stands twice, or they do not fit the job.
    """
    for record in csv_records(lines):
        if record.raw.removeprefix(MARK if record.line == 1 else b"").strip():
            break
    else:
        raise DataError(
            f"{lines.name}: the file is empty; expected a header line with column names"
        )
    where = f"{lines.name}, line {record.line}"
    try:
        if not record.whole:
            raise ValueError(f"a header of {record.size} bytes")
        columns = csv_cells(decode_line(record.raw, first=record.line == 1))
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    repeated = next((name for name in columns if columns.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"{where}: column {repeated!r} appears more than once")
    _check_columns(columns, task)
    return tuple(columns)


def _check_columns(columns: Sequence[str], task: Task) -> None:
    name = task.source.name
    if task.column not in columns:
        raise no_column(name, task.column, columns, " (--column names another)")
    taken = next((column for column in task.added if column in columns), None)
    if taken is not None:
        raise DataError(f"{name}: already has a column {taken!r}, which the output adds; rename it")
