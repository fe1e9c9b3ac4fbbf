"""Queries that repeat or are contaminated, tags of one meaning, names of clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from zooter_lite.tags.meanings import cluster_names, one_vocabulary
from zooter_lite.tags.unwanted import contaminated, near_repeats

FloatArray = NDArray[np.float32]


def angles(*degrees: float) -> FloatArray:
    """Unit vectors in the plane."""
    found = [(math.cos(math.radians(d)), math.sin(math.radians(d))) for d in degrees]
    return np.asarray(found, dtype=np.float32)


def test_equal_names_are_made_longer_and_empty_ones_numbered() -> None:
    same = ["red green blue", "red green blue white", "the 1 2"]
    names = cluster_names(same, [0, 1, 2])
    assert names[2] == "cluster 2"
    assert len(set(names.values())) == 3
    assert all(set(names[c].split()) <= {"red", "green", "blue", "white"} for c in (0, 1))
    twins = cluster_names(["red", "red"], [0, 1])
    assert twins == {0: "red", 1: "cluster 1"}


def test_one_vocabulary_takes_its_steps_in_order() -> None:
    place = {"sum": 0.0, "sums": 3.0, "maths": 120.0, "odd": 240.0}
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> FloatArray:
        asked.extend(texts)
        return angles(*(place[text] for text in texts))

    lists = [["Sum!", "Maths"]] * 20 + [["SUMS", "maths"]] + [["maths"]] * 5 + [["odd"]]
    tags, steps = one_vocabulary(lists, embed, merge=0.9, min_support=2, confidence=0.99)
    assert tags == [["maths"]] * 26 + [[]]
    assert list(steps.items()) == [
        ("as written", 5),
        ("in one spelling", 4),
        ("after merging meanings", 3),
        ("at 2 queries or more", 2),
        ("after merging companions", 1),
    ]
    assert asked == ["maths", "odd", "sum", "sums"]
    tags, steps = one_vocabulary(lists, embed, merge=1.0, min_support=1, confidence=2.0)
    assert tags[0] == ["sum", "maths"]
    assert list(steps.values()) == [5, 4, 4, 4]
    assert one_vocabulary([[]], embed, merge=0.5, min_support=1, confidence=1.0)[0] == [[]]


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
