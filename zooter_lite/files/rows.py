"""CSV and JSON-lines rows as a stream: read with line numbers, written atomically.

Bounded memory whatever the size of the file; nothing here knows about rewards.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO, cast

from zooter_lite.errors import DataError
from zooter_lite.files.lines import csv_line, decode_line, json_line, json_object

STANDARD = "-"
TEXT_SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_MAX_CELL = 2**31 - 1  # the csv module refuses cells over 128 KiB unless told otherwise


@dataclass(frozen=True)
class Row:
    """One record of a text file and the line it starts on (counted from 1)."""

    line: int
    values: dict[str, object]


@dataclass(frozen=True)
class RowReader:
    """The records of one file: `columns` as the header has them (None for JSON lines)."""

    name: str
    columns: list[str] | None
    rows: Iterator[Row]


def text_format(path: str) -> str:
    """Return "csv" or "jsonl" for a path by its suffix; `-` has no suffix and is an error."""
    for suffix in TEXT_SUFFIXES:
        if path.lower().endswith(suffix):
            return suffix.split(".")[1]
    raise DataError(f"{path}: unknown format; expected a name ending in {', '.join(TEXT_SUFFIXES)}")


@contextmanager
def open_rows(path: str, kind: str | None = None) -> Iterator[RowReader]:
    """Open a CSV or JSON-lines file (`-` is standard input) as a stream of rows.

    Parameters
    ----------
    path
        A file name; one that ends in .gz is decompressed.
    kind
        "csv" or "jsonl"; None takes it from the file name.

    Raises
    ------
    DataError
        Missing, empty, truncated or badly encoded file; a row that does not fit the header.
    """
    kind = kind or text_format(path)
    name = "standard input" if path == STANDARD else path
    with _open_binary(path) as stream:
        lines = _Lines(stream, name)
        if kind == "csv":
            yield _csv_reader(lines)
        else:
            yield RowReader(name, None, _json_rows(lines))


@contextmanager
def _open_binary(path: str) -> Iterator[IO[bytes]]:
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    opener: Callable[[], AbstractContextManager[object]]
    if path.lower().endswith(".gz"):
        opener = lambda: gzip.open(path, "rb")  # noqa: E731, SIM115
    else:
        opener = lambda: Path(path).open("rb")  # noqa: E731, SIM115
    try:
        stream = opener()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    with stream as opened:
        yield cast("IO[bytes]", opened)


class _Lines:
    """Decoded lines of a byte stream, counted, with errors that name the line."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name = name
        self.count = 0
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        try:
            for raw in self._stream:
                self.count += 1
                try:
                    yield decode_line(raw, first=self.count == 1)
                except ValueError as error:
                    raise DataError(f"{self.name}, line {self.count}: {error}") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{self.name}, after line {self.count}: truncated or damaged gzip data ({error})"
            ) from error
        except OSError as error:
            raise DataError(f"{self.name}: {error.strerror or error}") from error


def _csv_reader(lines: _Lines) -> RowReader:
    csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(iter(lines), strict=True)
    header = next(_csv_records(lines, reader, blank_is_row=False), None)
    if header is None:
        raise DataError(
            f"{lines.name}: the file is empty; expected a header line with column names"
        )
    columns = header[1]
    repeated = sorted({c for c in columns if columns.count(c) > 1})
    if repeated:
        raise DataError(
            f"{lines.name}, line {header[0]}: column {repeated[0]!r} appears more than once"
        )
    return RowReader(lines.name, columns, _csv_rows(lines, reader, columns))


def _csv_records(
    lines: _Lines, reader: Iterator[list[str]], *, blank_is_row: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield records with the line each starts on; a blank line is one empty cell, or nothing."""
    while True:
        start = lines.count + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{lines.name}, line {start}: broken CSV ({error})") from error
        if record or blank_is_row:
            yield start, record or [""]


def _csv_rows(lines: _Lines, reader: Iterator[list[str]], columns: list[str]) -> Iterator[Row]:
    for start, record in _csv_records(lines, reader, blank_is_row=len(columns) == 1):
        if len(record) != len(columns):
            raise DataError(
                f"{lines.name}, line {start}: {len(record)} cells, "
                f"but the header has {len(columns)} columns"
            )
        yield Row(start, dict(zip(columns, record, strict=True)))


def _json_rows(lines: _Lines) -> Iterator[Row]:
    empty = True
    for text in lines:
        if not text.strip():
            continue
        try:
            value = json_object(text)
        except ValueError as error:
            raise DataError(f"{lines.name}, line {lines.count}: {error}") from error
        empty = False
        yield Row(lines.count, value)
    if empty:
        raise DataError(f"{lines.name}: the file is empty; expected one JSON object per line")


class RowWriter:
    """Writes rows as CSV (a header line first) or JSON lines to an open text stream."""

    def __init__(self, stream: TextIO, kind: str, columns: Sequence[str] | None) -> None:
        self._stream = stream
        self._columns = columns if kind == "csv" else None
        self._count = 0
        if self._columns is not None:
            stream.write(csv_line(self._columns))

    def write(self, rows: Iterable[dict[str, object]]) -> None:
        """Append rows; a CSV row takes its cells in the order of the header.

        Raises
        ------
        DataError
            A row that the format cannot hold, such as infinity in JSON.
        """
        for row in rows:
            self._count += 1
            try:
                if self._columns is not None:
                    line = csv_line([row[column] for column in self._columns])
                else:
                    line = json_line(row)
                self._stream.write(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"row {self._count} of the output cannot be written ({error})"
                ) from error


@contextmanager
def atomic_text(path: str) -> Iterator[TextIO]:
    """Open `path` for writing so that it appears complete or not at all.

    `-` is standard output. A name that ends in .gz is compressed, without a time
    stamp, so that equal rows give equal bytes.
    """
    if path == STANDARD:
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        yield sys.stdout
        sys.stdout.flush()
        return
    with atomic_file(Path(path)) as partial, partial.open("wb") as raw:
        binary: IO[bytes] = raw
        if path.lower().endswith(".gz"):
            binary = cast("IO[bytes]", gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()
        if binary is not raw:
            binary.close()


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a sibling path to write to; it replaces `target` when the block ends well."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot write ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink()
