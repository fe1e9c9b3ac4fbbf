"""Files as spreadsheets, frames and other tools write them, in every command that reads one."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import json
import math
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Call
from tests.llm_server import serving
from zooter_lite import RewardTable
from zooter_lite.errors import DataError
from zooter_lite.table.keys import id_of
from zooter_lite.table.queries import read_queries

Route = Callable[..., tuple[int, str]]
WIDE = [
    ["query", "reward:a", "reward:b", "subset"],
    ["one, two", "0.75", "", "x;y"],
    ["three\nfour", "1", "-0.5", "z"],
]


def divided(rows: list[list[str]], separator: str, end: str = "\n") -> str:
    from io import StringIO

    stream = StringIO(newline="")
    csv.writer(stream, delimiter=separator, lineterminator=end).writerows(rows)
    return stream.getvalue()


GERMAN = [[cell.replace(".", ",") if n else cell for n, cell in enumerate(row)] for row in WIDE]
SURPLUS = [[*row, "", ""] for row in WIDE]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", divided(WIDE, ",").encode()),
        ("t.csv", divided(WIDE, ";", "\r\n").encode("utf-8-sig")),
        ("t.csv", divided(GERMAN, ";").encode()),
        ("t.csv", ("sep=;\r\n" + divided(WIDE, ";", "\r\n")).encode()),
        ("t.csv", ('"sep=|"\n' + divided(WIDE, "|")).encode("utf-8-sig")),
        ("t.csv", ("\n\nsep=,\n" + divided(WIDE, ",")).encode()),
        ("t.csv", divided(WIDE, "|").encode()),
        ("t.csv", divided(SURPLUS, ",").encode()),
        ("t.csv", divided(SURPLUS, ";").encode()),
        ("t.csv", divided([*SURPLUS, [""] * 6, [""] * 6], ",").encode()),
        ("t.tsv", divided(WIDE, "\t").encode()),
        ("t.tsv.gz", gzip.compress(divided(WIDE, "\t").encode(), mtime=0)),
    ],
)
def test_a_spreadsheets_csv_is_the_same_table(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    table = RewardTable.read(path)
    assert list(table.queries) == ["one, two", "three\nfour"]
    assert table.experts == ["a", "b"]
    np.testing.assert_array_equal(table.rewards, np.array([[0.75, np.nan], [1, -0.5]], np.float32))
    assert table.subsets == ["x;y", "z"]


def test_a_decimal_comma_between_commas_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('query,reward:a,reward:b\nx,"1,234",1\n')
    with pytest.raises(DataError, match="'1,234' is not a number"):
        RewardTable.read(tmp_path / "t.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("surplus", [0, 2])
def test_route_keeps_the_separator_of_a_file(
    tmp_path: Path, route_toy: Route, separator: str, told: bool, surplus: int
) -> None:
    rows = [["id", "query", "note"], ["1", "one two", 'a;"b",c|d'], ["2", "three\nfour", "x\ty"]]
    wide = [[*row, *[""] * surplus] for row in rows]
    head = f"sep={separator}\n" if told else ""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(head + divided(wide, separator), newline="")
    code, errors = route_toy(source, target, "--block", 1)
    assert code == 0, errors
    assert ("2 empty columns at the end are left out" in errors) == bool(surplus)
    text = target.read_text()
    assert text.startswith(head)
    out = list(csv.reader(text.removeprefix(head).splitlines(True), delimiter=separator))
    assert [row[:3] for row in out] == rows
    assert out[0][3:] == ["expert", "probability"]
    assert all(row[3] and 0 < float(row[4]) <= 1 for row in out[1:])


def test_a_tsv_is_written_with_tabs(tmp_path: Path, route_toy: Route, call: Call) -> None:
    (tmp_path / "in.csv").write_text('id;query\n1;"one, two"\n')
    code, errors = route_toy(tmp_path / "in.csv", tmp_path / "out.tsv.gz")
    assert code == 0, errors
    lines = gzip.decompress((tmp_path / "out.tsv.gz").read_bytes()).decode().splitlines()
    assert lines[0] == "id\tquery\texpert\tprobability"
    assert lines[1].startswith("1\tone, two\t")
    assert call("tag", "--queries", tmp_path / "in.csv", "--out", tmp_path / "t.tsv")[0] == 0
    assert read_queries(str(tmp_path / "t.tsv")).texts == ["one, two"]
    assert (tmp_path / "t.tsv").read_text().startswith("query_id\tquery\tid")


def test_a_cell_beyond_the_header_is_a_row_error(tmp_path: Path, route_toy: Route) -> None:
    (tmp_path / "in.csv").write_text("query,,\none,,\ntwo,x,\n")
    code, errors = route_toy(tmp_path / "in.csv", tmp_path / "out.csv")
    assert code == 2
    assert "in.csv, line 3: 3 cells, but the header has 1 columns" in errors


OBJECTS = [{"id": 1, "query": "one two"}, {"id": 2, "query": "three [four], {five}"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", json.dumps(OBJECTS)),
        ("p.jsonl", json.dumps(OBJECTS)),
        ("p.json", json.dumps(OBJECTS, indent=2)),
        ("p.jsonl", "\n" + json.dumps(OBJECTS, indent=1)),
        ("p.json", "".join(json.dumps(one) + "\n" for one in OBJECTS)),
        ("p.ndjson", "\ufeff" + "".join(json.dumps(one) + "\n" for one in OBJECTS)),
        ("p.json", "[\n" + ",\n".join(map(json.dumps, OBJECTS)) + ",\n]\n"),
        ("p.json.gz", json.dumps(OBJECTS)),
    ],
)
def test_json_of_every_shape_is_read_and_routed(
    tmp_path: Path, route_toy: Route, name: str, text: str
) -> None:
    source, target = tmp_path / name, tmp_path / "out.jsonl"
    source.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    queries = read_queries(str(source))
    assert queries.texts == [one["query"] for one in OBJECTS]
    assert [row["id"] for row in queries.rows] == [1, 2]
    code, errors = route_toy(source, target, "--block", 1)
    assert code == 0, errors
    routed = [json.loads(line) for line in target.read_text().splitlines()]
    assert [{key: row[key] for key in ("id", "query")} for row in routed] == OBJECTS
    assert all(row["expert"] for row in routed)


def test_a_kept_row_has_its_keys_in_their_order(tmp_path: Path, route_toy: Route) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(
        '{"id": 1, "query": 7, "z": 0}\n{"id": 2, "z": 0}\n{"id": 3, "query": "one"}\n'
    )
    code, errors = route_toy(source, target, "--on-error", "keep")
    assert code == 0, errors
    rows = [list(json.loads(line)) for line in target.read_text().splitlines()]
    assert rows == [
        ["id", "query", "z", "expert", "probability"],
        ["id", "z", "query", "expert", "probability"],
        ["id", "query", "expert", "probability"],
    ]


DAY = datetime.date(2024, 5, 1)
MOMENT = datetime.datetime(2024, 5, 1, 12, 30, tzinfo=datetime.timezone.utc)
UNIT = pa.field("n", pa.int8())
ARROW: dict[str, tuple[Any, Any]] = {  # the cells of a column, and the first as JSON; ... refuses
    "null": (pa.array([None, None]), None),
    "bool": (pa.array([True, None]), True),
    "int64": (pa.array([7, None]), 7),
    "uint64": (pa.array([2**63, None], pa.uint64()), 2**63),
    "halffloat": (pa.array([np.float16(0.5), None], pa.float16()), 0.5),
    "NaN": (pa.array([math.nan, math.inf]), None),
    "decimal": (pa.array([decimal.Decimal("0.10"), None]), "0.10"),
    "date32": (pa.array([DAY, None]), "2024-05-01"),
    "date64": (pa.array([DAY, None], pa.date64()), "2024-05-01"),
    "time": (pa.array([datetime.time(12, 30), None]), "12:30:00"),
    "timestamp": (pa.array([MOMENT, None]), "2024-05-01T12:30:00+00:00"),
    "nanoseconds": (
        pa.array([1_714_566_600_000_000_001, None], pa.timestamp("ns")),
        "2024-05-01T12:30:00.000000001",
    ),
    "far future": (pa.array([2**62, None], pa.timestamp("us")), "148108-07-06T14:00:27.387904"),
    "duration": (pa.array([datetime.timedelta(hours=1), None]), "1:00:00"),
    "string": (pa.array(["a;b", None]), "a;b"),
    "large_string": (pa.array(["a", None], pa.large_string()), "a"),
    "dictionary": (pa.array(["a", None]).dictionary_encode(), "a"),
    "list": (pa.array([["a", "b"], None]), ["a", "b"]),
    "list of numbers": (pa.array([[0.5, 1.5], None]), [0.5, 1.5]),
    "list of dates": (pa.array([[DAY], None]), ["2024-05-01"]),
    "fixed list": (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [1, 2]),
    "struct": (pa.array([{"n": 1}, None], pa.struct([UNIT])), {"n": 1}),
    "map": (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())), [["k", 1]]),
    "binary": (pa.array([b"\0\1", None]), ...),
    "list of binary": (pa.array([[b"\0"], None]), ...),
    "uuid": (pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()), str(uuid.UUID(int=1))),
}
NOT_IN = {"csv": ("struct", "map"), "parquet": ("uint64", "map"), "jsonl": ()}
NOT_IN["jsonl"] = tuple(kind for kind, (_, expected) in ARROW.items() if expected is ...)
NOT_IN["csv"] += NOT_IN["jsonl"]  # Parquet holds them, by way of Python's objects


def tagged(
    call: Call, folder: Path, ending: str, kinds: Sequence[str]
) -> tuple[int, Path, int, str]:
    """Let an LLM tag two queries with columns of these kinds: exit code, file, calls, errors."""
    source, target, pool = (folder / name for name in ("q.parquet", f"o.{ending}", "t.toml"))
    pq.write_table(pa.table({"query": ["one", "two"]} | {k: ARROW[k][0] for k in kinds}), source)
    with serving(lambda _: '["t"]') as server:
        pool.write_text(f'[[expert]]\nname = "t"\nbase_url = "{server.url}"\nmodel = "m"\n')
        words = ("--queries", source, "--out", target, "--tagger", pool, "--min-support", 1)
        code, _, errors = call("tag", *words)
        return code, target, len(server.requests), errors


@pytest.mark.parametrize("ending", NOT_IN)
def test_every_arrow_type_is_written(tmp_path: Path, call: Call, ending: str) -> None:
    kinds = [kind for kind in ARROW if kind not in NOT_IN[ending]]
    code, target, calls, _ = tagged(call, tmp_path, ending, kinds)
    assert (code, calls) == (0, 2)
    if ending == "parquet":
        assert pq.read_table(target).column_names == ["query_id", "query", *kinds, "tags"]
        return
    if ending == "jsonl":
        first, second = (json.loads(line) for line in target.read_text().splitlines())
        expected = {kind: ARROW[kind][1] for kind in kinds}
    else:
        first, second = csv.DictReader(target.read_text().splitlines())
        shown = {
            kind: ";".join(map(str, cell)) if isinstance(cell, list) else cell
            for kind, cell in ((kind, ARROW[kind][1]) for kind in kinds)
        }
        expected = {kind: "" if cell is None else str(cell) for kind, cell in shown.items()}
    assert {kind: first[kind] for kind in kinds} == expected
    assert all(second[kind] in (None, "") for kind in kinds)


@pytest.mark.parametrize(
    ("ending", "kind"), [(ending, kind) for ending, kinds in NOT_IN.items() for kind in kinds]
)
def test_what_a_format_cannot_hold_is_refused_before_it_is_paid(
    tmp_path: Path, call: Call, kind: str, ending: str
) -> None:
    code, _, calls, errors = tagged(call, tmp_path, ending, [kind])
    assert (code, calls) == (2, 0)
    (error,) = errors.splitlines()
    assert f"o.{ending}: column {kind!r} cannot be written (" in error


def id_files(folder: Path) -> list[Path]:
    frame = pd.DataFrame({"query_id": range(1, 13), "query": [f"What is {n}?" for n in range(12)]})
    frame["answer"] = "blue"
    frame.to_json(folder / "int.json", orient="records", indent=1)
    frame.astype({"query_id": float}).to_csv(folder / "float.csv", index=False)
    frame.astype({"query_id": float}).to_parquet(folder / "float.parquet")
    frame.astype({"query_id": str}).to_json(folder / "text.jsonl", orient="records", lines=True)
    return sorted(folder.iterdir())


def test_one_id_is_one_however_the_file_spells_it(tmp_path: Path, call: Call) -> None:
    (tmp_path / "files").mkdir()
    files = id_files(tmp_path / "files")
    with serving(lambda _: "blue") as server:
        one = f'[[expert]]\nname = "%s"\nbase_url = "{server.url}"\nmodel = "m"\n'
        (tmp_path / "experts.toml").write_text(one % "a" + one % "b")
        given = ("--experts", tmp_path / "experts.toml", "--out", tmp_path / "responses")
        for path in files:
            assert call("collect", "--queries", path, *given)[0] == 0
        assert len(server.requests) == 24
    for path in files:
        words = ("--responses", tmp_path / "responses", "--queries", path, "--scorer", "exact")
        code, printed, _ = call("score", *words, "--out", tmp_path / "t.csv")
        assert code == 0
        assert "exact: 24 of 24 responses scored" in printed, path


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (1, "1"), (1.0, "1"), ("1", "1"), ("1.0", "1"), ("1.00", "1"), (-2.0, "-2"), (0.0, "0"),
        ("01", "01"), ("01.0", "01.0"), ("1e3", "1e3"), (1e3, "1000"), (0.5, "0.5"),
        (2**60, str(2**60)), ("12345678901234567890", "12345678901234567890"), ("a.0", "a.0"),
        (decimal.Decimal("3.00"), "3"), (True, "True"), (" 1", " 1"), ("1.", "1."),
    ],
)  # fmt: skip
def test_how_ids_are_spelled(cell: object, name: str) -> None:
    assert id_of(cell) == name


LONG = [
    {"query": "one", "model": "a", "performance": 0.5, "cost": 1, "subset": "x", "note": "n"},
    {"query": "one", "model": "b", "performance": 1.0, "cost": 2, "subset": "x", "note": "n"},
    {"query": "two", "model": "b", "performance": 0.0, "cost": 3, "subset": "y", "note": "n"},
]


@pytest.mark.parametrize(
    "names", [{}, {"model": "model_name", "performance": "score"}, {"model": "m", "cost": "c"}]
)
def test_a_row_per_query_and_model_is_turned(tmp_path: Path, names: dict[str, str]) -> None:
    frame = pd.DataFrame(LONG).rename(columns=names)
    frame.to_csv(tmp_path / "long.csv", index=False)
    long = ["m", "performance"] if "cost" in names else []
    tables = [RewardTable.read(tmp_path / "long.csv", long=long)]
    tables += [] if long else [RewardTable.of(frame)]  # whose columns the frame renames
    for table in tables:
        assert (list(table.queries), table.experts) == (["one", "two"], ["a", "b"])
        assert table.subsets == ["x", "y"]
        np.testing.assert_array_equal(table.rewards, np.array([[0.5, 1], [np.nan, 0]], np.float32))
        costs = None if long else np.array([[1, 2], [np.nan, 3]], np.float32)
        np.testing.assert_array_equal(table.costs, costs)


def test_json_rows_may_lack_what_later_ones_have(tmp_path: Path) -> None:
    first = {"query": "one", "model": "a", "cost": 4}
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (first, *LONG[1:])))
    table = RewardTable.read(tmp_path / "t.jsonl")
    np.testing.assert_array_equal(table.rewards, np.array([[np.nan, 1], [np.nan, 0]], np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query,model,reward\nq,a,1\nq,a,0\n", "line 3: a second row of 'a' for one query"),
        ("query,model,reward\nq,a,1\nq,,0\n", "line 3, column 'model': empty; expected a model"),
        ("prompt,model,reward\nq,a,1\n", "no column 'query'"),
        ("query,model,reward\nq,a,x\nq,b,1\n", "'x' is not a number"),
        ("query,model,reward\nq,a,1\n", "at least two columns named 'reward:<expert>'"),
    ],
)
def test_a_long_table_that_cannot_be_turned(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        RewardTable.read(tmp_path / "t.csv")


def test_long_names_are_two(tmp_path: Path, call: Call) -> None:
    for command, more in (("fit", ()), ("evaluate", ("--router", tmp_path))):
        code, _, errors = call(command, "--data", tmp_path / "t.csv", "--long", "m", *more)
        assert code == 2
        assert "--long 'm': expected the names of two columns" in errors


def test_columns_that_nobody_uses_are_not_looked_at(tmp_path: Path, call: Call) -> None:
    odd = pa.array([b"caf\xe9", b"x"]).view(pa.string())
    far = pa.array([2**62, 1], pa.timestamp("us"))
    wide = {"query": ["one", "two"], "reward:a": [1.0, 0.0], "reward:b": [0.0, 1.0]}
    pq.write_table(pa.table(wide | {"note": odd, "seen": far}), tmp_path / "t.parquet")
    assert RewardTable.read(tmp_path / "t.parquet").experts == ["a", "b"]
    pool = tmp_path / "e.toml"
    pool.write_text('[[expert]]\nname = "a"\ncallable = "json:dumps"\n')
    words = ("--queries", tmp_path / "t.parquet", "--experts", pool, "--out", tmp_path / "o")
    assert call("collect", *words)[0] == 0


def test_a_separator_can_be_given(tmp_path: Path, route_toy: Route, call: Call) -> None:
    source, target = tmp_path / "t.csv", tmp_path / "t.jsonl"
    source.write_text("query^reward:a,b^reward:c\none^1^0\ntwo^0^1\n")
    table = RewardTable.read(source, separator="^")
    assert (list(table.queries), table.experts) == (["one", "two"], ["a,b", "c"])
    assert call("tag", "--queries", source, "--separator", "^", "--out", target)[0] == 0
    assert [json.loads(line)["query"] for line in target.read_text().splitlines()] == ["one", "two"]
    code, errors = route_toy(source, tmp_path / "out.csv", "--separator", "^")
    assert code == 0, errors
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("one^1^0^")
    for command, words in (
        ("fit", ("--data", source)),
        ("evaluate", ("--data", source, "--router", tmp_path)),
        ("tag", ("--queries", source, "--out", target)),
    ):
        code, _, errors = call(command, *words, "--separator", ";;")
        assert code == 2
        assert "--separator ';;': expected one character" in errors
    code, errors = route_toy(source, tmp_path / "x.csv", "--separator", ";;")
    assert code == 2
    assert "--separator ';;': expected one character" in errors
