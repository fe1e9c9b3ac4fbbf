"""Records of large text files, CSV and JSON lines, found without parsing them.

They come in pieces, each of which knows the place in the file where the next one begins:
a piece can be parsed anywhere, and reading can go on later from there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
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


class Piece(NamedTuple):
    """Records that stand one after another, or rows of Parquet as an Arrow stream.

    Attributes
    ----------
    content
        The records or the stream; nothing where there are none.
    end, last
        Bytes and lines (rows of Parquet) of the file up to the end of the piece.
    """

    content: list[Record] | bytes
    end: int
    last: int


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

    def read(self, most: int = MAX_RECORD + 1, *, new: bool = True) -> bytes:
        """Next line, or its first `most` bytes; empty at the end. Not `new`: one goes on.

        Raises
        ------
        DataError
            The stream cannot be read on: a damaged disk, or compressed data cut short.
        """
        try:
            raw = self._stream.readline(most)
        except Exception as error:  # each decompressor and store raises its own
            raise refused(error, f"{self.name}, after line {self.line}", DAMAGED) from error
        self.offset += len(raw)
        self.line += new and bool(raw)
        return raw

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


def pieces(lines: Lines, size: int, *, quotes: bool) -> Iterator[Piece]:
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
    """
    start, found = lines.offset, False
    content: list[Record] = []
    for record in csv_records(lines) if quotes else json_records(lines):
        content.append(record)
        if lines.offset - start >= size:
            yield Piece(content, lines.offset, lines.line)
            start, found, content = lines.offset, True, []
    if content or not found:
        yield Piece(content, lines.offset, lines.line)


def json_records(lines: Lines) -> Iterator[Record]:
    """Yield each line."""
    while raw := lines.read():
        yield lines.record(raw, lines.line, quotes=False)


def csv_records(lines: Lines) -> Iterator[Record]:
    """Yield each record: a line, or several where a quoted cell holds ends of lines.

    Where the quotes are broken a record ends with the line on which the csv module
    notices it.
    """
    csv.field_size_limit(2**31 - 1)  # otherwise cells over 128 KiB are refused
    while raw := lines.read():
        line = lines.line
        if b'"' in raw and len(raw) <= MAX_RECORD:
            raw = _quoted(lines, raw, _MARK if line == 1 else b"")
        yield lines.record(raw, line, quotes=True)


def _quoted(lines: Lines, first: bytes, mark: bytes) -> bytes:
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
        next(csv.reader(texts(), strict=True), None)
    return b"".join(parts)
