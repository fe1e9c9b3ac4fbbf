"""Choosing queries per tag: enough for every tag, few in all, the same under one seed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from zooter_lite.tags.plan import per_tag
from zooter_lite.tags.vocabulary import support

LISTS = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=4), max_size=40)


@settings(deadline=None)
@given(LISTS, st.integers(1, 5), st.integers(0, 99))
def test_every_tag_gets_its_queries_and_no_query_is_needless(
    lists: list[list[str]], n: int, seed: int
) -> None:
    chosen = per_tag(lists, n, seed)
    assert chosen == sorted(set(chosen))
    assert all(lists[place] for place in chosen)
    counts, all_counts = support([lists[place] for place in chosen]), support(lists)
    assert all(counts[tag] >= min(n, all_counts[tag]) for tag in all_counts)
    assert len(chosen) <= sum(min(n, count) for count in all_counts.values())
    assert chosen == per_tag(lists, n, seed)


def test_a_query_of_several_intentions_comes_before_those_of_one() -> None:
    lists = [["a"], ["b"], ["a", "b"], ["c"], ["a", "b", "c"], []]
    assert per_tag(lists, 1, 0) == [4]
    assert per_tag(lists, 2, 0) == [2, 3, 4]


def test_the_seed_decides_among_equals() -> None:
    lists = [["a"] for _ in range(50)]
    assert len({tuple(per_tag(lists, 2, seed)) for seed in range(20)}) > 10
