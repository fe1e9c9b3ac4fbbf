"""Odd and broken Parquet: every value kept and every prompt routed, or one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Decide
from tests.hostile_files import check_error, visible
from tests.hostile_parquet import sound, unsound, written

Route = Callable[..., tuple[int, str]]
SOUND = sound()


@pytest.mark.parametrize("name", SOUND)
def test_every_value_and_type_is_kept(
    tmp_path: Path, route_toy: Route, decide: Decide, name: str
) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    source.write_bytes(SOUND[name])
    code, err = route_toy(source, target, "--block", 1)
    assert code == 0, err
    with pq.ParquetFile(source) as before, pq.ParquetFile(target) as after:
        old, new = before.read(), after.read()
    assert new.column_names == [*old.column_names, "expert", "probability"]
    assert new.schema.types == [*old.schema.types, pa.string(), pa.float64()]
    kept = new.select(range(len(old.column_names)))
    assert kept.schema.metadata == old.schema.metadata
    for one, other in zip(kept.columns, old.columns, strict=True):
        assert as_values(one) == as_values(other)
    prompts = old["query"].to_pylist()
    added = zip(new["expert"].to_pylist(), new["probability"].to_pylist(), strict=True)
    assert [list(row) for row in added] == [decide(prompt) for prompt in prompts]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out.parquet"]


def as_values(column: pa.ChunkedArray) -> str:
    """Return the values as text: NaN is then equal to NaN, and text may be no UTF-8."""
    if column.type == pa.string():
        column = column.cast(pa.binary())
    return repr(column.to_pylist())


def test_prompts_that_are_no_text(tmp_path: Path, route_toy: Route) -> None:
    content, rows = unsound()
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    source.write_bytes(content)
    code, err = route_toy(source, target)
    check_error(code, err, f"{source}, row 2: the prompt is not UTF-8 (byte 0xff)\n")
    for path in tmp_path.glob(".out*"):
        path.unlink()
    for mode in ("skip", "keep"):
        code, err = route_toy(source, target, "--on-error", mode, "--block", 1, "--force")
        assert code == 0, err
        assert err.splitlines()[0].endswith("; 100 rows with an empty prompt left unrouted")
        assert f"rejected: {len(rows)} rows" in err
        with pq.ParquetFile(target) as file:
            found = file.read()
        numbers = [n for n in range(300) if mode == "keep" or n + 1 not in rows]
        assert found["n"].to_pylist() == numbers
        experts = found["expert"].to_pylist()
        assert [e is None for e in experts] == [n % 6 not in (0, 5) for n in numbers]
        lines = (tmp_path / "out.parquet.rejects.jsonl").read_text().splitlines()
        rejects = [json.loads(line) for line in lines]
        assert [reject["row"] for reject in rejects] == rows
        assert [reject["text"] for reject in rejects[:2]] == ["\\xff", "caf\\xe9"]


def test_a_row_group_that_promises_more_rows_than_it_has(tmp_path: Path, route_toy: Route) -> None:
    whole = written(pa.table({"query": ["one"] * 100}), compression="none")
    promised = whole.replace(b"\x16\xc8\x01", b"\x16\xd0\x0f")  # zigzag of 100, and of 1000
    assert promised != whole
    (tmp_path / "in.parquet").write_bytes(promised)
    code, err = route_toy(tmp_path / "in.parquet", tmp_path / "out.parquet")
    check_error(code, err, f"{tmp_path / 'in.parquet'}: not a readable Parquet file (")
    assert visible(tmp_path) == ["in.parquet"]
