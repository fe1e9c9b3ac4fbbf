"""Whole jobs: files of every packing, folders, workers, kills; always the same bytes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers import WORDS
from tests.hostile_files import PACKERS, UNPACKERS, check_error

ROOT = Path(__file__).resolve().parent.parent
Route = Callable[..., tuple[int, str]]


def prompts(n: int, seed: int = 0) -> list[str]:
    """Return prompts of 0 to 12 words, some of them twice, some of two lines."""
    dice = random.Random(seed)
    texts = [" ".join(dice.choices(WORDS[4:], k=dice.randrange(13))) for _ in range(n)]
    return [texts[dice.randrange(n)] + ('\n"x",' if i % 7 == 0 else "") for i in range(n)]


def as_csv(texts: list[str]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([("id", "query"), *enumerate(texts)])
    return stream.getvalue().encode()


def as_json(texts: list[str]) -> bytes:
    rows = ({"id": i, "query": text, "more": [text[:3], {"n": i}]} for i, text in enumerate(texts))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(texts: list[str], path: Path) -> None:
    columns = {
        "query": pa.array(texts).dictionary_encode(),
        "nested": [{"a": [i], "b": text[:2]} for i, text in enumerate(texts)],
        "kind": pa.array([text[:1] for text in texts]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path, row_group_size=len(texts) // 3 + 1)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of every kind and packing."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "sub" / "deep").mkdir(parents=True)
    for number, (packing, pack) in enumerate([("", bytes), *PACKERS.items()]):
        texts = prompts(150 + number, number)
        (folder / f"a.csv{packing}").write_bytes(pack(as_csv(texts)))
        (folder / "sub" / f"b.jsonl{packing}").write_bytes(pack(as_json(texts)))
    as_parquet(prompts(400, 9), folder / "sub" / "deep" / "c.parquet")
    (folder / "sub" / "empty.jsonl").write_bytes(b"")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def unpacked(files: dict[str, bytes]) -> dict[str, object]:
    """Return the content of files, whatever the bytes in which it is packed."""
    found: dict[str, object] = {}
    for name, content in files.items():
        if name.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(content))
            found[name] = (table.schema, table.to_pylist())
        else:
            suffix = f".{name.rpartition('.')[2]}" if name.count(".") > 1 else ""
            found[name] = UNPACKERS[suffix](content)
    return found


def process(router: Path, source: object, target: object, *args: object) -> subprocess.Popen[str]:
    files = ("--router", router, "--input", source, "--output", target, *args)
    command = [sys.executable, "-m", "zooter_lite.route", *map(str, files)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def finished(*args: Any) -> str:
    """Run to the end; return standard error."""
    running = process(*args)
    _, err = running.communicate()
    assert running.returncode == 0, err
    return err


def test_a_folder_of_every_kind(tmp_path: Path, inputs: Path, route_toy: Route) -> None:
    code, err = route_toy(inputs, tmp_path / "out", "--block", 4)
    assert code == 0, err
    found = tree(tmp_path / "out")
    assert found.keys() == tree(inputs).keys()
    contents = unpacked(found)
    for name, before in unpacked(tree(inputs)).items():
        after = contents[name]
        if name.endswith(".parquet"):
            check_parquet(before, after)
        elif "csv" in name:
            assert [row[:-2] for row in rows(after)] == rows(before)
        else:
            assert [drop(line) for line in lines(after)] == lines(before)
    whole = route_toy(inputs, tmp_path / "whole", "--block", 4096)
    assert whole[0] == 0
    assert unpacked(tree(tmp_path / "whole")) == contents  # blocks do not tell
    assert err.splitlines()[0] == whole[1].splitlines()[0]
    code, err = route_toy(inputs / "**" / "*.*", tmp_path / "pattern", "--block", 4)
    assert code == 0, err
    assert tree(tmp_path / "pattern") == found
    code, err = route_toy(inputs, tmp_path / "out")
    check_error(code, err, f"{tmp_path}/out/a.csv: exists already; --force overwrites it")


def rows(content: object) -> list[list[str]]:
    assert isinstance(content, bytes)
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def lines(content: object) -> list[dict[str, Any]]:
    assert isinstance(content, bytes)
    return [json.loads(line) for line in content.decode().split("\n") if line]


def drop(row: dict[str, Any]) -> dict[str, Any]:
    assert (row.pop("expert") is None) == (not row["query"].strip())
    assert "probability" in row
    return {key: value for key, value in row.items() if key != "probability"}


def check_parquet(before: Any, after: Any) -> None:
    names = before[0].names
    assert after[0].types[:-2] == before[0].types
    assert after[0].names == [*names, "expert", "probability"]
    assert [{name: row[name] for name in names} for row in after[1]] == before[1]


def test_one_worker_and_several_give_the_same_bytes(
    tmp_path: Path, inputs: Path, toy: Path, route_toy: Route
) -> None:
    pattern = inputs / "sub" / "**" / "*[clt]"
    finished(toy, pattern, tmp_path / "2", "--workers", 2, "--block", 2)
    assert route_toy(pattern, tmp_path / "1", "--block", 2)[0] == 0
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    names = {"b.jsonl", "b.jsonl.zst", "empty.jsonl", "deep/c.parquet"}
    assert set(tree(tmp_path / "1")) == names


def test_another_version_never_goes_on(
    tmp_path: Path, route_toy: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade between a kill and its resume would mix the answers of both."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(as_csv(prompts(300)) + b"ragged\n")
    assert route_toy(source, target, "--block", 1)[0] == 2
    monkeypatch.setattr("zooter_lite.bulk.work.onnxruntime.__version__", "99.0")
    args = ("--block", 1, "--on-error", "skip")
    code, err = route_toy(source, target, *args)
    check_error(code, err, f"{target}: an unfinished job of another input, router, setting or vers")
    code, err = route_toy(source, target, *args, "--force")
    assert code == 0
    assert " of an earlier run" not in err


@pytest.mark.parametrize("kind", ["csv.gz", "jsonl", "parquet"])
def test_killed_at_a_random_moment(tmp_path: Path, toy: Path, route_toy: Route, kind: str) -> None:
    """SIGKILL, then to the end with another number of workers: what an undisturbed run gives."""
    source, target, whole = (tmp_path / f"{name}.{kind}" for name in ("in", "out", "whole"))
    texts = prompts(4_000)
    if kind == "parquet":
        as_parquet(texts, source)
    elif kind == "jsonl":
        source.write_bytes(as_json([*texts, *texts]).replace(b'"query": "two', b'"qu": "two'))
    else:
        ragged = as_csv(texts).replace(b",one", b",one,x")
        source.write_bytes(gzip.compress(ragged))
    args = ("--block", 4, "--on-error", "skip")
    assert route_toy(source, whole, *args)[0] == 0
    running = process(toy, source, target, *args, "--workers", 2)
    journal = tmp_path / f".out.{kind}.journal"
    while running.poll() is None and entries(journal) < 2:
        time.sleep(0.01)
    time.sleep(random.random() / 10)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    if not target.exists():
        code, err = route_toy(source, target, *args)
        assert code == 0, err
        assert " of an earlier run (" in err
    assert target.read_bytes() == whole.read_bytes()
    rejects = [Path(f"{path}.rejects.jsonl") for path in (target, whole)]
    assert rejects[0].exists() == rejects[1].exists() == (kind != "parquet")
    if kind != "parquet":
        assert rejects[0].read_bytes() == rejects[1].read_bytes()
    assert not list(tmp_path.glob(".*"))


def entries(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def test_a_file_that_fails_among_others(tmp_path: Path, route_toy: Route) -> None:
    """What is done stays done; the rerun goes on with the rest and forgets nothing."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in "abcd":
        (source / f"{name}.csv").write_bytes(as_csv(prompts(300, ord(name))))
    with (source / "b.csv").open("a") as stream:
        stream.write("ragged\n")
    n_lines = (source / "b.csv").read_text().count("\n")
    code, err = route_toy(source, target, "--block", 1)
    check_error(code, err, f"{source}/b.csv, line {n_lines}: 1 cells, but")
    assert [path.name for path in sorted(target.glob("[!.]*"))] == ["a.csv"]
    stamp = (target / "a.csv").stat().st_mtime_ns
    code, again = route_toy(source, target, "--block", 1)
    assert (code, again) == (2, err)
    code, err = route_toy(source, target, "--block", 1, "--on-error", "skip")
    assert code == 0, err
    (earlier,) = re.findall(r" rows in .* s after (\d+) of an earlier run \(", err)
    assert err.splitlines()[1].startswith(f"{1201 - int(earlier)} rows in ")
    assert 300 < int(earlier) < 601
    assert (target / "a.csv").stat().st_mtime_ns == stamp
    names = ["a.csv", "b.csv", "b.csv.rejects.jsonl", "c.csv", "d.csv"]
    assert sorted(os.listdir(target)) == names  # noqa: PTH208
    counts = {name: len(rows((target / name).read_bytes())) for name in names if name != names[2]}
    assert set(counts.values()) == {301}


def test_a_job_of_urls(
    tmp_path: Path, inputs: Path, route_toy: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOTER_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    for name, content in tree(inputs).items():
        memory.pipe(f"/in/{name}", content)
    try:
        assert route_toy(inputs, tmp_path / "local", "--block", 4)[0] == 0
        code, err = route_toy("memory://in", "memory://out", "--block", 4)
        assert code == 0, err
        found = {path.removeprefix("/out/"): memory.cat(path) for path in memory.find("/out")}
        assert found == tree(tmp_path / "local")
        code, err = route_toy("memory://in/*.gz", tmp_path / "gz", "--block", 4)
        assert code == 0, err
        assert tree(tmp_path / "gz") == {"a.csv.gz": found["a.csv.gz"]}
    finally:
        memory.store.clear()
