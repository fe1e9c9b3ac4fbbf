"""Rows of a block: together or one by one, the same rows."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zooter_lite.bulk.parse import Bad, csv_rows, json_rows
from zooter_lite.files.store import Kind

from tests.hostile_files import Text, texts
from zooter_lite.bulk import parse
from zooter_lite.bulk.block import Block
from zooter_lite.files import records as records_module
from zooter_lite.files.records import Lines, Piece, pieces


def block(kind: Kind, raw: bytes, line: int = 2) -> Block:
    columns = ("id", "query", "note") if kind == "csv" else None
    lines = raw.count(b"\n")
    piece = Piece(raw, line, len(raw), line - 1 + lines)
    return Block(0, "f", kind, "", columns, piece, first=True, final=True)


BYTES = st.lists(
    st.sampled_from(
        [b'"', b'""', b",", b"a,b,c\n", b"\n", b"\r\n", b"\r", b"a", b"\xc3\xa9", b"\xff", b"\0"]
    ),
    max_size=60,
).map(b"".join)


@given(BYTES)
def test_csv_rows_together_are_those_found_one_by_one(raw: bytes) -> None:
    together = parse._whole(block("csv", raw).piece, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse, "_whole", lambda *_: None)
        alone = csv_rows(block("csv", raw))
    if together is None:
        assert any(isinstance(row, Bad) for row in alone)
    else:
        assert together == alone


@given(BYTES)
def test_each_row_is_either_sound_or_told(raw: bytes) -> None:
    for row in csv_rows(block("csv", raw)):
        if isinstance(row, Bad):
            assert row.reason
            assert len(row.values) == 3
            start = raw.split(b"\n", row.line - 2)[-1] if row.line > 2 else raw
            assert start.startswith(row.raw)
            assert row.size == len(row.raw)
        else:
            assert len(row) == 3


TEXTS = [text for text in texts() if "in the middle" in text.name or "everything" in text.name]


@pytest.mark.parametrize("text", TEXTS, ids=[text.name for text in TEXTS])
def test_hostile_rows(text: Text) -> None:
    content = text.content[len(text.head) :]
    kind: Kind = "csv" if text.kind == "csv" else "jsonl"
    found: list[Any] = (csv_rows if kind == "csv" else json_rows)(
        block(kind, content, 1 + bool(text.head))
    )
    unsound = [row for row in found if isinstance(row, Bad)]
    told = [(line, row) for line, row in text.bad if kind == "csv" or not late(row.reason)]
    assert [(row.line, row.raw) for row in unsound] == [(line, row.raw) for line, row in told]
    for got, (_, row) in zip(unsound, told, strict=True):
        assert row.reason in got.reason


def late(reason: str) -> bool:
    """Whether only the worker tells, who knows what the columns mean."""
    return reason.startswith(("no key", "already has", "'query' holds", "cannot be written"))


def test_what_can_be_read_of_a_broken_row() -> None:
    raw = b'1,"a"b,c\n2,caf\xe9,\n3\n4,b,c,d\n5,"x"y"z,1\n6,\0,\n'
    assert [row.values for row in csv_rows(block("csv", raw)) if isinstance(row, Bad)] == [
        ["1", "ab", "c"],
        ["2", "caf\ufffd", ""],
        ["3", "", ""],
        ["4", "b", "c"],
        ["5", 'xy"z', "1"],
        ["6", "\ufffd", ""],
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_records_that_were_cut_keep_their_places(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setattr(records_module, "MAX_RECORD", 50)
    monkeypatch.setattr(records_module, "SHOWN", 5)
    row, rows = (b"1,2,3\n", csv_rows) if kind == "csv" else (b'{"a": 1}\n', json_rows)
    long = b"y" * 60 + b"\n"
    content = long + row + long + long + row + row + b"z" * 99
    found_pieces = list(pieces(Lines(io.BytesIO(content), "f"), 50, quotes=kind == "csv"))
    found: list[tuple[int, int]] = []
    for piece in found_pieces:
        given_rows: Any = rows(
            Block(0, "f", kind, "", ("a", "b", "c") if kind == "csv" else None, piece, True, True)
        )
        for number, each in enumerate(given_rows):
            found.append((each.line, each.size) if isinstance(each, Bad) else (0, number))
    bad = [each for each in found if each[0]]
    assert bad == [(1, 61), (3, 61), (4, 61), (7, 99)]
    assert [bool(each[0]) for each in found] == [True, False, True, True, False, False, True]


def test_blank_lines() -> None:
    assert csv_rows(block("csv", b"\n1,2,3\n\r\n\n4,5,6")) == [["1", "2", "3"], ["4", "5", "6"]]
    one = Block(0, "f", "csv", "", ("query",), Piece(b"a\n\n\r\nb", 2, 6, 5), True, True)
    assert csv_rows(one) == [["a"], [""], [""], ["b"]]
    found: list[Any] = json_rows(block("jsonl", b'\n {"a": 1}\r\n\t\n{}'))
    assert [(record.line, values) for record, values in found] == [(3, {"a": 1}), (5, {})]
