"""Reward tables on disk and in frames: the same contents from every form, refusals."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
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
from tests.helpers import table
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.table import RewardTable, arrow, as_table, read_table, write_table
from zooter_lite.table.columns import ArrowTexts

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


def save_jsonl(folder: Path) -> Path:
    sparse = [{name: cell for name, cell in row.items() if cell is not None} for row in ROWS]
    first = {"query_id": "q-1", "reward:small": sparse[0].pop("reward:small")} | sparse[0]
    (folder / "t.jsonl").write_text(as_jsonl([first, *sparse[1:]]))
    return folder / "t.jsonl"


def save_parquet(folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "t.parquet")
    return folder / "t.parquet"


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


def save_data_folder(folder: Path) -> Path:
    (folder / "mine").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "mine" / "test.parquet")
    return folder / "mine"


SAVES = [save_csv, save_jsonl, save_parquet, save_dataset, save_dataset_dict, save_data_folder]


@pytest.mark.parametrize("save", SAVES)
def test_every_format_reads_to_the_same_table(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    assert_same(read_table(str(save(tmp_path))), EXPECTED)


def as_pandas() -> Any:
    frame = pandas.DataFrame(ROWS, index=[7, 7]).assign(unknown=[object(), 1])
    return frame.astype({"subset": "category", "query": "string"})


FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": as_pandas,
    "polars": lambda: pytest.importorskip("polars").DataFrame(ROWS),
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


def test_parts_with_whole_and_broken_numbers() -> None:
    whole = datasets.Dataset.from_dict({"query": ["p"], "reward:a": [1], "reward:b": [0]})
    broken = datasets.Dataset.from_dict({"query": ["q"], "reward:a": [0.5], "reward:b": [2.5]})
    table = RewardTable.of(datasets.DatasetDict(train=whole, test=broken))
    assert table.rewards.tolist() == [[1.0, 0.0], [0.5, 2.5]]


PLAIN: dict[str, Any] = {"query": ["p", "q"], "reward:a": [1.0, 2.0], "reward:b": [3, 4]}


def test_a_frame_that_is_no_table() -> None:
    frame = pandas.DataFrame(PLAIN)
    assert RewardTable.of(frame).splits is None
    stream = datasets.Dataset.from_dict(PLAIN).to_iterable_dataset()
    for wrong, message in (
        (frame.assign(tags=[["a"], 3]), "row 2, column 'tags': expected a list of texts, found 3"),
        (frame.iloc[:, [0, 1, 2, 1]], "column 'reward:a' appears more than once"),
        (stream, "found IterableDataset; expected a pandas"),
    ):
        with pytest.raises(DataError, match=f"^mine[:,] {re.escape(message)}"):
            RewardTable.of(wrong, "mine")


def test_files_of_a_folder_give_the_splits(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(as_jsonl([without_split(ROWS[0])]))
    (tmp_path / "test.jsonl").write_text(as_jsonl([without_split(ROWS[0])] * 2))
    table = read_table(str(tmp_path))
    assert table.splits == ["train", "test", "test"]
    assert table.queries == [ROWS[0]["query"]] * 3


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
    costs = np.abs(matrix()) if draw(st.booleans()) else None
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


def test_names_that_hold_more_of_another_separator_read_back(tmp_path: Path) -> None:
    odd = replace(table([[0.5, 0.25]]), experts=["a", "|b|c|d|||"])
    write_table(odd, str(tmp_path / "odd.csv"))
    assert read_table(str(tmp_path / "odd.csv")).experts == odd.experts


def test_json_lines_keep_what_other_formats_cannot(tmp_path: Path) -> None:
    odd = read_table(str(save_jsonl(tmp_path)))
    odd.queries[:] = ["a lone \ud83d", "a\0b"]  # type: ignore[index]
    odd.tags[0][:] = ["a;b"]  # type: ignore[index]
    odd.responses[0][:] = ["", None]  # type: ignore[index]
    write_table(odd, str(tmp_path / "odd.jsonl.gz"))
    assert_same(read_table(str(tmp_path / "odd.jsonl.gz")), odd)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("t.csv", {"tags": [["x"], ["a;b"]]}, "{}: column 'tags' cannot be written (a text of"),
        ("t.csv", {"queries": ["a", "b\0"]}, "{}: row 2 cannot be written (CSV cannot hold a NUL"),
        ("t.csv", {"queries": ["a", "\ud83d"]}, "{}: row 2 cannot be written ('utf-8'"),
        ("t.parquet", {"queries": ["a", "\ud83d"]}, "{}: column 'query' cannot be written ("),
        ("t.txt", {}, "{}: unknown format; expected a name ending in .csv, .csv.gz, .tsv"),
        ("none/t.parquet", {}, "{}: cannot write ("),
    ],
)
def test_a_table_that_cannot_be_written(
    tmp_path: Path, name: str, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / name
    with pytest.raises(DataError, match=re.escape(message.format(path))):
        write_table(RewardTable(**(vars(EXPECTED) | change)), str(path))
    assert list(tmp_path.iterdir()) == []


def parquet(**changed: Any) -> bytes:
    stream = io.BytesIO()
    columns = PLAIN | {name.replace("__", ":"): cells for name, cells in changed.items()}
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


NOT_UTF8 = pa.array([b"caf\xe9", b"q"]).cast(pa.binary()).view(pa.string())
BROKEN: list[tuple[str, bytes, str]] = [
    ("t.csv", b"prompt,a\nx,1\n", "{}: no column 'query'; found 'prompt', 'a'"),
    ("t.csv", b'query,reward:a,reward:b\n"p\n\np",1,2\n\nq,,\n', "{}, line 6: no reward at all"),
    ("t.jsonl", b'\n{"query": "q", "reward:a": 1e400, "reward:b": 1}', "{}, line 2, column 'rew"),
    ("t.jsonl", b'{"query": "q", "reward:a": 1, "reward:b": 1, "tags": 5}', "{}, line 1, column "),
    ("t.parquet", b"", "{}: not a readable Parquet file ("),
    ("t.parquet", parquet()[:-30], "{}: not a readable Parquet file ("),
    ("t.parquet", parquet(query=["p", None]), "{}, row 2, column 'query': empty; expected text"),
    ("t.parquet", parquet(reward__a=[0, -np.inf]), "{}, row 2, column 'reward:a': -inf is not fi"),
    ("t.parquet", parquet(query=NOT_UTF8), "{}, column 'query': text that is not UTF-8"),
    ("t.txt", b"", "{}: unknown format; expected a name ending in .csv, "),
    ("a/t.csv", b"", "{}: No such file or directory"),
    ("a/t.parquet", b"", "{}: no such file"),
    ("a/none", b"", "{}: no such file or folder"),
    ("x" * 300, b"", "{}: File name too long"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_or_missing_table(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    with suppress(OSError):
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{re.escape(message.format(path))}") as caught:
        read_table(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "rewards", "tests/rewards"])
def test_a_mistyped_file_is_no_name_of_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(DataError, match=f"^{name}: no such file or folder$"):
        read_table(name)


def test_a_folder_or_hub_name_that_is_no_table(tmp_path: Path) -> None:
    for name in (str(tmp_path), "someone/rewards"):
        with pytest.raises(DataError, match=f"^{name}: no such file, folder or hub dataset .*$"):
            read_table(name)
    unfit = datasets.Dataset.from_dict(PLAIN | {"reward:a": ["x", "y"]})
    parts = datasets.DatasetDict(train=datasets.Dataset.from_dict(PLAIN), test=unfit)
    parts.save_to_disk(tmp_path / "unfit")
    with pytest.raises(DataError, match="unfit: the splits do not fit together"):
        read_table(str(tmp_path / "unfit"))
    next((tmp_path / "unfit" / "train").glob("*.arrow")).write_bytes(b"damaged")
    with pytest.raises(DataError, match="unfit: not a saved datasets folder"):
        read_table(str(tmp_path / "unfit"))


@pytest.mark.parametrize(("name", "package"), [("t.parquet", "pyarrow"), ("mine", "datasets")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    (tmp_path / "mine").mkdir()
    source = str(tmp_path / name)
    monkeypatch.setitem(sys.modules, package, None)
    expected = f"needs the package '{package}': pip install 'zooter-lite[fit]'"
    with pytest.raises(MissingPackageError, match=f"^{re.escape(source)}: .*{re.escape(expected)}"):
        read_table(source)


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
    assert mapped.take([1, 0]).take([1, 0, 1]).queries[1:] == [*plain.queries[::-1]]
    copied = list((tmp_path / "datasets cache").rglob("*.arrow"))
    assert bool(copied) == (save is save_parquet)


def test_a_large_table_with_an_unfit_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "TEXTS", 1)
    for query, message in (
        (["p", " "], "row 2, column 'query': empty; expected text"),
        (NOT_UTF8, "column 'query': text that is not UTF-8"),
    ):
        (tmp_path / "bad.parquet").write_bytes(parquet(query=query))
        with pytest.raises(DataError, match=message):
            read_table(str(tmp_path / "bad.parquet"))


@pytest.mark.parametrize("save", [save_csv, save_parquet])
def test_columns_are_left_out_on_request(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    path, whole = save(tmp_path), RewardTable.read(save(tmp_path))
    assert_same(RewardTable.read(path, responses=False), replace(whole, responses=None))
    assert_same(RewardTable.read(path, scores=False), replace(whole, scores={}))
    assert_same(as_table(path), replace(whole, responses=None, scores={}))


def test_a_name_that_begins_another_brings_that_one_alone(tmp_path: Path) -> None:
    row = {"query": "q", "reward:a": 1.0, "reward:b": 2.0, "response:b": "x"}
    pq.write_table(pa.Table.from_pylist([row | {"response:a.1": "y"}]), tmp_path / "t.parquet")
    assert read_table(str(tmp_path / "t.parquet"), responses=False).responses is None
