"""Files to blocks: the header once, every block resumable, one of them final."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.hostile_files import HEADER, PACKERS, good_csv, good_json
from tests.hostile_parquet import plain
from zooter_lite.bulk.block import Block, Task
from zooter_lite.bulk.reader import read_blocks
from zooter_lite.errors import DataError
from zooter_lite.files.places import Kind, Source


def start(path: Path, kind: Kind, packing: str = "", size: int = 300) -> Task:
    added = ("expert", "probability")
    return Task(Source(str(path), kind, packing, ""), "out.csv.gz", "query", added, size)


def text(*blocks: Block) -> bytes:
    return b"".join(record.raw for block in blocks for record in block.piece.records(quotes=False))


@pytest.fixture(params=["csv", "csv.gz", "jsonl.zst", "parquet"])
def given(tmp_path: Path, request: pytest.FixtureRequest) -> Task:
    kind, _, packing = request.param.partition(".")
    path = tmp_path / f"in.{request.param}"
    if kind == "parquet":
        pq.write_table(plain(200), path, row_group_size=70)
        return start(path, "parquet", size=500)
    pack = PACKERS[f".{packing}"] if packing else bytes
    rows = [good_csv(i).raw if kind == "csv" else good_json(i).raw for i in range(60)]
    path.write_bytes(pack((HEADER if kind == "csv" else b"") + b"".join(rows)))
    return start(path, kind, f".{packing}" if packing else "")


def test_blocks_and_where_they_end(given: Task) -> None:
    blocks = list(read_blocks(given))
    assert len(blocks) > 4
    assert [block.first for block in blocks] == [True] + [False] * (len(blocks) - 1)
    assert [block.final for block in blocks] == [False] * (len(blocks) - 1) + [True]
    assert {block.task for block in blocks} == {given}
    expected = {"csv": ("id", "query", "note"), "jsonl": None, "parquet": ("id", "query")}
    assert {block.columns for block in blocks} == {expected[given.source.kind]}
    if given.source.kind != "parquet":
        good = good_csv if given.source.kind == "csv" else good_json
        assert text(*blocks) == b"".join(good(i).raw for i in range(60))
    assert list(read_blocks(given)) == blocks


def test_reading_goes_on_after_any_block(given: Task) -> None:
    blocks = list(read_blocks(given))
    for number, block in enumerate(blocks[:-1], 1):
        again = replace(given, end=block.piece.end, last=block.piece.last)
        rest = [replace(block, task=again) for block in blocks[number:]]
        assert list(read_blocks(again)) == rest


def test_a_file_without_rows(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(HEADER)
    (block,) = read_blocks(start(tmp_path / "in.csv", "csv"))
    assert (block.piece, block.first, block.final) == ((b"", 2, len(HEADER), 1), True, True)
    pq.write_table(plain(0), tmp_path / "in.parquet")
    (block,) = read_blocks(start(tmp_path / "in.parquet", "parquet"))
    assert (block.piece, block.first, block.final) == ((b"", 1, 0, 0), True, True)
    for content in (b"", b"\n\n", b"\n" * 2000):
        (tmp_path / "in.jsonl").write_bytes(content)
        begun = start(tmp_path / "in.jsonl", "jsonl")
        with pytest.raises(DataError, match=r"in\.jsonl: the file is empty; expected one JSON obj"):
            list(read_blocks(begun))
        blocks = list(read_blocks(replace(begun, alone=False)))  # one file of many may be
        assert text(*blocks) == content
        assert blocks[-1].final
