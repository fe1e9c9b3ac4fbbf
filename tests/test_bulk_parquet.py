"""Parquet in pieces: rows of a block, and one file of many streams."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zooter_lite.files.parquet import ParquetBlock, open_parquet, output_schema, parquet_pieces
from zooter_lite.files.store import Source

from tests.hostile_parquet import plain, unsound
from zooter_lite.bulk.block import Block
from zooter_lite.errors import DataError
from zooter_lite.files import parquet as columns
from zooter_lite.files.records import Piece


def source(path: Path) -> Source:
    return Source(str(path), "parquet", "", "")


def read_pieces(path: Path, size: int, start: int = 0) -> list[Piece]:
    with open_parquet(source(path)) as file:
        return list(parquet_pieces(file, source(path), size, start))


def block(piece: Piece) -> ParquetBlock:
    names = ("query", "n")
    return ParquetBlock(Block(0, "f", "parquet", "", names, piece, True, True), "query")


def rows(streams: bytes) -> list[dict[str, object]]:
    spool = io.BufferedReader(io.BytesIO(streams))
    return [row for batch in columns._batches(pa, spool) for row in batch.to_pylist()]


def test_pieces_number_their_rows(tmp_path: Path) -> None:
    pq.write_table(plain(500), tmp_path / "in.parquet", row_group_size=130)
    for size in (1, 300, 10**9):
        found = read_pieces(tmp_path / "in.parquet", size)
        assert found[0].line == 1
        for before, after in pairwise(found):
            assert after.line == before.last + 1
        assert found[-1].last == found[-1].end == 500
        ids = [row["id"] for piece in found for row in rows(piece.raw)]
        assert ids == list(range(500))
        for number, piece in enumerate(found, 1):
            assert read_pieces(tmp_path / "in.parquet", size, piece.last) == found[number:]
    assert len(read_pieces(tmp_path / "in.parquet", 10**9)) == 4  # one per row group


def test_a_row_group_is_never_read_whole(tmp_path: Path) -> None:
    """A piece of a group of 64 MB takes a few of them."""
    texts = pa.array([f"{i:08d}" * 1000 for i in range(8000)])
    table = pa.table({"query": texts})
    pq.write_table(table, tmp_path / "in.parquet", compression="none", use_dictionary=False)
    before = pa.total_allocated_bytes()
    with open_parquet(source(tmp_path / "in.parquet")) as file:
        assert file.metadata.num_row_groups == 1
        for number, piece in enumerate(parquet_pieces(file, source(tmp_path), 2**18, 0)):
            assert piece.line == number * 32 + 1
            assert len(piece.raw) < 2**19
            assert pa.total_allocated_bytes() - before < 16 * 2**20


def test_unsound_prompts_and_cells_for_the_others(tmp_path: Path) -> None:
    content, wrong = unsound()
    (tmp_path / "in.parquet").write_bytes(content)
    for piece in read_pieces(tmp_path / "in.parquet", 400):
        here = block(piece)
        numbers = range(piece.line, piece.last + 1)
        assert [bad.line for bad in here.bad] == [n for n in numbers if n in wrong]
        assert len(here.prompts) == len(numbers)
        cells = [(prompt or None, n / 2) for n, prompt in zip(numbers, here.prompts, strict=True)]
        for left_out in (False, True):
            kept = [n for n in numbers if not (left_out and n in wrong)]
            stream = here.with_columns(["expert", "probability"], cells, left_out=left_out)
            (batch,) = columns._batches(pa, io.BufferedReader(io.BytesIO(stream)))
            assert batch.column("n").to_pylist() == [n - 1 for n in kept]
            assert batch.column("probability").to_pylist() == [n / 2 for n in kept]
    with_none_bad = block(read_pieces(tmp_path / "in.parquet", 1)[0])
    assert with_none_bad.bad == []
    assert rows(with_none_bad.with_columns(["expert"], [("a",)], left_out=True)) == [
        {"query": "one two", "n": 0, "expert": "a"}
    ]


def test_many_streams_become_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_GROUP_ROWS", 100)
    table = pa.table({"query": pa.array([f"p{i % 40}" for i in range(450)]).dictionary_encode()})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=30)
    pieces = read_pieces(tmp_path / "in.parquet", 60)
    spool = b"".join(
        block(piece).with_columns(
            ["expert", "probability"],
            [("a", 0.5)] * (piece.last - piece.line + 1),
            left_out=False,
        )
        for piece in pieces
    )
    with open_parquet(source(tmp_path / "in.parquet")) as file:
        schema = output_schema(file, ["expert", "probability"], source(tmp_path))
    with io.BufferedReader(io.BytesIO(spool)) as stream:
        columns.write_parquet(stream, tmp_path / "out.parquet", schema, source(tmp_path))
    with pq.ParquetFile(tmp_path / "out.parquet") as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        found = file.read()
    assert sum(sizes) == 450
    assert all(100 <= size < 160 for size in sizes[:-1])
    assert found.schema.types == [table.schema.types[0], pa.string(), pa.float64()]
    assert found["query"].to_pylist() == table["query"].to_pylist()
    assert set(found["expert"].to_pylist()) == {"a"}


def test_a_type_that_parquet_cannot_hold(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("x", pa.struct([]))])
    with (
        io.BufferedReader(io.BytesIO(b"")) as spool,
        pytest.raises(DataError, match=r": cannot be written as Parquet \("),
    ):
        columns.write_parquet(spool, tmp_path / "out.parquet", schema, source(tmp_path))
