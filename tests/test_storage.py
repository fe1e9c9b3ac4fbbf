"""Reward tables on disk and in frames: the same contents from every form, refusals."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.table import RewardTable, arrow, as_table, read_table, table_name, write_table
from zooter_lite.table.columns import ArrowTexts, taken

NAN = float("nan")
SUFFIXES = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz", ".parquet")

ROWS: list[dict[str, Any]] = [
    {
        "query_id": "q-1",
        "query": 'one, "two"\nthree; é🙂',
        "subset": "maths",
        "split": "train",
        "tags": ["algebra", "two words"],
        "reward:small": 0.1,
        'reward:big, "best"': 1.0,
        "cost:small": None,
        'cost:big, "best"': 2e-07,
        "response:small": " x\r\ny ",
        'response:big, "best"': None,
        "score:judge:small": 0.25,
        'score:judge:big, "best"': None,
    },
    {
        "query_id": "q-2",
        "query": "  =1+1 ",
        "subset": None,
        "split": "odd one",
        "tags": [],
        "reward:small": None,
        'reward:big, "best"': -3.25,
        "cost:small": 5.0,
        'cost:big, "best"': None,
        "response:small": None,
        'response:big, "best"': "2",
        "score:judge:small": 1.0,
        'score:judge:big, "best"': 0.5,
    },
]
pandas: Any = importlib.import_module("pandas")  # which has no types

EXPECTED = RewardTable(
    queries=['one, "two"\nthree; é🙂', "  =1+1 "],
    experts=["small", 'big, "best"'],
    rewards=np.array([[0.1, 1.0], [NAN, -3.25]], dtype=np.float32),
    subsets=["maths", "(none)"],
    splits=["train", "odd one"],
    tags=[["algebra", "two words"], []],
    costs=np.array([[NAN, 2e-07], [5.0, NAN]], dtype=np.float32),
    responses=[[" x\r\ny ", None], [None, "2"]],
    query_ids=["q-1", "q-2"],
    scores={"judge": np.array([[0.25, NAN], [1.0, 0.5]])},
)


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `load_dataset` caches out of the home folder, and its bars off the screen."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets cache")
    datasets.disable_progress_bars()


def assert_same(found: RewardTable, expected: RewardTable) -> None:
    for name in ("queries", "experts", "subsets", "splits", "tags", "responses", "query_ids"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("rewards", "costs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert found.rewards.dtype == np.float32
    assert list(found.scores) == list(expected.scores)
    for name, values in expected.scores.items():
        np.testing.assert_allclose(found.scores[name], values, rtol=1e-6)


def as_csv(rows: list[dict[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows([row | {"tags": "; ".join(row["tags"])} for row in rows])
    return stream.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def save_csv(folder: Path) -> Path:
    (folder / "t.csv").write_bytes(as_csv(ROWS).encode("utf-8-sig"))
    return folder / "t.csv"


def save_csv_gz(folder: Path) -> Path:
    (folder / "T.CSV.GZ").write_bytes(gzip.compress(as_csv(ROWS).encode()))
    return folder / "T.CSV.GZ"


def save_jsonl(folder: Path) -> Path:
    sparse = [{name: cell for name, cell in row.items() if cell is not None} for row in ROWS]
    first = {"query_id": "q-1", "reward:small": sparse[0].pop("reward:small")} | sparse[0]
    (folder / "t.jsonl").write_text(as_jsonl([first, *sparse[1:]]))
    return folder / "t.jsonl"


def save_parquet(folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "t.parquet")
    return folder / "t.parquet"


def save_hive_parquet(folder: Path) -> Path:
    (folder / "split=none").mkdir()  # not a column: the file has one
    return save_parquet(folder / "split=none")


def save_dataset(folder: Path) -> Path:
    datasets.Dataset.from_list(ROWS).save_to_disk(folder / "saved")
    return folder / "saved"


def without_split(row: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in row.items() if name != "split"}


def save_dataset_dict(folder: Path) -> Path:
    # the first part has the split as its name, the second as its column
    parts = {"train": datasets.Dataset.from_list([without_split(ROWS[0])])}
    parts["test"] = datasets.Dataset.from_list([ROWS[1]])
    datasets.DatasetDict(parts).save_to_disk(folder / "saved")
    return folder / "saved"


def save_shuffled_dataset(folder: Path) -> Path:
    datasets.Dataset.from_list(ROWS[::-1]).select([1, 0]).save_to_disk(folder / "saved")
    return folder / "saved"


def save_data_folder(folder: Path) -> Path:
    (folder / "mine").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "mine" / "test.parquet")
    return folder / "mine"


@pytest.mark.parametrize(
    "save",
    [
        save_csv,
        save_csv_gz,
        save_jsonl,
        save_parquet,
        save_hive_parquet,
        save_dataset,
        save_dataset_dict,
        save_shuffled_dataset,
        save_data_folder,
    ],
)
def test_every_format_reads_to_the_same_table(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    assert_same(read_table(str(save(tmp_path))), EXPECTED)


def as_pandas() -> Any:
    frame = pandas.DataFrame(ROWS, index=[7, 7]).assign(unknown=[object(), 1])
    return frame.astype({"subset": "category", "query": "string"})


def as_polars() -> Any:
    return pytest.importorskip("polars").DataFrame(ROWS)


class Stream:
    """A frame of a library that nobody here knows, such as DuckDB's or polars'."""

    def __init__(self) -> None:
        kinds = {"query": pa.large_string(), "tags": pa.large_list(pa.string_view())}
        table = pa.Table.from_pylist(ROWS)
        for name, kind in kinds.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, table.column(name).cast(kind))
        self._table = table

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return self._table.__arrow_c_stream__(schema)


FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": as_pandas,
    "polars": as_polars,
    "a stream": Stream,
    "Arrow": lambda: pa.Table.from_pylist(ROWS),
    "Dataset": lambda: datasets.Dataset.from_list(ROWS[::-1]).select([1, 0]),
    "DatasetDict": lambda: datasets.DatasetDict(
        train=datasets.Dataset.from_list([without_split(ROWS[0])]),
        other=datasets.Dataset.from_list([ROWS[1]]),
    ),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_a_frame_reads_to_the_same_table(make: Callable[[], Any]) -> None:
    assert_same(RewardTable.of(make()), EXPECTED)


def test_a_frame_without_splits_stays_without() -> None:
    assert RewardTable.of(pandas.DataFrame(map(without_split, ROWS))).splits is None


def wrong_pandas(**changed: Any) -> Any:
    columns = {"query": ["p", "q"], "reward:a": [1.0, 2.0], "reward:b": [3, 4]}
    return pandas.DataFrame(columns | {k.replace("__", ":"): cells for k, cells in changed.items()})


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (wrong_pandas(reward__a=[1, "n/a"]), "mine, row 2, column 'reward:a': 'n/a' is not a numb"),
        (wrong_pandas(reward__a=["1", "x"]), "mine, row 2, column 'reward:a': 'x' is not a number"),
        (wrong_pandas(reward__b=[1, np.inf]), "mine, row 2, column 'reward:b': inf is not finite"),
        (wrong_pandas(query=["p", None]), "mine, row 2, column 'query': empty; expected text"),
        (
            wrong_pandas(tags=["a", 3]),
            "mine, row 2, column 'tags': expected a list of texts, found",
        ),
        (
            wrong_pandas(tags=[["a"], 3]),
            "mine, row 2, column 'tags': expected a list of texts, fou",
        ),
        (wrong_pandas().iloc[:0], "mine: no rows; expected one row per query"),
        (wrong_pandas().iloc[:, [0, 1, 2, 1]], "mine: column 'reward:a' appears more than once"),
        (
            wrong_pandas().rename(columns={"query": "q"}),
            "mine: no column 'query'; found 'q', 'rewa",
        ),
        (pa.table({"query": ["p"]}), "mine: expected at least two columns named 'reward:<expert>'"),
        (
            datasets.Dataset.from_dict({"a": [1]}).to_iterable_dataset(),
            "mine: found IterableDataset; expec",
        ),
        ([{"query": "p"}], "mine: found list; expected a pandas or polars frame, a datasets.Datas"),
        ({"query": ["p"]}, "mine: found dict; expected a pandas or polars frame"),
    ],
)
def test_a_frame_that_is_no_table(frame: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        RewardTable.of(frame, "mine")


def test_files_of_a_folder_give_the_splits(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(as_jsonl([without_split(ROWS[0])]))
    (tmp_path / "test.jsonl").write_text(as_jsonl([without_split(ROWS[0])] * 2))
    table = read_table(str(tmp_path))
    assert table.splits == ["train", "test", "test"]
    assert table.queries == [ROWS[0]["query"]] * 3


def test_parts_of_a_dataset_with_whole_and_broken_numbers(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_dict({"query": ["p"], "reward:a": [1], "reward:b": [0]})
    broken = datasets.Dataset.from_dict({"query": ["q"], "reward:a": [0.5], "reward:b": [2.5]})
    datasets.DatasetDict(train=whole, test=broken).save_to_disk(tmp_path / "saved")
    assert read_table(str(tmp_path / "saved")).rewards.tolist() == [[1.0, 0.0], [0.5, 2.5]]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float16(), pa.float32(), pa.string()])
def test_a_parquet_column_of_any_number_type(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "t.parquet"
    rewards = pa.array([1, None, 3]).cast(kind)
    columns = {"query_id": pa.array([7, None, 9]), "query": ["p", "q", "r"]}
    pq.write_table(pa.table(columns | {"reward:a": rewards, "reward:b": [0.5, 1.5, 2.5]}), path)
    table = read_table(str(path))
    np.testing.assert_array_equal(table.rewards[:, 0], [1, NAN, 3])
    assert table.query_ids == ["7", "1", "9"]


text = st.text(
    st.sampled_from("\",;'\r\n\t \ufeff\u2028é🙂")
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)
word = text.filter(lambda value: bool(value.strip()))
tag = text.map(lambda value: value.replace(";", "").strip()).filter(bool)
number = st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw: st.DrawFn) -> RewardTable:
    experts = draw(st.lists(text.filter(bool), min_size=2, max_size=3, unique=True))
    n = draw(st.integers(1, 3))

    def some(cell: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(cell, min_size=n, max_size=n))

    def matrix() -> Any:
        rows = some(st.tuples(*[number] * len(experts)))
        return np.array([[NAN if x is None else x for x in row] for row in rows], dtype=np.float32)

    rewards = matrix()
    rewards[np.isnan(rewards).all(axis=1), 0] = 0.5
    costs = matrix() if draw(st.booleans()) else None
    optional = st.lists(st.none() | text.filter(bool), min_size=len(experts), max_size=len(experts))
    return RewardTable(
        queries=some(word),
        experts=experts,
        rewards=rewards,
        subsets=some(word),
        splits=some(word) if draw(st.booleans()) else None,
        tags=some(st.lists(tag, max_size=3, unique=True)) if draw(st.booleans()) else None,
        costs=costs,
        responses=some(optional) if draw(st.booleans()) else None,
        query_ids=[f"{row} {name}" for row, name in enumerate(some(text))],
        scores={"judge": matrix().astype(np.float64)} if draw(st.booleans()) else {},
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=30, deadline=None)
@given(table=tables())
def test_a_table_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, table: RewardTable
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round trip{suffix}"
    write_table(table, str(path))
    written = path.read_bytes()
    found = read_table(str(path))
    assert_same(found, table)
    write_table(found, str(path))
    assert path.read_bytes() == written


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_json_lines_keep_what_other_formats_cannot(tmp_path: Path, suffix: str) -> None:
    odd = read_table(str(save_jsonl(tmp_path)))
    odd.queries[:] = ["a lone \ud83d", "a\0b"]  # type: ignore[index]
    odd.tags[0][:] = ["a;b"]  # type: ignore[index]
    odd.responses[0][:] = ["", None]  # type: ignore[index]
    write_table(odd, str(tmp_path / f"odd{suffix}"))
    assert_same(read_table(str(tmp_path / f"odd{suffix}")), odd)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("t.csv", {"tags": [["x"], ["a;b"]]}, "{}: row 2 cannot be written (a text of a list hol"),
        ("t.csv", {"queries": ["a", "b\0"]}, "{}: row 2 cannot be written (CSV cannot hold a NUL"),
        ("t.csv", {"queries": ["a", "\ud83d"]}, "{}: row 2 cannot be written ('utf-8'"),
        ("t.parquet", {"queries": ["a", "\ud83d"]}, "{}: column 'query' cannot be written ("),
        ("t.tsv", {}, "{}: unknown format; expected a name ending in .csv, .csv.gz, .jsonl"),
        ("t.parquet.gz", {}, "{}: unknown format; expected a name ending in .csv"),
        ("none/t.csv", {}, "{}: cannot write (No such file or directory)"),
        ("none/t.parquet", {}, "{}: cannot write ("),
    ],
)
def test_a_table_that_cannot_be_written(
    tmp_path: Path, name: str, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / name
    table = RewardTable(**(vars(EXPECTED) | change))
    with pytest.raises(DataError, match=re.escape(message.format(path))):
        write_table(table, str(path))
    assert list(tmp_path.iterdir()) == []


HEADER = b"query,reward:a,reward:b\n"
PARQUET: dict[str, Any] = {"query": ["p", "q"], "reward:a": [1.0, 2.0], "reward:b": [3.0, 4.0]}


def parquet(**changed: Any) -> bytes:
    columns = PARQUET | {name.replace("__", ":"): cells for name, cells in changed.items()}
    return packed(pa.table(columns))


def packed(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def line(**changed: Any) -> bytes:
    row = {"query": "q", "reward:a": 1, "reward:b": 2}
    row |= {name.replace("__", ":"): cell for name, cell in changed.items()}
    return b"\n" + json.dumps(row).encode() + b"\n"


NOT_UTF8 = pa.array([b"caf\xe9", b"q"]).cast(pa.binary()).view(pa.string())
TWICE = pa.table([["q"], [1.0], [2.0], [3.0]], names=["query", "reward:a", "reward:b", "reward:a"])
BROKEN: list[tuple[str, str, bytes, str]] = [
    ("header only", "t.csv", HEADER, "{}: no rows; expected one row per query"),
    ("other columns", "t.csv", b"prompt,a\nx,1\n", "{}: no column 'query'; found 'prompt', 'a'"),
    ("no reward", "t.csv", HEADER + b'"p\n\np",1,2\n\nq,,\n', "{}, line 6: no reward at all; exp"),
    ("n/a", "t.csv", HEADER + b"q,1,n/a\n", "{}, line 2, column 'reward:b': 'n/a' is not a numb"),
    ("no query", "t.jsonl", line() + b'{"reward:a": 1}', "{}, line 3, column 'query': empty; expe"),
    ("1e400", "t.jsonl", line().replace(b"1", b"1e400"), "{}, line 2, column 'reward:a': inf is "),
    ("one id", "t.jsonl", line(query_id=1) + line(query="p", query_id=1), "{}, line 4: query_id '"),
    ("number as tags", "t.jsonl", line(tags=5), "{}, line 2, column 'tags': expected a list of t"),
    ("no byte", "t.parquet", b"", "{}: the file is empty; expected a Parquet file"),
    ("cut", "t.parquet", parquet()[:-30], "{}: not a readable Parquet file ("),
    ("CSV", "t.parquet", HEADER + b"q,1,2\n", "{}: not a readable Parquet file ("),
    ("twice", "t.parquet", packed(TWICE), "{}: column 'reward:a' appears more than once"),
    ("no rows", "t.parquet", packed(pa.table(PARQUET).slice(2)), "{}: no rows; expected one row"),
    ("null query", "t.parquet", parquet(query=["p", None]), "{}, row 2, column 'query': empty; ex"),
    ("infinity", "t.parquet", parquet(reward__a=[0, -np.inf]), "{}, row 2, column 'reward:a': -in"),
    ("text", "t.parquet", parquet(reward__b=["1", "nan"]), "{}, row 2, column 'reward:b': 'nan' i"),
    ("true", "t.parquet", parquet(reward__b=[True, False]), "row 1, column 'reward:b': True is no"),
    ("number as tags", "t.parquet", parquet(tags=[[1], []]), "{}, row 1, column 'tags': expected"),
    ("no reward", "t.parquet", parquet(reward__a=[1, NAN], reward__b=[1, None]), "{}, row 2: no r"),
    ("latin-1", "t.parquet", parquet(query=NOT_UTF8), "{}, column 'query': text that is not UTF-8"),
    ("unknown suffix", "t.tsv", HEADER, "{}: unknown format; expected a name ending in .csv, "),
]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [case[1:] for case in BROKEN],
    ids=[f"{what} in {name}" for what, name, _, _ in BROKEN],
)
def test_a_broken_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message.format(path))) as caught:
        read_table(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def save_nothing(_: Path) -> None:
    """Leave an empty folder."""


def save_unfit_parts(folder: Path) -> None:
    parts = {
        "train": datasets.Dataset.from_dict(PARQUET),
        "test": datasets.Dataset.from_dict(PARQUET | {"reward:a": ["x", "y"]}),
    }
    datasets.DatasetDict(parts).save_to_disk(folder)


def save_damaged(folder: Path) -> None:
    datasets.Dataset.from_dict(PARQUET).save_to_disk(folder)
    next(folder.glob("*.arrow")).write_bytes(b"damaged")


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (save_nothing, "{}: no such file, folder or hub dataset ("),
        (save_unfit_parts, "{}: the splits do not fit together ("),
        (save_damaged, "{}: not a saved datasets folder ("),
    ],
)
def test_a_folder_that_is_no_table(
    tmp_path: Path, save: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    save(folder)
    with pytest.raises(DataError, match=re.escape(message.format(folder))):
        read_table(str(folder))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}/none.csv", "{}/none.csv: No such file or directory"),
        ("{}/none.parquet", "{}/none.parquet: no such file"),
        ("{}/none", "{}/none: no such file or folder"),
        ("./none", "./none: no such file or folder"),
        ("a b", "a b: no such file or folder"),
        ("rewards", "rewards: no such file or folder"),  # a bare word is no name of the hub
        ("tests/rewards", "tests/rewards: no such file or folder"),  # nor a path in a folder here
        ("x" * 300, "x" * 300 + ": File name too long"),
    ],
)
def test_a_missing_file(tmp_path: Path, source: str, message: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(DataError, match=f"^{re.escape(message.format(tmp_path))}$"):
        RewardTable.read(source.format(tmp_path))


def test_a_hub_name_without_network_is_one_clean_error() -> None:
    expected = "^someone/rewards: no such file, folder or hub dataset .*$"
    with pytest.raises(DataError, match=expected) as caught:
        RewardTable.read("someone/rewards")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "package"), [("t.parquet", "pyarrow"), ("mine", "datasets"), ("a/hub", "datasets")]
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    (tmp_path / "mine").mkdir()
    source = name if "/" in name else str(tmp_path / name)
    monkeypatch.setitem(sys.modules, package, None)
    expected = f"needs the package '{package}': pip install 'zooter-lite[fit]'"
    with pytest.raises(MissingPackageError, match=f"^{re.escape(source)}: .*{re.escape(expected)}"):
        read_table(source)


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: RewardTable.of(wrong_pandas()),
        lambda folder: write_table(EXPECTED, str(folder / "t.parquet")),
    ],
)
def test_without_pyarrow_there_are_no_frames_and_no_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Path], object]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match="needs the package 'pyarrow': pip install"):
        call(tmp_path)


@pytest.mark.parametrize(
    ("source", "name"),
    [("tables/mine.csv.gz", "mine"), ("A.PARQUET", "A"), ("saved", "saved"), ("o/name", "name")],
)
def test_the_name_of_a_table(source: str, name: str) -> None:
    assert table_name(source) == name


@pytest.mark.parametrize("save", [save_parquet, save_dataset, save_dataset_dict])
def test_a_large_table_stays_on_disk_and_reads_the_same(
    tmp_path: Path, save: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(save(tmp_path))
    plain = read_table(path)
    monkeypatch.setattr(arrow, "IN_MEMORY", 1)
    monkeypatch.setattr(arrow, "TEXTS", 1)
    mapped = read_table(path)
    assert isinstance(mapped.queries, ArrowTexts)
    assert_same(replace(mapped, queries=list(mapped.queries)), plain)
    assert mapped.take([1, 0]).queries[0] == plain.queries[1]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])  # pandas writes large ones
def test_a_large_table_is_checked_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: pa.DataType
) -> None:
    monkeypatch.setattr(arrow, "IN_MEMORY", 1)
    monkeypatch.setattr(arrow, "TEXTS", 1)
    for name, query in (("good", "q"), ("bad", " ")):
        columns = PARQUET | {"query": pa.array(["p", query], kind)}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    assert isinstance(read_table(tmp_path / "good.parquet").queries, ArrowTexts)
    with pytest.raises(DataError, match=r"row 2, column 'query': empty; expected text"):
        read_table(tmp_path / "bad.parquet")


def test_texts_of_a_column_read_as_the_list() -> None:
    words = ["a", "bb", "", "日本", "e\u0301", "f", "g"]
    texts = ArrowTexts(pa.chunked_array([words[:3], [], words[3:4], words[4:]], pa.string()))
    assert list(texts) == words
    assert [texts[i] for i in range(-7, 7)] == words * 2
    assert texts[1:6:2] == words[1:6:2]
    for place in (7, -8):
        with pytest.raises(IndexError):
            texts[place]
    rows = np.array([6, 0, 3, 3])
    some = taken(texts, rows)
    again = taken(some, np.array([2, 0]))
    assert isinstance(again, ArrowTexts)
    assert (list(some), list(again)) == (["g", "a", "日本", "日本"], ["日本", "g"])
    assert taken(words, rows) == list(some)


@pytest.mark.parametrize("save", [save_csv, save_jsonl, save_parquet, save_dataset_dict])
def test_columns_are_left_out_on_request(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    path, whole = save(tmp_path), RewardTable.read(save(tmp_path))
    assert_same(RewardTable.read(path, responses=False), replace(whole, responses=None))
    assert_same(RewardTable.read(path, scores=False), replace(whole, scores={}))
    assert_same(as_table(path), replace(whole, responses=None, scores={}))


def test_a_name_that_begins_another_brings_that_one_alone(tmp_path: Path) -> None:
    row = {"query": "q", "reward:a": 1.0, "reward:b": 2.0, "response:b": "x"}
    pq.write_table(pa.Table.from_pylist([row | {"response:a.1": "y"}]), tmp_path / "t.parquet")
    found = read_table(str(tmp_path / "t.parquet"), responses=False)
    assert (found.experts, found.responses) == (["a", "b"], None)
