"""Queries that count as the same."""

from __future__ import annotations

import hashlib

from zooter_lite.table.keys import query_groups, query_hashes, query_key


def test_white_space_is_folded() -> None:
    assert query_key("  a\t b\n\nc ") == "a b c"


def test_hashes_are_the_first_bytes_of_sha256() -> None:
    first = int(hashlib.sha256(b"a b").hexdigest()[:16], 16)
    assert query_hashes(["a  b", "\ud800", " a b"]).tolist()[::2] == [first, first]


def test_groups_are_numbered_as_they_appear() -> None:
    queries = [f"q{i}" for i in (5, 3, 5, 9, 3, 0)]
    assert query_groups(queries).tolist() == [0, 1, 0, 2, 1, 3]
    assert query_groups([]).tolist() == []
