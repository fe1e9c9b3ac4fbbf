"""From files to blocks; the only part of a job that reads its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zooter_lite.bulk.block import Block, Task
from zooter_lite.bulk.parquet import open_parquet, parquet_pieces
from zooter_lite.errors import DataError
from zooter_lite.files.dialect import Header
from zooter_lite.files.places import open_source
from zooter_lite.files.records import Lines, Piece, pieces
from zooter_lite.files.rows import json_lines, no_column, read_header


def read_blocks(task: Task) -> Iterator[Block]:
    """Yield the blocks of a file, at least one; where they end depends on the file alone.

    DataError where the file cannot be read, or lacks what the job needs.
    """
    given = _parquet(task) if task.source.kind == "parquet" else _text(task)
    header, piece = next(given)
    first = not task.end
    for _, following in given:
        yield Block(task, header, piece, first, final=False)
        piece, first = following, False
    yield Block(task, header, piece, first, final=True)


def _text(task: Task) -> Iterator[tuple[Header | None, Piece]]:
    with open_source(task.source) as stream:
        lines, header = Lines(stream, task.source.name), None
        if task.source.kind == "csv":
            _, header = read_header(lines, task.separator)
            _check_columns(header.columns, task)
        else:
            lines = json_lines(lines, needed=task.alone)
        if task.end:
            lines.go_to(task.end, task.last)
        for piece in pieces(lines, task.size, header.separator if header else ""):
            yield header, piece


def _parquet(task: Task) -> Iterator[tuple[None, Piece]]:
    with open_parquet(task.source) as file:
        _check_columns(file.schema_arrow.names, task)
        for piece in parquet_pieces(file, task):
            yield None, piece


def _check_columns(columns: Sequence[str], task: Task) -> None:
    name = task.source.name
    if task.column not in columns:
        raise no_column(name, task.column, columns, " (--column names another)")
    taken = next((column for column in task.added if column in columns), None)
    if taken is not None:
        raise DataError(f"{name}: already has a column {taken!r}, which the output adds; rename it")
