"""Free tags made one vocabulary: spelling, support, tags that always come together."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zooter_lite.tags.vocabulary import (
    associated,
    clean_tag,
)

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
