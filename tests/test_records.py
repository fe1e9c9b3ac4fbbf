"""Records of random bytes: nothing lost, the ends of pieces told by their start alone."""

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
from zooter_lite.files.dialect import Header
from zooter_lite.files.records import Lines, Piece, Record, pieces, records

BYTES = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"bc ", b"\xc3\xa9", b"\xff"]),
    max_size=80,
).map(b"".join)
CELLS = st.lists(
    st.lists(st.text('",\n\r ab\u2028é', max_size=12), min_size=2, max_size=4), max_size=12
)
SIZES = st.integers(1, 60)


@pytest.fixture(params=["usual limits", "low limits"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the longest record; hypothesis examples share it."""
    if request.param == "low limits":
        for name, value in (("MAX_RECORD", 60), ("SHOWN", 10), ("_STEP", 7)):
            monkeypatch.setattr(records_module, name, value)


def parsed(found: list[Piece], separator: str) -> Iterator[Record]:
    for piece in found:
        yield from records(piece, Header(("a", "b"), separator) if separator else None)


@pytest.mark.parametrize("separator", [",", ""])
@pytest.mark.usefixtures("limits")
def test_pieces_hold_the_file_and_reading_goes_on_after_any(separator: str) -> None:
    @given(BYTES, SIZES)
    def check(data: bytes, size: int) -> None:
        whole = list(pieces(Lines(io.BytesIO(data), "f"), size, separator))
        place = 0
        for number, piece in enumerate(whole, 1):
            assert piece.line == 1 + data[:place].count(b"\n")
            assert data[place:].startswith(piece.content)
            assert (piece.too_long > records_module.MAX_RECORD) == bool(piece.too_long)
            place += piece.too_long or len(piece.content)
            assert piece.end == place
            read = data[:place]
            assert piece.last == read.count(b"\n") + (not read.endswith(b"\n") and bool(read))
            if number < len(whole):
                lines = Lines(io.BytesIO(data), "f")
                lines.go_to(place, piece.last)
                assert list(pieces(lines, size, separator)) == whole[number:]
        assert place == len(data)
        at_once = list(pieces(Lines(io.BytesIO(data), "f"), 60, separator))
        assert list(parsed(whole, separator)) == list(parsed(at_once, separator))
        for record in parsed(whole, separator):
            start = data.split(b"\n", record.line - 1)[-1]
            assert start.startswith(record.raw)
            assert record.size == len(record.raw) or len(record.raw) == records_module.SHOWN
            assert record.reason or len(record.value) == 2

    check()


@example([["\n", ""]], "\n", False, True)
@given(CELLS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_csv_records_are_those_of_the_csv_module(
    rows: list[list[str]], ending: str, every: bool, mark: bool
) -> None:
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    text = "".join(_line(row, quoting) + ending for row in rows)
    data = b"\xef\xbb\xbf" * (mark and bool(rows)) + text.encode()
    found = pieces(Lines(io.BytesIO(data), "f"), 7, ",")
    assert [one.value for piece in found for one in records(piece, Header(()))] == rows


def _line(row: list[str], quoting: Any) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=quoting).writerow(row)  # \r\n, so that cells with \r are quoted
    return stream.getvalue().removesuffix("\r\n")


def test_a_stream_that_cannot_be_read_on() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise lzma.LZMAError("Corrupt\n input")

    lines = Lines(Failing(b"{}\n"), "f")
    lines.count(lines.readline())
    message = r"^f, after line 1: truncated or damaged data \(Corrupt input\)$"
    with pytest.raises(DataError, match=message):
        next(pieces(lines, 9))
