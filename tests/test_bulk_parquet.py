"""Parquet in pieces: rows of a block, and one file of many streams."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.hostile_parquet import plain
from zooter_lite.bulk import parquet
from zooter_lite.bulk.block import Block, Task
from zooter_lite.bulk.parquet import open_parquet, parquet_pieces
from zooter_lite.files.places import Source
from zooter_lite.files.records import Piece


def task(path: Path, size: int, start: int = 0) -> Task:
    return Task(Source(str(path), "parquet", "", ""), "-", "query", size=size, last=start)


def read_pieces(path: Path, size: int, start: int = 0) -> list[Piece]:
    given = task(path, size, start)
    with open_parquet(given.source) as file:
        return list(parquet_pieces(file, given))


def batches(streams: bytes) -> list[pa.RecordBatch]:
    with io.BufferedReader(io.BytesIO(streams)) as spool:
        return [batch for group in parquet._groups(pa, spool) for batch in group]


def test_pieces_number_their_rows(tmp_path: Path) -> None:
    pq.write_table(plain(500), tmp_path / "in.parquet", row_group_size=130)
    for size in (1, 300, 10**9):
        found = read_pieces(tmp_path / "in.parquet", size)
        ids: list[int] = []
        for number, piece in enumerate(found, 1):
            ids += batches(piece.content)[0]["id"].to_pylist()
            assert piece.end == piece.last == len(ids)
            if number % 50 == 1:
                rest = found[number:] or [Piece(b"", 501, 500, 500)]
                assert read_pieces(tmp_path / "in.parquet", size, piece.last) == rest
        assert ids == list(range(500))
    whole = read_pieces(tmp_path / "in.parquet", 10**9)
    assert len(whole) == 4  # one per row group
    rows = parquet.ParquetRows(Block(task(tmp_path, 1), None, whole[1], False, False))
    assert rows.prompts[1] == "three"
    assert rows.origin(1) == (132, b"three", 5)


def test_a_row_group_is_never_read_whole(tmp_path: Path) -> None:
    """A piece of a group of 32 MB takes a few of them."""
    texts = pa.array([f"{i:08d}" * 1000 for i in range(4000)])
    table = pa.table({"query": texts})
    pq.write_table(table, tmp_path / "in.parquet", compression="none", use_dictionary=False)
    before = pa.total_allocated_bytes()
    given = task(tmp_path / "in.parquet", 2**18)
    with open_parquet(given.source) as file:
        assert file.metadata.num_row_groups == 1
        for number, piece in enumerate(parquet_pieces(file, given), 1):
            assert piece.last == number * 32
            assert len(piece.content) < 2**19
            assert pa.total_allocated_bytes() - before < 8 * 2**20
