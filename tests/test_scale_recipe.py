"""The scale recipe: what it generates, and the arithmetic of its tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq

from recipes.scale import batch_files, prompts, raw, table
from tests.test_batch_file import body_of
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.work import Worker
from zooter_lite.table import read_table


def test_prompts_are_all_different_and_written_as_they_are_generated(tmp_path: Path) -> None:
    generated = list(prompts.prompts(20_000))
    assert len(set(generated)) == 20_000
    assert generated[0] == "What is 0 plus 0?"
    assert max(map(len, generated)) < 120
    batch_files.write_requests(9, tmp_path / "requests.jsonl")
    lines = (tmp_path / "requests.jsonl").read_text("utf-8").splitlines()
    assert [body_of(line)["messages"][-1]["content"] for line in lines] == generated[:9]
    prompts.write(1000, tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["id", "query"], *([str(i), text] for i, text in enumerate(generated[:1000]))
        ]  # fmt: skip


def test_a_table_is_the_same_each_time_and_can_be_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        out = str(tmp_path / f"{name}.parquet")
        table.main(table.Options(rows=300, experts=3, tags=50, out=out))
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))
    read = read_table(str(tmp_path / "a.parquet"))
    assert (len(read), len(read.experts)) == (300, 3)
    assert set(read.splits or []) == {"train", "test"}
    assert read.tags is not None
    found = {tag for tags in read.tags for tag in tags}
    assert found <= {f"tag-{number}" for number in range(50)}
    assert len(found) > 40


def test_the_raw_session_decides_as_the_router_does(router_path: Path) -> None:
    router = Worker(Options(str(router_path), "-", "-")).router
    for place, text in enumerate(prompts.prompts(6)):
        seconds, best = raw.share(str(router_path), "router.onnx", 512, place, 1)
        assert seconds > 0
        assert router.experts[best] == router.route([text])[0].expert
