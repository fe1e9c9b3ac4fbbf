"""The reward table in memory: validation of every column, splits, leaks, selection of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from zooter_lite.errors import DataError
from zooter_lite.table import in_router_order
from zooter_lite.table.columns import Columns
from zooter_lite.table.reward_table import RewardTable, build_table

NAN = float("nan")


def build(**changed: Any) -> RewardTable:
    """A valid table of two rows with columns replaced, added, or (None) left out."""
    columns: dict[str, Any] = {
        "query": ["one", "two"],
        "reward:a": [0.5, "1"],
        "reward:b": ["", 2],
    }
    columns |= {name.replace("__", ":"): cells for name, cells in changed.items()}
    kept = {name: cells for name, cells in columns.items() if cells is not None}
    return build_table(Columns("t.csv", kept, list(kept), lambda row: f"t.csv, line {row + 2}"))


def table_of(queries: Sequence[str], splits: list[str] | None = None) -> RewardTable:
    n = len(queries)
    columns: dict[str, Any] = {
        "query": list(queries),
        "reward:a": np.arange(n, dtype=np.float64),
        "reward:b": -np.arange(n, dtype=np.float64),
        "cost:b": np.arange(n, dtype=np.float64) * 10,
        "response:a": [f"answer {i}" for i in range(n)],
        "tags": [[f"tag {i}"] for i in range(n)],
        "subset": [f"subset {i}" for i in range(n)],
    }
    columns |= {} if splits is None else {"split": splits}
    return build_table(Columns("made", columns, list(columns), str))


def test_columns_left_out_have_their_defaults() -> None:
    table = build()
    assert table.queries == ["one", "two"]
    assert table.experts == ["a", "b"]
    np.testing.assert_array_equal(table.rewards, np.array([[0.5, NAN], [1, 2]], dtype=np.float32))
    assert table.rewards.dtype == np.float32
    assert table.subsets == ["all", "all"]
    assert table.query_ids == ["0", "1"]
    assert (table.splits, table.tags, table.costs, table.responses) == (None, None, None, None)


def test_every_column_is_kept() -> None:
    table = build(
        query_id=["x", ""],
        subset=["maths", None],
        split=["train", "odd"],
        tags=["b; a;b;;", None],
        cost__b=[" 3.5 ", None],
        response__b=["yes", None],
        unknown=["left", "out"],
    )
    assert table.query_ids == ["x", "1"]
    assert table.subsets == ["maths", "(none)"]
    assert table.splits == ["train", "odd"]
    assert table.tags == [["b", "a"], []]
    assert table.responses == [[None, "yes"], [None, None]]
    assert table.costs is not None
    np.testing.assert_array_equal(table.costs, [[NAN, 3.5], [NAN, NAN]])


def test_a_number_is_read_from_a_text() -> None:
    cells = [".5", "+1.", "-1E-3", " 7 ", "", None, NAN, 3.4e38]
    zeros = np.zeros(len(cells))
    found = build(query=list("abcdefgh"), reward__a=cells, reward__b=zeros).rewards[:, 0]
    expected = [0.5, 1, -0.001, 7, NAN, NAN, NAN, 3.4e38]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


HERE = "t.csv, line 3"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"query": None}, "t.csv: no column 'query'; found 'reward:a', 'reward:b'"),
        ({"reward__b": None}, "t.csv: expected at least two columns named 'reward:<expert>', fou"),
        ({"reward__": [1, 1]}, "t.csv: column 'reward:' names no expert"),
        *[
            ({f"{near}__c": [1, 1]}, f"t.csv: column '{near}:c': expected 'reward:c'")
            for near in ("rewrad", "rewards", "Reward", " reward")
        ],
        ({"costs__a": [1, 1]}, "t.csv: column 'costs:a': expected 'cost:a'"),
        ({"cost__c": [1, 1]}, "t.csv: column 'cost:c' has no 'reward:c' beside"),
        ({"query": ["one", " \t"]}, f"{HERE}, column 'query': empty; expected text"),
        ({"query": ["one", 2]}, f"{HERE}, column 'query': expected text or a list of"),
        ({"cost__a": [0, -0.1]}, f"{HERE}, column 'cost:a': -0.1 is no cost; expected"),
        *[
            ({"reward__a": [1, cell]}, f"{HERE}, column 'reward:a': {cell!r} is not a number (lea")
            for cell in ("n/a", "NaN", "1_000", " ", True, [1.0])
        ],
        *[
            ({"reward__a": [1, cell]}, f"{HERE}, column 'reward:a': {cell} is not finite in 32 b")
            for cell in ("-INF", "1e39", 10**400)
        ],
        ({"response__b": ["x", 1.5]}, f"{HERE}, column 'response:b': expected text, found float"),
    ],
    ids=range(22),
)
def test_a_column_that_cannot_be_used_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        build(**changed)
    assert "\n" not in str(caught.value)


def test_take_moves_every_field_of_a_row_together() -> None:
    table = table_of(["p", "q", "r"], ["train", "test", "dev"]).take([2, 0, 2])
    assert (table.queries, table.query_ids) == (["r", "p", "r"], ["2", "0", "2"])
    assert table.rewards.tolist() == [[2, -2], [0, 0], [2, -2]]
    assert table.subsets == ["subset 2", "subset 0", "subset 2"]
    assert table.splits == ["dev", "train", "dev"]
    assert table.tags == [["tag 2"], ["tag 0"], ["tag 2"]]
    np.testing.assert_array_equal(table.costs, [[NAN, 20], [NAN, 0], [NAN, 20]])
    assert table.responses == [["answer 2", None], ["answer 0", None], ["answer 2", None]]


def test_experts_of_a_router_are_taken_and_ordered_in_every_field() -> None:
    scores: dict[str, Any] = {"score:s:a": [1, 2], "score:s:b": [3, None], "score:s:c": [5, 6]}
    whole = build(reward__c=[7, None], cost__a=[1, 2], response__c=["x", None], **scores)
    table = in_router_order(whole, ["c", "b"], "t.csv")
    assert table.experts == ["c", "b"]
    np.testing.assert_array_equal(table.rewards, [[7, NAN], [NAN, 2]])
    np.testing.assert_array_equal(table.costs, [[NAN, NAN], [NAN, NAN]])
    assert table.responses == [["x", None], [None, None]]
    np.testing.assert_array_equal(table.scores["s"], [[5, 3], [6, NAN]])
    with pytest.raises(
        DataError, match=r"t\.csv: no column 'reward:d'; the router chooses among 'd'"
    ):
        in_router_order(whole, ["d", "b"], "t.csv")
    with pytest.raises(DataError, match="query '1' has no reward for any expert of the router"):
        in_router_order(whole.take([1]), ["c"], "t.csv")


def test_scores_of_a_scorer_that_lacks_an_expert_are_left_out() -> None:
    table = build(score__s__a=[1, 2], score__s__b=["0.5", ""], score__half__a=[1, 1])
    assert list(table.scores) == ["s"]
    np.testing.assert_array_equal(table.scores["s"], [[1, 0.5], [2, NAN]])
    np.testing.assert_array_equal(table.take([1]).scores["s"], [[2, NAN]])
    with pytest.raises(DataError, match="line 3, column 'score:s:b': 'x' is not a number"):
        build(score__s__a=[1, 2], score__s__b=[1, "x"])


def test_an_id_that_stands_at_two_queries_is_refused() -> None:
    assert build(query=["one", "one"], query_id=["x", "x"]).query_ids == ["x", "x"]
    assert build(query_id=["1", None]).query_ids == ["1", "1"]  # a position is no given name
    assert build(query_id=["", None]).query_ids == ["0", "1"]
    expected = "t.csv, line 3: query_id '7' stands at two different queries; the other is t.csv, li"
    with pytest.raises(DataError, match=expected):
        build(query_id=[7, "7"])
    with pytest.raises(
        DataError, match=r"line 2, column 'query_id': expected a text or a number, found \['x'\]"
    ):
        build(query_id=[["x"], "y"])


def test_leaks_are_rows_whose_query_stands_in_train_with_white_space_folded() -> None:
    queries = ["a  b", " a b\n", "a\tb", "ab", "A b", "a  b", "c", "c"]
    splits = ["train", "test", "dev", "test", "test", "train", "test", "dev"]
    assert table_of(queries, splits).leaks().tolist() == [1, 2]
    assert table_of(queries).leaks().tolist() == []


def test_hold_out_depends_on_each_query_alone() -> None:
    queries = [f"query number {i}" for i in range(4000)]
    table = table_of(queries).hold_out()
    assert 0.17 < len(table.rows("test")) / 4000 < 0.23  # 0.2 and five standard errors
    spaced = [f"  {query.replace(' ', '  ')}\n" for query in queries[::-1]]
    assert table_of(spaced).hold_out().splits == (table.splits or [])[::-1]
    # sha256 of "alpha" begins with 8ed3f6ad: 0x8ed3f6ad / 2**32 = 0.558
    # and of "beta" with f44e64e7: 0.954
    assert table_of(["alpha", "beta"]).hold_out(0.55).splits == ["train", "train"]
    assert table_of(["alpha", "\ud800"]).hold_out(0.56).splits is not None
    assert table_of(["alpha", "beta"]).hold_out(0.56).splits == ["test", "train"]


def test_columns_that_are_not_near_a_reward_are_left_alone() -> None:
    table = build(reward_model=["x", "y"], meta__c=["x", "y"])
    assert table.experts == ["a", "b"]
    assert repr(table) == "<RewardTable: 2 queries; a, b>"
