"""Files, folders, patterns and URLs, paired with what is written from them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from zooter_lite.bulk.inputs import plan
from zooter_lite.errors import DataError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with some files below it."""
    monkeypatch.chdir(tmp_path)
    names = ("in/a.csv", "in/b.jsonl.gz", "in/sub/c.parquet", "in/sub/.hidden.csv")
    for name in (*names, "in/.git/e.csv", "in/notes.txt", "alone.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


def pairs(*args: Any) -> list[tuple[str, str]]:
    return [(task.source.path, task.target) for task in plan(*args)]


def test_a_single_file(folder: Path) -> None:
    (task,) = plan("alone.csv", "out.csv.gz")
    status = os.stat("alone.csv")  # noqa: PTH116
    assert (task.source.kind, task.source.packing, task.target) == ("csv", "", "out.csv.gz")
    assert task.source.stamp == f"1:{status.st_mtime_ns}"
    assert pairs("in/b.jsonl.gz", "-") == [("in/b.jsonl.gz", "-")]
    assert pairs("in/b.jsonl.gz", "-", "jsonl") == [("in/b.jsonl.gz", "-")]
    assert pairs(f"file://{folder}/alone.csv", f"file://{folder}/o.csv") == [
        (f"{folder}/alone.csv", f"{folder}/o.csv")
    ]


IN = [("in/a.csv", "o/a.csv"), ("in/b.jsonl.gz", "o/b.jsonl.gz")]
SUB = ("in/sub/c.parquet", "o/sub/c.parquet")


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("in", "o", [*IN, SUB]),
        ("./in/", "o", [(f"./{a}", b) for a, b in [*IN, SUB]]),
        ("in/*", "o", IN),
        ("in/**/*", "o", [*IN, SUB]),
        ("in/*", "in/o", [(a, f"in/{b}") for a, b in IN]),  # which the pattern never finds
        ("in/s*/../a.csv", "o", [("in/sub/../a.csv", "o/a.csv")]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_folders_and_patterns(source: str, target: str, expected: list[tuple[str, str]]) -> None:
    found = pairs(source, target)
    assert [(os.path.normpath(a), b) for a, b in found] == [
        (os.path.normpath(a), b) for a, b in expected
    ]


@pytest.mark.usefixtures("folder")
def test_files_of_no_known_format_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    plan("in", "o")
    assert capsys.readouterr().err == "passed over, of no known format: in/notes.txt\n"
    for i in range(7):
        Path(f"in/{i}.txt").touch()
    plan("in/*", "o")
    told = "passed over, of no known format: "
    assert (
        capsys.readouterr().err
        == told + "in/0.txt, in/1.txt, in/2.txt, in/3.txt, in/4.txt and 3 more\n"
    )


REFUSED = [
    ("none.csv", "o.csv", "none.csv: No such file or directory"),
    ("none", "o", "none: unknown format; expected a name ending in .csv, .tsv, .jsonl"),
    ("alone.csv", "o.jsonl", "o.jsonl: the input is csv and the output jsonl; expected the s"),
    ("in/sub/c.parquet", "-", "in/sub/c.parquet: Parquet cannot be written to standard out"),
    ("-", "-", "--format csv or --format jsonl is needed with - for both files"),
    ("-", "o.parquet", "o.parquet: Parquet cannot be read from standard input"),
    ("in", "o.csv", "o.csv: expected a folder, since in may name several files"),
    ("in", "in/o", "in/o: expected a folder outside in"),
    ("in/**/*", "in/sub/o", "in/sub/o: expected a folder outside in"),
    ("in/*", "in/sub/..", "in/sub/..: expected a folder outside in"),
    ("in/*.gz.csv", "o", "in/*.gz.csv: no file ending in .csv, .csv.gz, .csv.bz2"),
    ("in/s*/../../alone.csv", "o", "in/sub/../../alone.csv: expected a file below in"),
    ("what://x/a.csv", "o.csv", "what://x/a.csv: Protocol not known: what"),
    ("memory://none/a.csv", "o.csv", "memory://none/a.csv: no such file"),
]


@pytest.mark.parametrize(("source", "target", "message"), REFUSED)
@pytest.mark.usefixtures("folder")
def test_what_does_not_fit(source: str, target: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        plan(source, target)
    assert str(caught.value).startswith(message)


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    for target, kind in (("-", "csv"), ("o.csv.gz", None), ("o.csv.gz", "csv")):
        (task,) = plan("-", target, kind)
        assert (task.source.kind, task.source.packing, task.target) == ("csv", "", target)
        assert task.source.name == "standard input"
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(DataError, match=r"^standard output: it is closed$"):
        plan("-", "-", "csv")


def test_a_folder_that_cannot_be_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"^in/sub: cannot be listed \(Permission denied\)$"):
        plan("in", "o")


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    for name in ("a.csv", "sub/b.csv.gz", "notes.txt"):
        filesystem.pipe(f"/x/{name}", b"x")
    yield filesystem
    filesystem.store.clear()


def test_urls(memory: Any) -> None:
    assert pairs("memory://x/a.csv", "o.csv") == [("memory://x/a.csv", "o.csv")]
    both = [("memory:///x/a.csv", "o/a.csv"), ("memory:///x/sub/b.csv.gz", "o/sub/b.csv.gz")]
    assert pairs("memory://x", "o") == both
    assert pairs("memory://x/*.csv", "o") == both[:1]
    assert pairs("memory://x", "memory://y/") == [(a, f"memory://y/{b[2:]}") for a, b in both]
    before = plan("memory://x/a.csv", "o.csv")[0].source.stamp
    assert plan("memory://x/a.csv", "o.csv")[0].source.stamp == before
    memory.pipe("/x/a.csv", b"xy")
    assert plan("memory://x/a.csv", "o.csv")[0].source.stamp != before
    with pytest.raises(DataError, match=r"^memory://x/\*\.jsonl: no file ending in"):
        plan("memory://x/*.jsonl", "o")
    with pytest.raises(DataError, match="expected a folder outside"):
        plan("memory://x", "memory://x/out")
