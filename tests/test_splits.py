"""Splits before a fit: which queries are the same, held-out rows, leaks, rows side by side."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import table
from zooter_lite.errors import DataError
from zooter_lite.table.keys import query_groups, query_hashes, query_key
from zooter_lite.table.splits import part_of, with_splits

QUERIES = ["a", "b", "c", "a ", "d"]
TABLE = replace(table(np.eye(5), queries=QUERIES), splits=["train", "test", "train", "test", "dev"])


def test_rows_of_a_split_stand_side_by_side_in_their_order() -> None:
    found, notes = with_splits(TABLE, 0.2, False)
    assert found.splits == ["dev", "test", "test", "train", "train"]
    assert found.queries == ["d", "b", "a ", "a", "c"]
    assert found.rewards.argmax(axis=1).tolist() == [4, 1, 3, 0, 2]
    assert notes == [
        "1 evaluated rows have a query that also stands in train (kept; --drop-leaks removes them)"
    ]


def test_leaks_are_dropped_on_request() -> None:
    found, (note,) = with_splits(TABLE, 0.2, True)
    assert found.queries == ["d", "b", "a", "c"]
    assert note.endswith("(dropped)")


def test_no_training_row_is_one_clean_error() -> None:
    with pytest.raises(DataError, match="no row has the split 'train'; found dev, test"):
        with_splits(TABLE.take([1, 3, 4]), 0.2, False)


def test_rows_side_by_side_are_not_copied() -> None:
    values = np.arange(12).reshape(6, 2)
    view = part_of(values, np.array([2, 3, 4]))
    assert np.shares_memory(view, values)
    np.testing.assert_array_equal(view, values[2:5])
    np.testing.assert_array_equal(part_of(values, np.array([1, 3])), values[[1, 3]])
    assert part_of(values, np.array([], dtype=np.int64)).shape == (0, 2)


def test_queries_are_the_same_whatever_their_white_space() -> None:
    assert query_key("  a\t b\n\nc ") == "a b c"
    first = int(hashlib.sha256(b"a b").hexdigest()[:16], 16)
    assert query_hashes(["a  b", "\ud800", " a b"]).tolist()[::2] == [first, first]
    queries = [f"q{i}" for i in (5, 3, 5, 9, 3, 0)]
    assert query_groups(queries).tolist() == [0, 1, 0, 2, 1, 3]
    assert query_groups([]).tolist() == []
