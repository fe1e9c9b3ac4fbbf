"""Records of random bytes: nothing lost, the ends of pieces told by their start alone."""

from __future__ import annotations

import csv
import io
import lzma
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zooter_lite.errors import DataError
from zooter_lite.files import records as records_module
from zooter_lite.files.records import Lines, Piece, csv_records, json_records, pieces

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


def read(data: bytes, size: int, *, quotes: bool) -> list[Piece]:
    return list(pieces(Lines(io.BytesIO(data), "f"), size, quotes=quotes))


def ended(data: bytes) -> int:
    """Return the number of lines, the last one with or without its end."""
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


@pytest.mark.parametrize("quotes", [True, False])
@pytest.mark.usefixtures("limits")
def test_pieces_hold_the_file_and_reading_goes_on_after_any(quotes: bool) -> None:
    @given(BYTES, SIZES)
    def check(data: bytes, size: int) -> None:
        whole = read(data, size, quotes=quotes)
        find = csv_records if quotes else json_records
        all_of_them = [record for piece in whole for record in piece.records(quotes=quotes)]
        assert all_of_them == list(find(Lines(io.BytesIO(data), "f")))
        place = 0
        for number, piece in enumerate(whole, 1):
            assert piece.line == 1 + data[:place].count(b"\n")
            for record in piece.records(quotes=quotes):
                assert record.line == 1 + data[:place].count(b"\n")
                assert data[place:].startswith(record.raw)
                assert record.whole == (record.size <= records_module.MAX_RECORD)
                assert len(record.raw) == record.size or len(record.raw) == records_module.SHOWN
                place += record.size
            assert piece.end == place
            assert piece.last == ended(data[:place])
            if number < len(whole):
                lines = Lines(io.BytesIO(data[place:]), "f", place, piece.last)
                assert list(pieces(lines, size, quotes=quotes)) == whole[number:]
        assert place == len(data)

    check()


@example([["\n", ""]], "\n", False, True)
@given(CELLS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_csv_records_are_those_of_the_csv_module(
    rows: list[list[str]], ending: str, every: bool, mark: bool
) -> None:
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    text = "".join(_line(row, quoting) + ending for row in rows)
    data = b"\xef\xbb\xbf" * (mark and bool(rows)) + text.encode()
    found = [
        next(csv.reader(io.StringIO(record.raw.decode().removeprefix("\ufeff"), newline="")))
        for record in csv_records(Lines(io.BytesIO(data), "f"))
    ]
    assert found == rows


def _line(row: list[str], quoting: Any) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=quoting).writerow(row)  # \r\n, so that cells with \r are quoted
    return stream.getvalue().removesuffix("\r\n")


def test_a_stream_that_cannot_be_read_on() -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            line = super().readline(size)
            if not line:
                raise lzma.LZMAError("Corrupt\n input")
            return line

    lines: Any = json_records(Lines(Failing(b"{}\n"), "f"))
    assert next(lines).raw == b"{}\n"
    message = r"^f, after line 1: truncated or damaged data \(Corrupt input\)$"
    with pytest.raises(DataError, match=message):
        next(lines)
