"""Rows of CSV and JSON lines: parsed together where all are sound, else one by one."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from zooter_lite.bulk.block import Bad, Block, Cells
from zooter_lite.files.dialect import Dialect
from zooter_lite.files.lines import csv_line, decode_line, json_line, json_object
from zooter_lite.files.messages import Prompt, nested, prompt_of
from zooter_lite.files.records import MAX_RECORD, Record


class CsvRows:
    """The rows of a CSV block; blank lines are rows where there is one column.

    `prompts` holds the text of each row, "" where there is none or the row is `bad`, as are
    those with a prompt that the router has `refused`; `unread` counts parts of chats that are
    no text, such as images.
    """

    def __init__(self, block: Block, refused: Mapping[str, str]) -> None:
        columns = block.columns or ()
        self._header = [(*columns, *block.task.added)] if block.first else []
        self._width = len(columns)
        place = columns.index(block.task.column)
        self._dialect, self._separator = block.dialect, block.separator
        self._context = block.task.context
        rows = [] if refused else _together(block.piece.content, self._width, self._dialect)
        self._rows = rows or [
            self._row(record, place, refused)
            for record in block.piece.records(quotes=True, separator=self._dialect.separator)
            if self._width == 1 or record.raw.strip(b"\r\n")
        ]
        found = [
            Prompt("") if isinstance(row, Bad) else prompt_of(row[place], self._context)
            for row in self._rows
        ]
        self.prompts = [prompt.text for prompt in found]
        self.unread = sum(prompt.unread for prompt in found)
        self.bad = [row for row in self._rows if isinstance(row, Bad)]

    def _row(self, record: Record, place: int, refused: Mapping[str, str]) -> list[str] | Bad:
        if not record.whole:
            return _bad(record, _too_long(record))
        separator, width = self._dialect.separator, self._width
        try:
            cells = csv_cells(decode_line(record.raw), separator)
        except ValueError as error:
            return _bad(record, str(error), _salvaged(record.raw, width, separator))
        cells = self._dialect.fitted(cells, width)
        if len(cells) == width:
            reason = refused.get(prompt_of(cells[place], self._context).text)
            return cells if reason is None else _bad(record, reason, cells)
        reason = f"{len(cells)} cells, but the header has {width} columns"
        return _bad(record, reason, _fitted(cells, width))

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows, with `keep` also the bad ones, with their added cells and header."""
        rows: list[Sequence[object]] = [*self._header]
        for row, added in zip(self._rows, cells, strict=True):
            if not isinstance(row, Bad):
                rows.append((*row, *added))
            elif keep:
                rows.append((*(row.values or [""] * self._width), *added))
        text = _csv_text(rows, self._separator)
        told = self._header and self._dialect.told
        return (f"sep={self._separator}\n{text}" if told else text).encode("utf-8")


def _together(content: bytes | list[Record], width: int, dialect: Dialect) -> list[list[str] | Bad]:
    """Every row at once; none where one is unsound."""
    if isinstance(content, list):
        return []
    try:
        text = io.StringIO(decode_line(content), newline="\n")
        rows = list(csv.reader(text, delimiter=dialect.separator, strict=True))
    except (ValueError, csv.Error):
        return []
    rows = [row or [""] for row in rows] if width == 1 else [row for row in rows if row]
    if dialect.surplus:
        rows = [dialect.fitted(row, width) for row in rows]
    return [*rows] if set(map(len, rows)) == {width} else []


def csv_cells(text: str, separator: str = ",") -> list[str]:
    """Cells of one record, of a blank line one; ValueError where it is broken."""
    try:
        stream = io.StringIO(text, newline="\n")
        return next(csv.reader(stream, delimiter=separator, strict=True), None) or [""]
    except csv.Error as error:
        raise ValueError(f"broken CSV ({error})") from error


def _salvaged(raw: bytes, width: int, separator: str) -> list[str]:
    """Cells of a broken row as far as they can be told apart."""
    text = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
    with suppress(csv.Error):
        stream = io.StringIO(text, newline="\n")
        return _fitted(next(csv.reader(stream, delimiter=separator), []), width)
    return _fitted([], width)


def _fitted(cells: list[str], width: int) -> list[str]:
    return [*cells, *[""] * width][:width]


def _csv_text(rows: Sequence[Sequence[object]], separator: str) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerows(rows)
    text = stream.getvalue()
    if "\r" in text:  # with that end of lines it would stand without quotes
        return "".join(csv_line(row, separator) for row in rows)
    return text


class JsonRows:
    """The rows of a JSON-lines block, as `CsvRows` has them; blank lines are none."""

    def __init__(self, block: Block, refused: Mapping[str, str]) -> None:
        self._column, self._added, self._refused = block.task.column, block.task.added, refused
        self._context, self._models = block.task.context, dict(block.task.models)
        self._rows = [
            row for row in map(self._row, block.piece.records(quotes=False)) if row is not None
        ]
        self.prompts = ["" if isinstance(row, Bad) else row[0].text for row in self._rows]
        self.unread = sum(0 if isinstance(row, Bad) else row[0].unread for row in self._rows)
        self.bad = [row for row in self._rows if isinstance(row, Bad)]

    def _row(self, record: Record) -> tuple[Prompt, str] | Bad | None:
        """Return the prompt of a record and the line to write; or what is wrong; or nothing."""
        if not record.whole:
            return _bad(record, _too_long(record))
        try:
            text = decode_line(record.raw, first=record.line == 1)
            if not text.strip():
                return None
            values = json_object(text)
        except ValueError as error:
            return _bad(record, str(error))
        (prompt, reason), line = self._read(values), ""
        try:
            line = json_line(values)
        except (ValueError, RecursionError) as error:
            reason, values = reason or f"cannot be written as JSON ({error})", {}
        if reason:
            return _bad(record, reason, values)
        return prompt, line

    def _read(self, values: dict[str, object]) -> tuple[Prompt, str]:
        """Return the prompt of a row, and what is wrong with it, or ""."""
        taken = [key for key in self._added if key in values]
        if taken:
            return Prompt(""), f"already has a key {taken[0]!r}, which the output adds"
        try:
            prompt = prompt_of(nested(values, self._column), self._context)
        except KeyError:
            return Prompt(""), f"no key {self._column!r}; expected the prompt there"
        except ValueError as error:
            return Prompt(""), f"{self._column!r}: {error}"
        return prompt, self._refused.get(prompt.text, "")

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with the added keys."""
        lines = []
        for row, more in zip(self._rows, cells, strict=True):
            added = dict(zip(self._added, more, strict=True))
            if not isinstance(row, Bad):
                lines.append(f"{row[1][:-2]}, {json_line(added)[1:]}")  # the row has a key
            elif keep:
                values = row.values or {}
                known = self._column in values or "." in self._column
                missing = {} if known else {self._column: None}
                lines.append(json_line(values | missing | added))
        return "".join(lines).encode("utf-8")


def _bad(record: Record, reason: str, values: Any = None) -> Bad:
    return Bad(record.line, reason, record.raw, record.size, values)


def _too_long(record: Record) -> str:
    return f"a row of {record.size} bytes; expected at most {MAX_RECORD}"
