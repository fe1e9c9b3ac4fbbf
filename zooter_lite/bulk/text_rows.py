"""Rows of CSV and JSON lines: parsed together where all are sound, else one by one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from zooter_lite.bulk.block import Bad, Block, Cells
from zooter_lite.files.lines import csv_line, decode_line, json_line, json_object
from zooter_lite.files.records import MAX_RECORD, Lines, Record, csv_records, json_records


class CsvRows:
    """The rows of a CSV block, as `Rows`; blank lines are rows where there is one column."""

    def __init__(self, block: Block) -> None:
        columns = block.columns or ()
        self._header = [(*columns, *block.start.added)] if block.first else []
        self._width = len(columns)
        self._rows = csv_rows(block)
        place = columns.index(block.start.column)
        self.prompts = ["" if isinstance(row, Bad) else row[place] for row in self._rows]
        self.bad = [row for row in self._rows if isinstance(row, Bad)]

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with the added cells, the header before them where it is due."""
        rows: list[Sequence[object]] = [*self._header]
        for row, added in zip(self._rows, cells, strict=True):
            if not isinstance(row, Bad):
                rows.append((*row, *added))
            elif keep:
                rows.append((*(row.values or [""] * self._width), *added))
        return _csv_text(rows).encode("utf-8")


def csv_rows(block: Block) -> list[list[str] | Bad]:
    """Cells of each record of a CSV block, or what is wrong with it."""
    width = len(block.columns or ())
    if block.piece.too_long:
        return [_too_long(block)]
    rows = _together(block.piece.raw, width)
    if rows is not None:
        return rows
    return [
        _csv_row(record, width)
        for record in csv_records(_lines(block))
        if width == 1 or record.raw.strip(b"\r\n")
    ]


def _together(raw: bytes, width: int) -> list[list[str] | Bad] | None:
    """Every row of a piece at once; None where one is unsound."""
    try:
        text = decode_line(raw)
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
    except (ValueError, csv.Error) as error:
        reason = f"broken CSV ({error})" if isinstance(error, csv.Error) else str(error)
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


def _csv_text(rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    text = stream.getvalue()
    if "\r" in text:  # with that end of lines it would stand without quotes
        return "".join(map(csv_line, rows))
    return text


class JsonRows:
    """The rows of a JSON-lines block, as `Rows`; blank lines are none."""

    def __init__(self, block: Block) -> None:
        self._column, self._added = block.start.column, block.start.added
        rows = (
            [_too_long(block)]
            if block.piece.too_long
            else map(self._row, json_records(_lines(block)))
        )
        self._rows = [row for row in rows if row is not None]
        self.prompts = ["" if isinstance(row, Bad) else row[0] for row in self._rows]
        self.bad = [row for row in self._rows if isinstance(row, Bad)]

    def _row(self, record: Record) -> tuple[str, str] | Bad | None:
        """Return the prompt of a record and the line to write; or what is wrong; or nothing."""
        try:
            text = decode_line(record.raw, first=record.line == 1)
            if not text.strip():
                return None
            values = json_object(text)
        except ValueError as error:
            return Bad(record.line, str(error), record.raw, record.size)
        reason, line = self._problem(values), ""
        try:
            line = json_line(values)
        except (ValueError, RecursionError) as error:
            reason, values = reason or f"cannot be written as JSON ({error})", {}
        if reason:
            return Bad(record.line, reason, record.raw, record.size, values)
        return str(values[self._column] or ""), line

    def _problem(self, values: dict[str, object]) -> str:
        if self._column not in values:
            return f"no key {self._column!r}; expected the prompt there"
        taken = [key for key in self._added if key in values]
        if taken:
            return f"already has a key {taken[0]!r}, which the output adds"
        prompt = values[self._column]
        if prompt is not None and not isinstance(prompt, str):
            return f"{self._column!r} holds {type(prompt).__name__}, expected text"
        return ""

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with the added keys."""
        lines = []
        for row, values in zip(self._rows, cells, strict=True):
            added = dict(zip(self._added, values, strict=True))
            if not isinstance(row, Bad):
                lines.append(f"{row[1][:-2]}, {json_line(added)[1:]}")  # the row has a key
            elif keep:
                lines.append(json_line({self._column: None} | (row.values or {}) | added))
        return "".join(lines).encode("utf-8")


def _lines(block: Block) -> Lines:
    piece = block.piece
    return Lines(io.BytesIO(piece.raw), block.start.source.name, 0, piece.line - 1)


def _too_long(block: Block) -> Bad:
    size = block.piece.too_long
    reason = f"a row of {size} bytes; expected at most {MAX_RECORD}"
    return Bad(block.piece.line, reason, block.piece.raw, size)
