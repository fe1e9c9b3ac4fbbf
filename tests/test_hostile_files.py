"""Files that mean harm: one clear line, or every sound row routed and the others told."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import hostile_parquet
from tests.conftest import Decide
from tests.hostile_files import (
    Broken,
    Row,
    Text,
    brokens,
    check_error,
    texts,
    visible,
)

Route = Callable[..., tuple[int, str]]
MODES = ("fail", "skip", "keep")
TEXTS = list(texts())
BROKENS = [*brokens(), *hostile_parquet.refused()]


def parse(content: bytes, kind: str) -> list[Any]:
    csv.field_size_limit(2**31 - 1)
    if kind == "csv":
        return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    return [json.loads(line) for line in content.decode().split("\n") if line]


def as_text(cells: Sequence[object]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in cells]


def check_rows(text: Text, found: list[Any], mode: str, decide: Decide) -> None:
    """Every sound row is there, in order; the others only with `keep`, without an expert."""
    wanted = [row for row in text.rows if row.values is not None or (row.reason and mode == "keep")]
    if text.kind == "csv":
        header, *found = found
        assert header[-2:] == ["expert", "probability"]
    assert len(found) == len(wanted)
    for row, got in zip(wanted, found, strict=True):
        if text.kind == "csv":
            check_csv_row(row, got, len(header), decide)
        else:
            check_json_row(row, got, decide)


def check_csv_row(row: Row, got: list[str], width: int, decide: Decide) -> None:
    assert len(got) == width
    if row.reason:
        assert got[-2:] == ["", ""]
        return
    assert isinstance(row.values, list)
    assert got[:-2] == row.values
    assert got[-2:] == as_text(decide(row.values[1 if width > 3 else 0]))


def check_json_row(row: Row, got: dict[str, Any], decide: Decide) -> None:
    added = [got.pop("expert"), got.pop("probability")]
    if row.reason:
        assert added == [None, None]
        assert "query" in got
        return
    assert isinstance(row.values, dict)
    assert added == decide(row.values["query"])
    unread = {key for key, value in row.values.items() if value is None}  # too deep to compare
    assert got.keys() == row.values.keys()
    for key in got.keys() - unread:
        assert got[key] == row.values[key]


def check_rejects(text: Text, folder: Path, source: Path) -> None:
    path = folder / f"out.{text.kind}.rejects.jsonl"
    assert path.exists() == bool(text.bad)
    found = parse(path.read_bytes(), "jsonl") if text.bad else []
    assert len(found) == len(text.bad)
    for (line, row), reject in zip(text.bad, found, strict=True):
        assert reject["file"] == str(source)
        assert reject["line"] == line
        assert row.reason in reject["reason"]
        assert reject["bytes"] == len(row.raw)
        assert reject["text"] == row.raw[: 2**16].decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("text", TEXTS, ids=[text.name for text in TEXTS])
def test_rows_sound_and_unsound(
    tmp_path: Path, route_toy: Route, decide: Decide, text: Text
) -> None:
    source, target = tmp_path / f"in.{text.kind}", tmp_path / f"out.{text.kind}"
    source.write_bytes(text.content)
    done = ["in." + text.kind, "out." + text.kind]
    for mode in MODES:
        code, err = route_toy(source, target, "--block", 1, "--on-error", mode)
        if mode == "fail" and text.bad:
            line, row = text.bad[0]
            check_error(code, err, f"{source}, line {line}: ")
            assert row.reason in err
            assert visible(tmp_path) == done[:1]
            for path in tmp_path.glob(".out*"):
                path.unlink()
            continue
        assert code == 0, err
        check_rows(text, parse(target.read_bytes(), text.kind), mode, decide)
        check_rejects(text, tmp_path, source)
        left = [*done, f"{done[1]}.rejects.jsonl"] if text.bad else done
        assert sorted(path.name for path in tmp_path.iterdir()) == left
        for name in left[1:]:
            (tmp_path / name).unlink()


@pytest.mark.parametrize("broken", BROKENS, ids=[broken.name for broken in BROKENS])
def test_files_that_end_the_run(tmp_path: Path, route_toy: Route, broken: Broken) -> None:
    source, target = tmp_path / broken.file, tmp_path / broken.file.replace("in", "out")
    source.write_bytes(broken.content)
    code, err = route_toy(source, target, "--block", 1, "--on-error", "skip")
    check_error(code, err, str(source))
    assert broken.message in err
    assert visible(tmp_path) == [broken.file]
