"""Records of text files, CSV and JSON lines: files divided into pieces, pieces parsed.

A piece holds whole records and knows the place in the file where the next one begins: it can
be parsed anywhere, and reading can go on later from there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from zooter_lite.files.dialect import Header
from zooter_lite.files.lines import decode_line, json_object
from zooter_lite.files.places import refusals

MAX_RECORD = 16 * 2**20  # bytes of one row; what is longer is hardly a prompt
SHOWN = 2**16  # bytes of a longer row that are kept to show it
_MAX_CELL = 2**31 - 1  # the csv module refuses cells over 128 KiB unless told otherwise
_STEP = 2**20
_MARK = "\ufeff".encode()


class Piece(NamedTuple):
    """Records that stand one after another, or rows of Parquet as an Arrow stream."""

    content: bytes
    line: int  # line (row of Parquet) with which it begins, from 1
    end: int  # bytes of the file up to the end of the piece
    last: int  # and lines (rows of Parquet)
    too_long: int = 0  # bytes of the one record of which `content` is the beginning; else 0


class Record(NamedTuple):
    """One record of a piece."""

    line: int  # on which it starts, from 1
    raw: bytes  # with the end of the line; of one that is too long the beginning
    size: int  # bytes in the file
    value: Any  # cells of CSV, or a JSON object; empty where it could not be read
    reason: str  # why it cannot be used; "" where it can


class Lines:
    """A stream of text from its start, in lines, counted; a byte order mark is left out."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name = name
        self.offset = self.line = 0  # bytes and lines that stand before the next one
        self._stream = stream
        self._ahead = b""  # whole lines that were looked at
        first = self.readline()
        self._ahead = first.removeprefix(_MARK)
        self.offset = len(first) - len(self._ahead)

    def readline(self, most: int = MAX_RECORD + 1) -> bytes:
        """Return the next line, or its first `most` bytes; they are not counted yet."""
        if self._ahead:
            line, self._ahead = self._ahead, b""
            return line
        with refusals(f"{self.name}, after line {self.line}", "truncated or damaged data"):
            return self._stream.readline(most)

    def block(self, size: int) -> bytes:
        """Return the next `size` bytes and the rest of their last line, not counted yet."""
        parts, self._ahead = [self._ahead], b""
        size -= len(parts[0])
        with refusals(f"{self.name}, after line {self.line}", "truncated or damaged data"):
            while size > 0 and (more := self._stream.read(size)):
                parts.append(more)  # a store may give less than it was asked for
                size -= len(more)
        if parts[-1] and not parts[-1].endswith(b"\n"):
            parts.append(self.readline())
        return b"".join(parts)

    def first(self) -> bytes:
        """Return the next line that is not blank, and leave it to be read again; b"" at the end."""
        while (raw := self.readline()) and not raw.strip():
            self.count(raw)
        self._ahead = raw
        return raw

    def count(self, raw: bytes) -> None:
        """Count whole lines as read."""
        self.offset += len(raw)
        self.line += raw.count(b"\n") + (bool(raw) and not raw.endswith(b"\n"))

    def go_to(self, offset: int, line: int) -> None:
        """Go on to a place behind this one, where a record begins."""
        place = self.offset + len(self._ahead)
        with refusals(self.name, "truncated or damaged data"):
            if self._stream.seekable():
                self._stream.seek(offset)
            else:
                while place < offset and (read := self._stream.read(min(offset - place, _STEP))):
                    place += len(read)
        self.offset, self.line, self._ahead = offset, line, b""


def pieces(lines: Lines, size: int, separator: str = "") -> Iterator[Piece]:
    """Divide what is left into pieces of `size` bytes and the rest of a record.

    There is at least one piece. Where it ends depends on where it begins, on nothing else. A
    record longer than `MAX_RECORD` is a piece of its own.

    `size` is from 1 to `MAX_RECORD`; `separator` stands between the cells of CSV, which may hold
    ends of lines, and is "" for JSON lines.
    """
    empty = True
    while (raw := lines.block(size)) or empty:
        empty = False
        start = len(raw)
        if separator and b'"' in raw:
            raw, start = _to_record_end(lines, raw, separator)
        elif len(raw) > MAX_RECORD and len(raw) - _last_line(raw) > MAX_RECORD:
            start = _last_line(raw)
        if start or not raw:
            yield _piece(lines, raw[:start])
        if start < len(raw):
            yield _too_long(lines, raw[start:], quotes=bool(separator))


