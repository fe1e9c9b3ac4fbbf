"""Queries not to learn from: those that share words with a test, and near repeats."""

from __future__ import annotations

import math

import pytest

from tests.helpers import angles
from zooter_lite.tags.unwanted import contaminated, near_repeats

TEST = "The quick brown fox jumps over the lazy dog today."


@pytest.mark.parametrize(
    ("query", "n", "found"),
    [
        ("Say: 'quick BROWN fox, jumps' twice", 4, True),
        ("Say: 'quick brown fox, jumps' twice", 5, False),
        ("the quick  brown fox jumps over the lazy dog - today", 13, True),  # both are short
        ("the quick brown fox jumps over the lazy dog", 13, False),
    ],
)
def test_a_query_that_shares_a_run_of_words_is_found(query: str, n: int, found: bool) -> None:
    assert contaminated(["something else entirely", query], [TEST, ""], n) == [1] * found


def test_runs_of_characters_are_runs_of_words_where_no_spaces_are_written() -> None:
    queries = ["请计算下面的总和并写出过程", "今天天气很好我们出去玩吧"]
    assert contaminated(queries, ["题目:请计算下面的总和并写出过程。谢谢"], 13) == [0]


def test_a_row_near_an_earlier_one_that_stays_is_a_repeat() -> None:
    near = math.cos(math.radians(11))
    # 10 is near 0; 20 is near 10, which is dropped, and far from 0; 25 is near 20
    assert near_repeats(angles(0, 10, 20, 25, 90, 0), near) == [1, 3, 5]
