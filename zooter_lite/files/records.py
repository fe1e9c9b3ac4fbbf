"""Records of large text files, CSV and JSON lines, found without parsing them.

They come in pieces, each of which knows the place in the file where the next one begins:
a piece can be parsed anywhere, and reading can go on later from there.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, NamedTuple

from zooter_lite.files.places import DAMAGED, refused

MAX_RECORD = 16 * 2**20  # bytes of one row; what is longer is hardly a prompt
SHOWN = 2**16  # bytes of a longer row that are kept to show it
_STEP = 2**20
MARK = "\ufeff".encode()


class Record(NamedTuple):
    """One record of a text file."""

    raw: bytes  # with the end of the line; of one longer than `MAX_RECORD` the beginning
    line: int  # on which it starts, from 1
    size: int  # bytes in the file

    @property
    def whole(self) -> bool:
        """Whether `raw` is all of it."""
        return len(self.raw) == self.size


class Piece(NamedTuple):
    """Records that stand one after another, or rows of Parquet as an Arrow stream."""

    content: bytes | list[Record]  # the records where one is too long or hard to find again
    line: int  # line (row of Parquet) with which it begins, from 1
    end: int  # bytes of the file up to the end of the piece
    last: int  # and lines (rows of Parquet)

    def records(self, *, quotes: bool, separator: str = ",") -> list[Record]:
        """Return the records of a piece of text, of CSV with `quotes`."""
        if isinstance(self.content, list):
            return self.content
        lines = Lines(io.BytesIO(self.content), "", 0, self.line - 1)
        return list(csv_records(lines, separator) if quotes else json_records(lines))


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

    def look(self, size: int) -> bytes:
        """Return the next `size` bytes and the rest of their last line, not yet counted.

        `read` then begins with them, unless `take` counts them first.
        """
        parts = [self._ahead.read()]
        size -= len(parts[0])
        while size > 0 and (more := self._guarded(self._stream.read, size)):
            parts.append(more)  # a store may give less than it was asked for
            size -= len(more)
        if parts[-1] and not parts[-1].endswith(b"\n"):
            parts.append(self._guarded(self._stream.readline, MAX_RECORD + 1))
        raw = b"".join(parts)
        self._ahead = io.BytesIO(raw)
        return raw

    def take(self) -> None:
        """Count what `look` returned as read."""
        raw = self._ahead.read()
        self.offset += len(raw)
        self.line += raw.count(b"\n") + (not raw.endswith(b"\n"))

    def read(self, most: int = MAX_RECORD + 1, *, new: bool = True) -> bytes:
        """Next line, or its first `most` bytes; empty at the end. Not `new`: one goes on.

        DataError where the stream is damaged, or cut short.
        """
        raw = self._ahead.readline(most)
        if not raw.endswith(b"\n") and len(raw) < most:
            raw += self._guarded(self._stream.readline, most - len(raw))
        self.offset += len(raw)
        self.line += new and bool(raw)
        return raw

    def _guarded(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except Exception as error:  # each decompressor and store raises its own
            raise refused(error, f"{self.name}, after line {self.line}", DAMAGED) from error

    def record(self, raw: bytes, line: int, *, quotes: bool) -> Record:
        """Return the record that begins with `raw`; of one that is too long, skip the rest.

        With `quotes`, ends of lines between quotes do not end it.
        """
        size, rest = len(raw), raw
        odd = quotes and raw.count(b'"') % 2 == 1
        while size > MAX_RECORD and rest and (odd or not rest.endswith(b"\n")):
            rest = self.read(_STEP, new=rest.endswith(b"\n"))
            size += len(rest)
            odd ^= quotes and rest.count(b'"') % 2 == 1
        return Record(raw if size <= MAX_RECORD else raw[:SHOWN], line, size)


def pieces(lines: Lines, size: int, *, quotes: bool, separator: str = ",") -> Iterator[Piece]:
    """Divide what `lines` has left into pieces of `size` bytes and the rest of a record.

    There is at least one piece. Where it ends depends on where it begins, on nothing else.

    Parameters
    ----------
    lines
        Standing where a record begins.
    size
        From 1 to `MAX_RECORD`.
    quotes
        Whether quoted cells may hold ends of lines, as in CSV.
    separator
        Between the cells of CSV.
    """
    raw = lines.look(size)
    if not raw:
        yield Piece(b"", lines.line + 1, lines.offset, lines.line)
    while raw:
        line, end = lines.line + 1, lines.offset + len(raw)
        content: bytes | list[Record] = raw
        if len(raw) <= MAX_RECORD and not (quotes and _is_cut(raw, separator, first=line == 1)):
            lines.take()
        else:
            content = []
            for record in csv_records(lines, separator) if quotes else json_records(lines):
                content.append(record)
                if lines.offset >= end:
                    break
        yield Piece(content, line, lines.offset, lines.line)
        raw = lines.look(size)


def _is_cut(raw: bytes, separator: str, *, first: bool) -> bool:
    """Whether a CSV record goes on after these lines, or one is broken."""
    if b'"' not in raw:
        return False
    csv.field_size_limit(2**31 - 1)
    text = raw.removeprefix(MARK if first else b"").decode("latin-1")
    try:
        reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=separator, strict=True)
        deque(reader, 0)
    except csv.Error:
        return True
    return False


def json_records(lines: Lines) -> Iterator[Record]:
    """Yield each line."""
    while raw := lines.read():
        yield lines.record(raw, lines.line, quotes=False)


def csv_records(lines: Lines, separator: str = ",") -> Iterator[Record]:
    """Yield each record: a line, or several where a quoted cell holds ends of lines.

    Where the quotes are broken a record ends with the line on which the csv module
    notices it.
    """
    csv.field_size_limit(2**31 - 1)  # otherwise cells over 128 KiB are refused
    while raw := lines.read():
        line = lines.line
        if b'"' in raw and len(raw) <= MAX_RECORD:
            raw = _quoted(lines, raw, MARK if line == 1 else b"", separator)
        yield lines.record(raw, line, quotes=True)


def _quoted(lines: Lines, first: bytes, mark: bytes, separator: str) -> bytes:
    """Read on to the end of the record that starts with the line `first`, or until too long.

    A byte order `mark` is no part of its first cell.
    """
    parts = [first]

    def texts() -> Iterator[str]:
        yield first.removeprefix(mark).decode("latin-1")  # what divides records is ASCII
        size = len(first)
        while size <= MAX_RECORD and (raw := lines.read()):
            parts.append(raw)
            size += len(raw)
            yield raw.decode("latin-1")

    with suppress(csv.Error):  # told by whoever parses the record
        next(csv.reader(texts(), delimiter=separator, strict=True), None)
    return b"".join(parts)