def _last_line(raw: bytes) -> int:
    return raw.rfind(b"\n", 0, -1) + 1


def _piece(lines: Lines, raw: bytes) -> Piece:
    line = lines.line + 1
    lines.count(raw)
    return Piece(raw, line, lines.offset, lines.line)


def _too_long(lines: Lines, raw: bytes, *, quotes: bool) -> Piece:
    """Skip the rest of a record that begins so; with `quotes`, lines end only outside of them."""
    line, shown, size = lines.line + 1, raw[:SHOWN], 0
    odd, ended = False, True
    while raw:
        size += len(raw)
        lines.line += raw.count(b"\n")
        odd ^= quotes and raw.count(b'"') % 2 == 1
        ended = raw.endswith(b"\n")
        raw = b"" if ended and not odd else lines.readline(_STEP)
    lines.line += not ended
    lines.offset += size
    return Piece(shown, line, lines.offset, lines.line, size)


def _to_record_end(lines: Lines, raw: bytes, separator: str) -> tuple[bytes, int]:
    """Read on to the end of the CSV record in which `raw` ends.

    Where quotes are broken, a record ends with the line on which the csv module notices it.

    Returns
    -------
    The bytes, and where in them a record begins that is too long; their length for none.
    """
    csv.field_size_limit(_MAX_CELL)
    inner, parts = io.BytesIO(raw), [raw]
    start = place = 0

    def texts() -> Iterator[str]:
        nonlocal place
        while place - start <= MAX_RECORD:
            line = inner.readline()
            if not line:
                line = lines.readline()
                parts.append(line)
            if not line:
                return
            place += len(line)
            yield line.decode("latin-1")  # what divides records is ASCII

    given = texts()
    reader = csv.reader(given, delimiter=separator, strict=True)
    while place < len(raw):
        start = place
        try:
            next(reader, None)
        except csv.Error:
            reader = csv.reader(given, delimiter=separator, strict=True)
        if place - start > MAX_RECORD:
            return b"".join(parts), start
    return b"".join(parts), place


def records(piece: Piece, header: Header | None) -> Iterator[Record]:
    """Yield the records of a piece, of CSV where there is a header, else of JSON lines.

    Blank lines are none; in CSV of one column they are rows. A header without columns takes
    rows of any width.
    """
    if piece.too_long:
        reason = f"a row of {piece.too_long} bytes; expected at most {MAX_RECORD}"
        yield Record(piece.line, piece.content, piece.too_long, (), reason)
    elif header is None:
        yield from _json_records(piece)
    else:
        yield from _csv_records(piece, header)


def _json_records(piece: Piece) -> Iterator[Record]:
    for line, raw in enumerate(io.BytesIO(piece.content), piece.line):
        value, reason = {}, ""
        try:
            text = decode_line(raw)
            if not text.strip():
                continue
            value = json_object(text)
        except ValueError as error:
            reason = str(error)
        yield Record(line, raw, len(raw), value, reason)


def _csv_records(piece: Piece, header: Header) -> Iterator[Record]:
    csv.field_size_limit(_MAX_CELL)
    width = len(header.columns)
    lines = io.BytesIO(piece.content).readlines()
    sound = not _wrong(piece.content)
    given = (line.decode("utf-8", "surrogateescape") for line in lines)
    reader, before = csv.reader(given, delimiter=header.separator, strict=True), 0
    end = 0
    while end < len(lines):
        start, reason, cells = end, "", []
        try:
            cells = next(reader)
            end = before + reader.line_num
        except csv.Error as error:
            reason = f"broken CSV ({error})"
            end = before = before + reader.line_num
            reader = csv.reader(given, delimiter=header.separator, strict=True)
        if not cells and not reason:
            if width != 1:
                continue
            cells = [""]
        raw = lines[start] if end == start + 1 else b"".join(lines[start:end])
        if not sound and (wrong := _wrong(raw)):
            cells, reason = [_shown(cell) for cell in cells], wrong
        elif width and len(cells) != width and not reason:
            cells = header.fitted(cells)
            if len(cells) != width:
                reason = f"{len(cells)} cells, but the header has {width} columns"
        yield Record(piece.line + start, raw, len(raw), cells, reason)


def _shown(cell: str) -> str:
    """Return a cell with a sign in the place of each character that is none."""
    return (
        cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\ufffd")
    )


def _wrong(raw: bytes) -> str:
    """Say why bytes are no text; "" where they are."""
    try:
        decode_line(raw)
    except ValueError as error:
        return str(error)
    return ""
