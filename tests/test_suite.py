"""What is evaluated: suite files, splits and subsets, and every mistake named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import table
from zooter_lite.compare.suite import SplitChoice, TableChoice, chosen_splits, read_suite
from zooter_lite.errors import DataError
from zooter_lite.table import RewardTable, table_name

WHOLE = """
[[table]]
name = "first"
data = "tables/first.parquet"
router = "../routers/first"

[[table.splits]]
split = "test"

[[table.splits]]
split = "ood"
leave_out = ["javascript"]

[[table]]
name = "second"
data = "second.csv"
router = "/routers/second"
splits = ["test", { split = "shift", only = ["a"] }]

[[table]]
name = "third"
data = "third.csv"
router = "r"
also = ["s", "/t"]
"""


def write(folder: Path, text: str) -> str:
    (folder / "suite.toml").write_text(text, "utf-8")
    return str(folder / "suite.toml")


def test_a_suite_is_read_whole(tmp_path: Path) -> None:
    first, second, third = read_suite(write(tmp_path, WHOLE))
    assert first == TableChoice(
        "first",
        str(tmp_path / "tables" / "first.parquet"),
        str(tmp_path / ".." / "routers" / "first"),
        [SplitChoice("test"), SplitChoice("ood", leave_out=["javascript"])],
    )
    assert second.router == "/routers/second"
    assert second.splits == [SplitChoice("test"), SplitChoice("shift", only=["a"])]
    assert third.splits == []
    assert third.also == [str(tmp_path / "s"), "/t"]


GOOD = 'name = "t"\ndata = "t.csv"\nrouter = "r"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no [[table]]"),
        ('[[table]]\ndata = "t.csv"\nrouter = "r"', "table 1: no name"),
        ('[[table]]\nname = "t"\ndata = "d"\nrouter = 3', "table 't': router is of type int"),
        (f"[[table]]\n{GOOD}[[table]]\n{GOOD}", "two tables have the name 't'"),
        (f'[[table]]\n{GOOD}split = "x"', "unknown field 'split'; expected name, data, router"),
        (f'[[table]]\n{GOOD}splits = "x"', "splits is of type str, expected list"),
        (f"[[table]]\n{GOOD}splits = [3]", "splits: split is of type int, expected str"),
        (f'[[table]]\n{GOOD}splits = ["a", "a"]', "two splits have the name 'a'"),
        (
            f'[[table]]\n{GOOD}splits = [{{ split = "a", leave = [] }}]',
            "splits: unknown field 'leave'; expected split, only, leave_out",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_suite(path)
    assert str(caught.value).startswith(path)
    assert expected in str(caught.value)


def rows() -> RewardTable:
    subsets = ["a", "b", "a", "b", "c", "a"]
    splits = ["train", "train", "test", "test", "test", "shift"]
    return replace(table([[1, 0]] * 6, subsets=subsets), splits=splits)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ([], {"shift": [5], "test": [2, 3, 4]}),
        ([SplitChoice("test", only=["c", "b"])], {"test": [3, 4]}),
        ([SplitChoice("test", ["a", "b"], ["b"])], {"test": [2]}),
        ([SplitChoice("train")], {"train": [0, 1]}),
    ],
)
def test_the_rows_of_a_choice(splits: list[SplitChoice], expected: dict[str, list[int]]) -> None:
    found = chosen_splits(rows(), TableChoice("t", "t.csv", "r", splits))
    assert {split: kept.tolist() for split, kept in found.items()} == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (SplitChoice("val"), "t.csv: no row has the split 'val'; found shift, test, train"),
        (SplitChoice("test", only=["z"]), "split 'test' has no subset 'z'; found a, b, c"),
        (SplitChoice("shift", leave_out=["b"]), "split 'shift' has no subset 'b'; found a"),
        (SplitChoice("shift", leave_out=["a"]), "every subset is left out"),
    ],
)
def test_a_choice_that_the_table_does_not_have(choice: SplitChoice, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        chosen_splits(rows(), TableChoice("t", "t.csv", "r", [choice]))
    assert expected in str(caught.value)


def test_subsets_without_splits_hold_for_every_split() -> None:
    found = chosen_splits(rows(), TableChoice("t", "t.csv", "r", only=["a"]))
    assert {split: kept.tolist() for split, kept in found.items()} == {"shift": [5], "test": [2]}


def test_only_training_rows_must_be_asked_for_by_name() -> None:
    train = replace(rows(), splits=["train"] * 6)
    with pytest.raises(DataError, match="every row has the split 'train'"):
        chosen_splits(train, TableChoice("t", "t.csv", "r"))


def test_a_table_is_named_by_its_file() -> None:
    assert [table_name(path) for path in ("a/b.csv.gz", "org/set", "x.csv.y")] == [
        *("b", "set", "x.csv.y")
    ]
