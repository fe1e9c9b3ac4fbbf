"""Rows of a block: parsed together where all are sound, one by one where some are not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zooter_lite.bulk.block import Block
from zooter_lite.files.lines import decode_line, json_object
from zooter_lite.files.records import Lines, Piece, Record, csv_records, json_records


@dataclass(frozen=True)
class Bad:
    """A row that cannot be routed.

    Attributes
    ----------
    line
        Where it starts.
    reason
        Why, as a message says it.
    raw
        Its bytes, or their beginning; empty for a row of Parquet.
    size
        Its bytes in the file.
    values
        What could be read of it: cells, or a JSON object; None for nothing.
    """

    line: int
    reason: str
    raw: bytes
    size: int
    values: Any = None


def csv_rows(block: Block) -> list[list[str] | Bad]:
    """Cells of each record of a CSV block; blank lines are rows where there is one column."""
    width = len(block.columns or ())
    rows = _whole(block.piece, width)
    if rows is not None:
        return rows
    found: list[list[str] | Bad] = []
    for record in _records(block):
        if not record.whole:
            found.append(_too_long(record))
        elif width == 1 or record.raw.strip(b"\r\n"):
            found.append(_csv_row(record, width))
    return found


def _whole(piece: Piece, width: int) -> list[list[str] | Bad] | None:
    """Every row of a piece at once; None where one is unsound."""
    if piece.cut:
        return None
    try:
        text = decode_line(piece.raw)
        rows = list(csv.reader(io.StringIO(text, newline="\n"), strict=True))
    except (ValueError, csv.Error):
        return None
    if width == 1:
        rows = [row or [""] for row in rows]
    elif [] in rows:
        rows = [row for row in rows if row]
    return rows if set(map(len, rows)) <= {width} else None  # type: ignore[return-value]


def _csv_row(record: Record, width: int) -> list[str] | Bad:
    try:
        text = decode_line(record.raw)
        cells = next(csv.reader(io.StringIO(text, newline="\n"), strict=True), None) or [""]
    except ValueError as error:
        return Bad(record.line, str(error), record.raw, record.size, _salvaged(record.raw, width))
    except csv.Error as error:
        reason = f"broken CSV ({error})"
        return Bad(record.line, reason, record.raw, record.size, _salvaged(record.raw, width))
    if len(cells) == width:
        return cells
    reason = f"{len(cells)} cells, but the header has {width} columns"
    return Bad(record.line, reason, record.raw, record.size, _fitted(cells, width))


def _salvaged(raw: bytes, width: int) -> list[str]:
    """Cells of a broken row as far as they can be told apart."""
    text = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
    try:
        cells = next(csv.reader(io.StringIO(text, newline="\n")), [])
    except csv.Error:
        cells = []
    return _fitted(cells, width)


def _fitted(cells: list[str], width: int) -> list[str]:
    return [*cells, *[""] * width][:width]


def json_rows(block: Block) -> list[tuple[Record, dict[str, object]] | Bad]:
    """Return records and their objects of a JSON-lines block; blank lines are none."""
    found: list[tuple[Record, dict[str, object]] | Bad] = []
    for record in _records(block):
        if not record.whole:
            found.append(_too_long(record))
            continue
        try:
            text = decode_line(record.raw, first=record.line == 1)
            if text.strip():
                found.append((record, json_object(text)))
        except ValueError as error:
            found.append(Bad(record.line, str(error), record.raw, record.size))
    return found


def _records(block: Block) -> Iterator[Record]:
    """Yield the records of a block, those that were cut in their places."""
    read = json_records if block.columns is None else csv_records
    start, line = 0, block.piece.line
    ends = [*block.piece.cut, (len(block.piece.raw), None, 0)]
    for place, record, last in ends:
        part = block.piece.raw[start:place]
        yield from read(Lines(io.BytesIO(part), block.name, 0, line - 1))
        if record is not None:
            yield record
        start, line = place, last + 1


def _too_long(record: Record) -> Bad:
    reason = f"a row of {record.size} bytes; expected at most {2**24}"
    return Bad(record.line, reason, record.raw, record.size)
