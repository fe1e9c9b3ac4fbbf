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

from zooter_lite.errors import DataError

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
    """Records that stand one after another.

    Attributes
    ----------
    raw
        Their bytes, without the records that are cut.
    line
        Line on which the first starts, from 1.
    end, last
        Bytes and lines of the file up to the end of the piece.
    cut
        Records longer than `MAX_RECORD`: the place in `raw` where it stood, the record, and
        the last line that it takes.
    """

    raw: bytes
    line: int
    end: int
    last: int
    cut: tuple[tuple[int, Record, int], ...] = ()


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
            raise unreadable(error, f"{self.name}, after line {self.line}") from error


def unreadable(error: Exception, where: str) -> DataError:
    """Make the error for a stream that cannot be read on, `where` names the place."""
    if isinstance(error, OSError) and error.strerror:
        return DataError(f"{where}: {error.strerror}")
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return DataError(f"{where}: truncated or damaged data ({reason})")


def pieces(lines: Lines, size: int, *, quotes: bool) -> Iterator[Piece]:
    """Divide what `lines` has left into pieces of `size` bytes and the rest of a record.

    Where a piece ends depends on where it begins, and on nothing else.

    Parameters
    ----------
    lines
        Standing where a record begins.
    size
        From 1 to `MAX_RECORD`.
    quotes
        Whether quoted cells may hold ends of lines, as in CSV.
    """
    records = csv_records if quotes else json_records
    while raw := lines.look(size):
        line = lines.line + 1
        end = lines.offset + len(raw)
        text = raw.removeprefix(_MARK if line == 1 else b"")
        if len(raw) <= MAX_RECORD and not (quotes and b'"' in text and not _whole(text)):
            lines.take()
            yield Piece(raw, line, lines.offset, lines.line)
            continue
        parts, length = [], 0
        cut: list[tuple[int, Record, int]] = []
        for record in records(lines):
            if record.whole:
                parts.append(record.raw)
                length += record.size
            else:
                cut.append((length, record, lines.line))
            if lines.offset >= end:
                break
        yield Piece(b"".join(parts), line, lines.offset, lines.line, tuple(cut))


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
    while True:
        line = lines.line + 1
        raw = lines.read()
        if not raw:
            return
        yield _record(lines, raw, line, quotes=False)


def csv_records(lines: Lines) -> Iterator[Record]:
    """Yield each record: a line, or several where a quoted cell holds ends of lines.

    Where the quotes are broken a record ends with the line on which the csv module
    notices it.
    """
    csv.field_size_limit(2**31 - 1)  # otherwise cells over 128 KiB are refused
    while True:
        line = lines.line + 1
        raw = lines.read()
        if not raw:
            return
        if b'"' in raw and len(raw) <= MAX_RECORD:
            raw = _quoted(lines, raw, _MARK if line == 1 else b"")
        yield _record(lines, raw, line, quotes=True)


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
