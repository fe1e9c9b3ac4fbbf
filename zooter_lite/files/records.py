"""Large text files in pieces: CSV and JSON-lines records found without parsing them.

Every piece ends where a record ends and knows the place in the file where the next one
begins, so that pieces can be parsed anywhere and reading can go on later from there.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, NamedTuple

from zooter_lite.files.places import DAMAGED, refused

MAX_RECORD = 16 * 2**20  # bytes of one row; what is longer is hardly a prompt
SHOWN = 2**16  # bytes of a longer row that are kept to show it
_STEP = 2**20
_MARK = "\ufeff".encode()


class Record(NamedTuple):
    """One record of a text file.

    Attributes
    ----------
    raw
        Its bytes with the end of the line; of one longer than `MAX_RECORD` its beginning.
    line
        Line on which it starts, from 1.
    size
        Its bytes in the file.
    """

    raw: bytes
    line: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether `raw` is all of it."""
        return len(self.raw) == self.size


@dataclass(frozen=True)
class Piece:
    """Records that stand one after another, or one that is longer than `MAX_RECORD`.

    Attributes
    ----------
    raw
        Their bytes; of a record that is too long its beginning.
    line
        Line on which the first starts, from 1.
    end, last
        Bytes and lines of the file up to the end of the piece.
    too_long
        Bytes of a record that is too long; 0 for all others.
    """

    raw: bytes
    line: int
    end: int
    last: int
    too_long: int = 0


