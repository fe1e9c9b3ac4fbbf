"""Free tags made one vocabulary: spelling, meaning, support, companions; names of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.helpers import angles
from zooter_lite.tags.tagging import cluster_names
from zooter_lite.tags.vocabulary import associated, clean_tag, one_vocabulary

LISTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=30)


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        (" Data-Structures: C++ ", "data structures c++"),
        ("Ｆｕｌｌ　Ｗｉｄｔｈ", "full width"),
        ("单位换算。", "单位换算"),
    ],
)
def test_a_tag_in_one_spelling(tag: str, written: str) -> None:
    assert clean_tag(tag) == written
    assert clean_tag(written) == written


def test_chains_end_at_their_last_tag_and_equals_at_the_first_name() -> None:
    lists = [["a", "b", "c"]] * 2 + [["b", "c"]] + [["c"]]
    assert associated(lists, 0.9, 2) == {"a": "c", "b": "c"}
    assert associated([["y", "x"]] * 3, 0.9, 2) == {"y": "x"}


@settings(deadline=None)
@given(LISTS, st.floats(0.5, 1.0), st.integers(1, 4))
def test_every_merge_follows_from_the_definition(
    lists: list[list[str]], confidence: float, least: int
) -> None:
    found = associated(lists, confidence, least)
    assert not set(found) & set(found.values())
    rows = {tag: {i for i, tags in enumerate(lists) if tag in tags} for tag in "abcdef"}

    def implies(a: str, b: str) -> bool:
        both = len(rows[a] & rows[b])
        rarer = (-len(rows[b]), b) < (-len(rows[a]), a)
        return both >= least and both / len(rows[a]) >= confidence and rarer

    expected = {a for a, b in permutations("abcdef", 2) if implies(a, b)}
    assert set(found) == expected


def test_one_vocabulary_takes_its_steps_in_order() -> None:
    place = {"sum": 0.0, "sums": 3.0, "maths": 120.0, "odd": 240.0}
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return angles(*(place[text] for text in texts))

    lists = [["Sum!", "Maths"]] * 20 + [["SUMS", "maths"]] + [["maths"]] * 5 + [["odd", "!"]]
    tags = one_vocabulary(lists, embed, merge=0.9, min_support=2, confidence=0.99)
    assert tags == [["maths"]] * 26 + [[]]
    assert asked == ["maths", "odd", "sum", "sums"]
    tags = one_vocabulary(lists, embed, merge=0.9, min_support=1, confidence=2.0)
    assert tags == [["sum", "maths"]] * 21 + [["maths"]] * 5 + [["odd"]]
    tags = one_vocabulary(lists, embed, merge=1.0, min_support=1, confidence=2.0)
    assert tags[20] == ["sums", "maths"]
    assert one_vocabulary([[]], embed, merge=0.5, min_support=1, confidence=1.0) == [[]]


def test_equal_names_are_made_longer_and_empty_ones_numbered() -> None:
    same = ["red green blue", "red green blue white", "the 1 2"]
    names = cluster_names(same, [0, 1, 2])
    assert names[2] == "cluster 2"
    assert len(set(names.values())) == 3
    assert all(set(names[c].split()) <= {"red", "green", "blue", "white"} for c in (0, 1))
    twins = cluster_names(["red", "red"], [0, 1])
    assert twins == {0: "red", 1: "cluster 1"}
