"""Rows of a block: together or one by one, the same rows."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter_lite.bulk import text_rows
from zooter_lite.bulk.block import Bad, Block, Task
from zooter_lite.bulk.text_rows import CsvRows, JsonRows
from zooter_lite.files.places import Kind, Source
from zooter_lite.files.records import Lines, pieces

COLUMNS = ("id", "query", "note")


def block(kind: Kind, raw: bytes, line: int = 2, columns: tuple[str, ...] = COLUMNS) -> Block:
    lines = Lines(io.BytesIO(raw), "f", 0, line - 1)
    (piece,) = pieces(lines, 2**24, quotes=kind == "csv")
    start = Task(Source("f", kind, "", ""), "-", "query", ("expert", "probability"), 1)
    return Block(start, columns if kind == "csv" else None, piece, first=False, final=True)


def rows(given: Block) -> list[Any]:
    parsed = (CsvRows if given.task.source.kind == "csv" else JsonRows)(given, {})
    return list(parsed._rows)


BYTES = st.lists(
    st.sampled_from(
        [b'"', b'""', b",", b"a,b,c\n", b"\n", b"\r\n", b"\r", b"a", b"\xc3\xa9", b"\xff", b"\0"]
    ),
    max_size=60,
).map(b"".join)


@given(BYTES)
def test_csv_rows_together_are_those_found_one_by_one(raw: bytes) -> None:
    together = rows(block("csv", raw))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_rows, "_together", lambda *_: [])
        assert rows(block("csv", raw)) == together
    for row in together:
        if isinstance(row, Bad):
            assert row.reason
            assert len(row.values) == 3
            start = raw.split(b"\n", row.line - 2)[-1] if row.line > 2 else raw
            assert start.startswith(row.raw)
            assert row.size == len(row.raw)
        else:
            assert len(row) == 3


def test_what_can_be_read_of_a_broken_row() -> None:
    raw = b'1,"a"b,c\n2,caf\xe9,\n3\n4,b,c,d\n5,"x"y"z,1\n6,\0,\n'
    assert [row.values for row in rows(block("csv", raw)) if isinstance(row, Bad)] == [
        ["1", "ab", "c"],
        ["2", "caf\ufffd", ""],
        ["3", "", ""],
        ["4", "b", "c"],
        ["5", 'xy"z', "1"],
        ["6", "\ufffd", ""],
    ]
