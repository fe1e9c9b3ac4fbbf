"""Pieces and records of random bytes: nothing lost, boundaries told by the start alone."""

from __future__ import annotations

import csv
import io
import lzma
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zooter_lite.errors import DataError
from zooter_lite.files import records as records_module
from zooter_lite.files.records import Lines, Piece, Record, csv_records, json_records, pieces

BYTES = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"bc ", b"\xc3\xa9", b"\xff"]),
    max_size=80,
).map(b"".join)
CELLS = st.lists(
    st.lists(st.text('",\n\r ab\u2028é', max_size=12), min_size=2, max_size=4), max_size=12
)
SIZES = st.integers(1, 60)


@pytest.fixture(params=["usual limits", "low limits"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the longest record; hypothesis examples share it."""
    if request.param == "low limits":
        for name, value in (("MAX_RECORD", 60), ("SHOWN", 10), ("_STEP", 7)):
            monkeypatch.setattr(records_module, name, value)
    return records_module.MAX_RECORD


def read(data: bytes, size: int, *, quotes: bool) -> list[Piece]:
    return list(pieces(Lines(io.BytesIO(data), "f"), size, quotes=quotes))


def ended(data: bytes) -> int:
    """Return the number of lines, the last one with or without its end."""
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def walk(piece: Piece, data: bytes, start: int) -> Iterator[bytes]:
    """Yield the bytes of the file that a piece takes, and check the records that are cut."""
    place = 0
    for at, record, last in piece.cut:
        yield piece.raw[place:at]
        begin = start + at
        assert record.line == 1 + data[:begin].count(b"\n")
        assert data[begin:].startswith(record.raw)
        assert len(record.raw) == records_module.SHOWN
        assert not record.whole
        assert record.size > records_module.MAX_RECORD
        assert last == ended(data[: begin + record.size])
        yield data[begin : begin + record.size]
        place, start = at, start + record.size
    yield piece.raw[place:]


@pytest.mark.parametrize("quotes", [True, False])
@pytest.mark.usefixtures("limits")
def test_pieces_joined_are_the_file(quotes: bool) -> None:
    @given(BYTES, SIZES)
    def check(data: bytes, size: int) -> None:
        joined = b""
        for piece in read(data, size, quotes=quotes):
            assert piece.line == 1 + data[: len(joined)].count(b"\n")
            joined += b"".join(walk(piece, data, len(joined)))
            assert piece.end == len(joined)
            assert piece.last == ended(joined)
        assert joined == data

    check()


@pytest.mark.parametrize("quotes", [True, False])
@pytest.mark.usefixtures("limits")
def test_reading_goes_on_at_the_end_of_any_piece(quotes: bool) -> None:
    @given(BYTES, SIZES)
    def check(data: bytes, size: int) -> None:
        whole = read(data, size, quotes=quotes)
        for number, piece in enumerate(whole, 1):
            lines = Lines(io.BytesIO(data[piece.end :]), "f", piece.end, piece.last)
            assert list(pieces(lines, size, quotes=quotes)) == whole[number:]

    check()


@pytest.mark.parametrize("quotes", [True, False])
@pytest.mark.usefixtures("limits")
def test_records_of_the_pieces_are_those_of_the_file(quotes: bool) -> None:
    """A worker sees a piece alone, and has to find the same records in it."""
    find = csv_records if quotes else json_records

    def records_of(piece: Piece) -> Iterator[Record]:
        start, line = 0, piece.line
        for place, record, last in piece.cut:
            yield from find(Lines(io.BytesIO(piece.raw[start:place]), "f", 0, line - 1))
            yield record
            start, line = place, last + 1
        yield from find(Lines(io.BytesIO(piece.raw[start:]), "f", 0, line - 1))

    @given(BYTES, SIZES)
    def check(data: bytes, size: int) -> None:
        whole = list(find(Lines(io.BytesIO(data), "f")))
        parts = [r for piece in read(data, size, quotes=quotes) for r in records_of(piece)]
        assert parts == whole

    check()


@example([["\n", ""]], 1, "\n", False, True)
@given(CELLS, SIZES, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_csv_records_are_those_of_the_csv_module(
    rows: list[list[str]], size: int, ending: str, every: bool, mark: bool
) -> None:
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    text = "".join(_line(row, quoting) + ending for row in rows)
    data = b"\xef\xbb\xbf" * (mark and bool(rows)) + text.encode()
    found = [
        next(csv.reader(io.StringIO(record.raw.decode().removeprefix("\ufeff"), newline="")))
        for record in csv_records(Lines(io.BytesIO(data), "f"))
    ]
    assert found == rows
    joined = [row for piece in read(data, size, quotes=True) for row in _parsed(piece.raw)]
    assert joined == rows


def _line(row: list[str], quoting: Any) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=quoting).writerow(row)  # \r\n, so that cells with \r are quoted
    return stream.getvalue().removesuffix("\r\n")


def _parsed(raw: bytes) -> list[list[str]]:
    text = raw.decode().removeprefix("\ufeff")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@given(BYTES)
def test_json_records_are_lines(data: bytes) -> None:
    found = list(json_records(Lines(io.BytesIO(data), "f")))
    assert [record.raw for record in found] == io.BytesIO(data).readlines()
    assert [record.line for record in found] == list(range(1, len(found) + 1))


def test_a_store_that_gives_little_at_a_time_gives_the_same_pieces() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 3))

    data = b"".join(b'%d,"x\n%d"\n' % (i, i) for i in range(50))
    slow = list(pieces(Lines(Slow(data), "f"), 40, quotes=True))
    assert slow == read(data, 40, quotes=True)
    assert len(slow) > 5


def test_a_worked_example_of_a_record_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_RECORD", 20)
    monkeypatch.setattr(records_module, "SHOWN", 4)
    data = b'a\n"' + b"long\nlong" * 3 + b'",x\nb\n'
    (piece,) = read(data, 100, quotes=True)
    assert piece.raw == b"a\nb\n"
    assert piece.cut == ((2, Record(b'"lon', 2, 32), 5),)
    assert (piece.line, piece.end, piece.last) == (1, len(data), 6)


ERRORS: list[tuple[Exception, str]] = [
    (OSError(5, "Input/output error"), "f, after line 1: Input/output error"),
    (OSError("Invalid data stream"), "f, after line 1: truncated or damaged data (Invalid data"),
    (EOFError("cut"), r"f, after line 1: truncated or damaged data (cut)"),
    (lzma.LZMAError("Corrupt\n input"), "f, after line 1: truncated or damaged data (Corrupt inp"),
    (RuntimeError(), "f, after line 1: truncated or damaged data (RuntimeError)"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS, ids=[m for _, m in ERRORS])
def test_a_stream_that_cannot_be_read_on(error: Exception, message: str) -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            line = super().readline(size)
            if not line:
                raise error
            return line

    lines: Any = json_records(Lines(Failing(b"{}\n"), "f"))
    assert next(lines).raw == b"{}\n"
    with pytest.raises(DataError) as caught:
        next(lines)
    assert str(caught.value).startswith(message)
