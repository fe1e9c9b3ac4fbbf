"""Which rows are evaluated: splits and subsets of a choice, and every mistake named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers import table
from zooter_lite.compare.evaluated_rows import SplitChoice, TableChoice, chosen_splits
from zooter_lite.errors import DataError
from zooter_lite.table import RewardTable, table_name


def rows() -> RewardTable:
    subsets = ["a", "b", "a", "b", "c", "a"]
    splits = ["train", "train", "test", "test", "test", "shift"]
    return replace(table([[1, 0]] * 6, subsets=subsets), splits=splits)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ((), {"shift": [5], "test": [2, 3, 4]}),
        ((SplitChoice("test", only=["c", "b"]),), {"test": [3, 4]}),
        ((SplitChoice("test", ["a", "b"], ["b"]),), {"test": [2]}),
        ((SplitChoice("train"),), {"train": [0, 1]}),
    ],
)
def test_the_rows_of_a_choice(
    splits: tuple[SplitChoice, ...], expected: dict[str, list[int]]
) -> None:
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
        chosen_splits(rows(), TableChoice("t", "t.csv", "r", (choice,)))
    assert expected in str(caught.value)


def test_subsets_without_splits_hold_for_every_split() -> None:
    found = chosen_splits(rows(), TableChoice("t", "t.csv", "r", only=["a"]))
    assert {split: kept.tolist() for split, kept in found.items()} == {"shift": [5], "test": [2]}


def test_only_training_rows_must_be_asked_for_by_name() -> None:
    train = replace(rows(), splits=["train"] * 6)
    with pytest.raises(DataError, match="every row has the split 'train'"):
        chosen_splits(train, TableChoice("t", "t.csv", "r"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b.csv.gz", "b"),
        ("org/set", "set"),
        ("x.csv.y", "x.csv.y"),
    ],
)
def test_a_table_is_named_by_its_file(source: str, name: str) -> None:
    assert table_name(source) == name