class Lines:
    """Lines of a byte stream, counted.

    Parameters
    ----------
    stream
        Open for reading.
    name
        Of the file, for messages.
    offset, line
        Bytes and lines of the file before the place where `stream` stands.
    """

    def __init__(self, stream: IO[bytes], name: str, offset: int = 0, line: int = 0) -> None:
        self.name = name
        self.offset = offset
        self.line = line
        self._stream = stream
        self._ahead = io.BytesIO()

    def read(self) -> bytes:
        """Next line, or so much of it as tells that it is too long; empty at the end.

        Raises
        ------
        DataError
            The stream cannot be read on: a damaged disk, or compressed data cut short.
        """
        raw = self._next(MAX_RECORD + 1)
        self.line += bool(raw)
        return raw

    def skip(self, raw: bytes, *, quotes: bool) -> int:
        """Leave out the rest of a record that begins with `raw`; return its bytes.

        With `quotes`, ends of lines between quotes do not end it.
        """
        skipped = 0
        odd = quotes and raw.count(b'"') % 2 == 1
        while raw and (odd or not raw.endswith(b"\n")):
            ended = raw.endswith(b"\n")
            raw = self._next(_STEP)
            skipped += len(raw)
            self.line += ended and bool(raw)
            odd ^= quotes and raw.count(b'"') % 2 == 1
        return skipped

    def look(self, size: int) -> bytes:
        """Return the next `size` bytes and the rest of their last line, not yet counted.

        `read` and `skip` then begin with these bytes, unless `take` counts them first.
        """
        raw = b""
        while len(raw) < size and (more := self._guarded(self._stream.read, size - len(raw))):
            raw += more  # a store may give less than it was asked for
        if raw and not raw.endswith(b"\n"):
            raw += self._guarded(self._stream.readline, MAX_RECORD + 1)
        self._ahead = io.BytesIO(raw)
        return raw

    def take(self) -> None:
        """Count what `look` returned as read."""
        raw = self._ahead.getvalue()
        self._ahead = io.BytesIO()
        self.offset += len(raw)
        self.line += raw.count(b"\n") + (not raw.endswith(b"\n"))

    def _next(self, most: int) -> bytes:
        raw = self._ahead.readline(most)
        if not raw.endswith(b"\n") and len(raw) < most:
            raw += self._guarded(self._stream.readline, most - len(raw))
        self.offset += len(raw)
        return raw

    def _guarded(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except Exception as error:  # each decompressor and store raises its own
            raise refused(error, f"{self.name}, after line {self.line}", DAMAGED) from error


def pieces(lines: Lines, size: int, *, quotes: bool) -> Iterator[Piece]:
    """Divide what `lines` has left into pieces of `size` bytes and the rest of a record.

    A record that is too long is a piece alone, and nothing left is an empty one. Where a
    piece ends depends on where it begins, and on nothing else.

    Parameters
    ----------
    lines
        Standing where a record begins.
    size
        From 1 to `MAX_RECORD`.
    quotes
        Whether quoted cells may hold ends of lines, as in CSV.
    """
    raw = lines.look(size)
    if not raw:
        yield Piece(b"", lines.line + 1, lines.offset, lines.line)
    while raw:
        line = lines.line + 1
        text = raw.removeprefix(_MARK if line == 1 else b"")
        if len(raw) <= MAX_RECORD and not (quotes and b'"' in text and not _whole(text)):
            lines.take()
            yield Piece(raw, line, lines.offset, lines.line)
        else:
            yield from _of_records(lines, lines.offset + len(raw), quotes=quotes)
        raw = lines.look(size)


def _of_records(lines: Lines, end: int, *, quotes: bool) -> Iterator[Piece]:
    """Yield the piece up to the first record that ends at `end` or later, and a too long one."""
    parts: list[bytes] = []
    line, offset, last = lines.line + 1, lines.offset, lines.line
    for record in (csv_records if quotes else json_records)(lines):
        if record.whole:
            parts.append(record.raw)
            offset, last = lines.offset, lines.line
        if lines.offset >= end:  # as a record that is too long always does
            break
    if parts:
        yield Piece(b"".join(parts), line, offset, last)
    if not record.whole:
        yield Piece(record.raw, record.line, lines.offset, lines.line, record.size)


def _whole(raw: bytes) -> bool:
    """Whether these lines are CSV records that end with the last line."""
    csv.field_size_limit(2**31 - 1)
    try:
        deque(csv.reader(io.StringIO(raw.decode("latin-1"), newline="\n"), strict=True), 0)
    except csv.Error:
        return False
    return True


def json_records(lines: Lines) -> Iterator[Record]:
    """Yield each line."""
    line = lines.line + 1
    while raw := lines.read():
        yield _record(lines, raw, line, quotes=False)
        line = lines.line + 1


def csv_records(lines: Lines) -> Iterator[Record]:
    """Yield each record: a line, or several where a quoted cell holds ends of lines.

    Where the quotes are broken a record ends with the line on which the csv module
    notices it.
    """
    csv.field_size_limit(2**31 - 1)  # otherwise cells over 128 KiB are refused
    line = lines.line + 1
    while raw := lines.read():
        if b'"' in raw and len(raw) <= MAX_RECORD:
            raw = _quoted(lines, raw, _MARK if line == 1 else b"")
        yield _record(lines, raw, line, quotes=True)
        line = lines.line + 1


def _quoted(lines: Lines, first: bytes, mark: bytes) -> bytes:
    """Read on to the end of the record that starts with the line `first`, or until too long.

    A byte order `mark` is no part of its first cell.
    """
    text = first.removeprefix(mark).decode("latin-1")  # what divides records is ASCII
    with suppress(csv.Error):  # mostly the line is a whole record
        next(csv.reader((text,), strict=True))
        return first
    parts = [first]
    size = len(first)

    def texts() -> Iterator[str]:
        nonlocal size
        yield text
        while size <= MAX_RECORD and (raw := lines.read()):
            parts.append(raw)
            size += len(raw)
            yield raw.decode("latin-1")

    with suppress(csv.Error):  # told by whoever parses the record
        next(csv.reader(texts(), strict=True), None)
    return b"".join(parts)


def _record(lines: Lines, raw: bytes, line: int, *, quotes: bool) -> Record:
    if len(raw) <= MAX_RECORD:
        return Record(raw, line, len(raw))
    return Record(raw[:SHOWN], line, len(raw) + lines.skip(raw, quotes=quotes))
