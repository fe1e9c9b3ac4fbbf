"""Cells of 100 MB: told in one line or put aside, in bounded memory."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import zstandard

from tests.hostile_files import check_error, visible
from zooter_lite.files.records import MAX_RECORD, SHOWN

Route = Callable[..., tuple[int, str, float]]
ROOT = Path(__file__).resolve().parent.parent
SIZE = 100 * 2**20
PART = b"x" * 2**20
BOUND = 420  # MiB over the router alone; a cell in memory as text would take 100 or 400
PEAK = """
import re, sys
from zooter_lite.bulk.options import Options
from zooter_lite.cli import run
from zooter_lite.route import main
code = run(Options, main, "route", "")
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
sys.exit(code)
"""
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read in /proc"
)


def fill(stream: IO[bytes], part: bytes = PART) -> None:
    for _ in range(SIZE // len(part)):
        stream.write(part)


def quoted_lines(stream: IO[bytes]) -> None:
    stream.write(b'query,n\none,1\n"')
    fill(stream, (b"x" * 1023 + b"\n") * 2**10)
    stream.write(b'",2\nthree,3\n')


def json_cell(stream: IO[bytes]) -> None:
    stream.write(b'{"query": "one"}\n{"query": "')
    fill(stream)
    stream.write(b'"}\n{"query": "three"}\n')


def never_closed(stream: IO[bytes]) -> None:
    stream.write(b'query,n\none,1\n"')
    fill(stream, (b"x" * 1021 + b",1\n") * 2**10)


def header(stream: IO[bytes]) -> None:
    fill(stream)


CASES: dict[str, tuple[str, Callable[[IO[bytes]], None], int]] = {
    "quoted, of many lines": ("csv", quoted_lines, 2),
    "JSON": ("jsonl", json_cell, 2),
    "quotes never closed": ("csv", never_closed, 1),
    "header": ("csv", header, 0),
}


@pytest.fixture(scope="module")
def route(toy: Path) -> Route:
    def call(source: Path, target: Path, *args: str) -> tuple[int, str, float]:
        """Return exit code, standard error, and the peak of the process in MiB."""
        files = ["--router", toy, "--input", source, "--output", target, "--workers", "1", *args]
        command = [sys.executable, "-c", PEAK, *map(str, files)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stderr, int(done.stdout) / 1024

    return call


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, route: Route) -> float:
    """Return the peak of a run on a small file in MiB."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "in.csv").write_text("query\none\n")
    code, err, peak = route(folder / "in.csv", folder / "out.csv")
    assert code == 0, err
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_cell_of_100_megabytes(tmp_path: Path, route: Route, usual: float, name: str) -> None:
    kind, write, rows = CASES[name]
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    with source.open("wb") as stream:
        write(stream)
    code, err, peak = route(source, target)
    assert peak < usual + BOUND
    if not rows:
        check_error(code, err, f"{source}, line 1: a header of {SIZE} bytes")
        assert visible(tmp_path) == [source.name]
        return
    line = 2 if kind == "jsonl" else 3
    check_error(code, err, f"{source}, line {line}: a row of 1048")
    assert f"bytes; expected at most {MAX_RECORD}\n" in err
    assert visible(tmp_path) == [source.name]
    code, err, peak = route(source, target, "--on-error", "keep", "--force")
    assert code == 0, err
    assert peak < usual + BOUND
    assert [bool(expert) for expert in read(target)] == [True, False, *[True] * (rows - 1)]
    (reject,) = (tmp_path / f"{target.name}.rejects.jsonl").read_text().splitlines()
    told = json.loads(reject)
    assert told["line"] == line
    assert SIZE <= told["bytes"] <= SIZE + 20
    assert len(told["text"]) == SHOWN


def read(path: Path) -> list[str | None]:
    with path.open(newline="") as stream:
        if path.suffix == ".csv":
            return [row["expert"] for row in csv.DictReader(stream)]
        return [json.loads(line)["expert"] for line in stream]


@pytest.mark.slow
def test_a_few_kilobytes_that_unpack_to_gigabytes(
    tmp_path: Path, route: Route, usual: float
) -> None:
    source, target = tmp_path / "in.csv.zst", tmp_path / "out.csv.zst"
    source.write_bytes(zstandard.compress(b"query,n\n") + zstandard.compress(bytes(2**28)) * 4)
    code, err, peak = route(source, target, "--on-error", "skip")
    assert code == 0, err
    assert peak < usual + BOUND
    assert json.loads((tmp_path / "out.csv.zst.rejects.jsonl").read_text())["bytes"] == 2**30


def test_memory_does_not_grow_with_the_file(tmp_path: Path, route: Route, usual: float) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w") as stream:
        stream.write("query,pad\n")
        stream.writelines(
            f"{'' if i % 20 else 'one two'},{'x' * 8000} {i}\n" for i in range(10_000)
        )
    code, err, peak = route(source, target)
    assert code == 0
    assert err.startswith("500 rows routed")
    assert target.stat().st_size > source.stat().st_size
    assert peak < usual + 50  # MiB; the file has 76
