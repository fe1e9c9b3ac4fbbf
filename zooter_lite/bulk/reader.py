"""From files to blocks; the only part of a job that reads its input."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO

from zooter_lite.bulk.block import Block, Task
from zooter_lite.bulk.parquet import open_parquet, parquet_columns, parquet_pieces
from zooter_lite.bulk.text_rows import csv_cells
from zooter_lite.errors import DataError
from zooter_lite.files.dialect import COMMAS, Dialect, dialect_of, header_of, left_out
from zooter_lite.files.lines import decode_line, is_array, json_array
from zooter_lite.files.places import DAMAGED, Source, go_to, open_source, refusals
from zooter_lite.files.records import MARK, SHOWN, Lines, Piece, Record, csv_records, pieces
from zooter_lite.files.rows import check_different, no_column

_Pieces = Iterator[tuple[tuple[str, ...] | None, Dialect, Piece]]


def read_blocks(task: Task) -> Iterator[Block]:
    """Yield the blocks of a file, at least one; where they end depends on the file alone.

    Raises
    ------
    DataError
        The file cannot be read, or lacks what the job needs.
    """
    read = {"csv": _csv_pieces, "jsonl": _json_pieces, "parquet": _parquet_pieces}
    given = read[task.source.kind](task)
    columns, dialect, piece = next(given)
    first = not task.end
    for *_, following in given:
        yield Block(task, columns, piece, first, final=False, dialect=dialect)
        piece, first = following, False
    yield Block(task, columns, piece, first, final=True, dialect=dialect)


def _csv_pieces(task: Task) -> _Pieces:
    with open_source(task.source) as stream:
        lines = Lines(stream, task.source.name)
        columns, dialect = _header(lines, task)
        if word := left_out(dialect, task.source.name) if not task.end else "":
            print(word, file=sys.stderr)
        for piece in _rest(lines, stream, task, quotes=True, separator=dialect.separator):
            yield columns, dialect, piece


def _json_pieces(task: Task) -> _Pieces:
    blank = task.alone and not task.end
    with ExitStack() as opened:
        stream = opened.enter_context(open_source(task.source))
        lines = Lines(stream, task.source.name)
        start = raw = lines.look(1)
        while raw and not start.removeprefix(MARK).strip():
            raw = lines.look(len(start) + 1)[len(start) :]
            start += raw
        rest = lines.look(len(start) + 1)[len(start) :]
        if is_array(start.decode("utf-8", "replace"), alone=not rest.strip()):
            with refusals(task.source.name, DAMAGED):
                stream = _by_line(start + rest + stream.read(), task.source)
            lines = Lines(stream, task.source.name)
        elif task.end:  # from the start, wherever the look has led
            stream = opened.enter_context(open_source(task.source))
            lines = Lines(stream, task.source.name)
        for piece in _rest(lines, stream, task, quotes=False):
            blank = blank and isinstance(piece.content, bytes) and not piece.content.strip()
            if not blank:
                yield None, COMMAS, piece
    if blank:
        raise DataError(f"{task.source.name}: the file is empty; expected one JSON object per line")


def _parquet_pieces(task: Task) -> _Pieces:
    with open_parquet(task.source) as file:
        columns = parquet_columns(file, task.source, task.column)
        _check_columns(columns, task)
        for piece in parquet_pieces(file, task.source, task.size, task.last):
            yield columns, COMMAS, piece


def _by_line(array: bytes, source: Source) -> IO[bytes]:
    """Return the elements of a JSON array as JSON lines; DataError where it is damaged."""
    try:
        texts = [text for _, text in json_array(decode_line(array, first=True))]
    except ValueError as error:
        raise DataError(f"{source.name}: {error}") from error
    return io.BytesIO("".join(" ".join(text.splitlines()) + "\n" for text in texts).encode())


def _rest(
    lines: Lines, stream: IO[bytes], task: Task, *, quotes: bool, separator: str = ","
) -> Iterator[Piece]:
    """Pieces from the place where the job stands."""
    if task.end:
        go_to(stream, task.source, lines.offset, task.end)
        lines = Lines(stream, task.source.name, task.end, task.last)
    return pieces(lines, task.size, quotes=quotes, separator=separator)


def _header(lines: Lines, task: Task) -> tuple[tuple[str, ...], Dialect]:
    """Read the names of the columns, which have to fit the job, and how cells are divided."""
    raw = b""
    while not raw.removeprefix(MARK).strip():
        raw = lines.look(1)
        if not raw:
            raise DataError(
                f"{lines.name}: the file is empty; expected a header line with column names"
            )
        if not raw.removeprefix(MARK).strip():
            lines.take()
    first = lines.line == 0
    where = f"{lines.name}, line {lines.line + 1}"
    try:
        dialect = dialect_of(decode_line(raw[:SHOWN], first=first), task.separator)
        if dialect.told:
            lines.take()
            where = f"{lines.name}, line {lines.line + 1}"
        record = next(csv_records(lines, dialect.separator), Record(b"", 0, 0))
        if not record.whole:
            raise ValueError(f"a header of {record.size} bytes")
        text = decode_line(record.raw, first=record.line == 1)
        columns, dialect = header_of(csv_cells(text, dialect.separator), dialect)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    check_different(columns, where)
    _check_columns(columns, task)
    return tuple(columns), dialect


def _check_columns(columns: Sequence[str], task: Task) -> None:
    name = task.source.name
    if task.column not in columns:
        raise no_column(name, task.column, columns, " (--column names another)")
    taken = next((column for column in task.added if column in columns), None)
    if taken is not None:
        raise DataError(f"{name}: already has a column {taken!r}, which the output adds; rename it")
