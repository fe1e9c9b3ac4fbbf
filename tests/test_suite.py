"""Suite files: read whole, and every mistake named with the file, the table and the key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import table
from zooter_lite.compare.suite import (
    SplitChoice,
    SuiteTable,
    check_groups,
    chosen_splits,
    read_suite,
    table_name,
)
from zooter_lite.errors import DataError
from zooter_lite.table.reward_table import RewardTable

WHOLE = """
[[table]]
name = "first"
data = "tables/first.parquet"
router = "../routers/first"
groups = { maths = ["gsm8k", "algebra"], code = ["mbpp"] }

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
    assert first == SuiteTable(
        "first",
        str(tmp_path / "tables" / "first.parquet"),
        str(tmp_path / ".." / "routers" / "first"),
        (SplitChoice("test"), SplitChoice("ood", leave_out=("javascript",))),
        groups={"gsm8k": "maths", "algebra": "maths", "mbpp": "code"},
    )
    assert second.router == "/routers/second"
    assert second.splits == (SplitChoice("test"), SplitChoice("shift", only=("a",)))
    assert third.splits == ()
    assert third.groups == {}
    assert third.also == (str(tmp_path / "s"), "/t")


def test_tables_are_looked_for_in_the_folder_that_data_names(tmp_path: Path) -> None:
    first, second, _ = read_suite(write(tmp_path, WHOLE), "/elsewhere")
    assert first.data == "/elsewhere/first.parquet"
    assert second.data == "/elsewhere/second.csv"
    assert first.router == str(tmp_path / ".." / "routers" / "first")


GOOD = 'name = "t"\ndata = "t.csv"\nrouter = "r"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no [[table]]"),
        ("[[table]]\n[other]", "unknown table 'other'"),
        ("[[table", "not a TOML file"),
        ('[[table]]\ndata = "t.csv"\nrouter = "r"', "table 1: name: expected a text, found None"),
        ('[[table]]\nname = "t"\nrouter = "r"', "table 't': data: expected a text, found None"),
        ('[[table]]\nname = "t"\ndata = "d"\nrouter = 3', "table 't': router: expected a text"),
        (f"[[table]]\n{GOOD}[[table]]\n{GOOD}", "two tables have the name 't'"),
        (f'[[table]]\n{GOOD}split = "x"', "unknown key 'split'; expected also, data, groups"),
        (f'[[table]]\n{GOOD}splits = "x"', "table 't': splits: expected a list, found str"),
        (f"[[table]]\n{GOOD}splits = [3]", "table 't': splits: expected names or tables"),
        (f'[[table]]\n{GOOD}splits = ["a", "a"]', "two splits have the name 'a'"),
        (f"[[table]]\n{GOOD}splits = [{{}}]", "splits: split: expected a text, found None"),
        (
            f'[[table]]\n{GOOD}splits = [{{ split = "a", leave = [] }}]',
            "splits: unknown key 'leave'; expected leave_out, only, split",
        ),
        (
            f'[[table]]\n{GOOD}splits = [{{ split = "a", only = "b" }}]',
            "splits: only: expected a list of names, found 'b'",
        ),
        (f"[[table]]\n{GOOD}groups = []", "groups: expected a table, found list"),
        (f"[[table]]\n{GOOD}groups = {{ a = [1] }}", "groups: a: expected a list of names"),
        (
            f'[[table]]\n{GOOD}groups = {{ a = ["x"], b = ["x"] }}',
            "groups: subset 'x' stands in 'a' and in 'b'",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_suite(path)
    assert str(caught.value).startswith(path)
    assert expected in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"suite\.toml: No such file"):
        read_suite(str(tmp_path / "suite.toml"))


def rows() -> RewardTable:
    subsets = ["a", "b", "a", "b", "c", "a"]
    splits = ["train", "train", "test", "test", "test", "shift"]
    return replace(table([[1, 0]] * 6, subsets=subsets), splits=splits)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ((), {"shift": [5], "test": [2, 3, 4]}),
        ((SplitChoice("test"),), {"test": [2, 3, 4]}),
        ((SplitChoice("test", only=("c", "b")),), {"test": [3, 4]}),
        ((SplitChoice("test", leave_out=("c",)),), {"test": [2, 3]}),
        ((SplitChoice("test", ("a", "b"), ("b",)),), {"test": [2]}),
        ((SplitChoice("train"),), {"train": [0, 1]}),
    ],
)
def test_the_rows_of_a_choice(
    splits: tuple[SplitChoice, ...], expected: dict[str, list[int]]
) -> None:
    found = chosen_splits(rows(), SuiteTable("t", "t.csv", "r", splits))
    assert {choice.split: kept.tolist() for choice, kept in found} == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (SplitChoice("val"), "t.csv: no row has the split 'val'; found shift, test, train"),
        (SplitChoice("test", only=("z",)), "split 'test' has no subset 'z'; found a, b, c"),
        (SplitChoice("shift", leave_out=("b",)), "split 'shift' has no subset 'b'; found a"),
        (SplitChoice("shift", leave_out=("a",)), "every subset is left out"),
    ],
)
def test_a_choice_that_the_table_does_not_have(choice: SplitChoice, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        chosen_splits(rows(), SuiteTable("t", "t.csv", "r", (choice,)))
    assert expected in str(caught.value)


def test_subsets_without_splits_hold_for_every_split() -> None:
    found = chosen_splits(rows(), SuiteTable("t", "t.csv", "r", only=("a",)))
    assert {choice.split: kept.tolist() for choice, kept in found} == {"shift": [5], "test": [2]}


def test_only_training_rows_must_be_asked_for_by_name() -> None:
    train = replace(rows(), splits=["train"] * 6)
    with pytest.raises(DataError, match="every row has the split 'train'"):
        chosen_splits(train, SuiteTable("t", "t.csv", "r"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b.parquet", "b"),
        ("b.csv.gz", "b"),
        ("b.jsonl", "b"),
        ("org/set", "set"),
        ("x.csv.y", "x.csv.y"),
    ],
)
def test_a_table_is_named_by_its_file(source: str, name: str) -> None:
    assert table_name(source) == name


def test_groups_name_subsets_of_the_table() -> None:
    assert check_groups(rows(), SuiteTable("t", "t.csv", "r")) == {}
    named = SuiteTable("t", "t.csv", "r", groups={"a": "x", "c": "y"})
    assert check_groups(rows(), named) == {"a": "x", "c": "y"}
    wrong = SuiteTable("t", "t.csv", "r", groups={"q": "x"})
    with pytest.raises(DataError, match="no subset 'q', which group 'x' names; found a, b, c"):
        check_groups(rows(), wrong)
