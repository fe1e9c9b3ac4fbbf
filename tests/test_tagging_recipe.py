"""The figures of recipes/tagging: scores by hand, and a report on made-up vectors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from recipes.tagging.measure import (
    macro_f1,
    merges,
    report,
    score,
)
from tests.helpers import table

REAL = [["a", "b"], ["c"], []]
FOUND = [["a"], ["a", "c"], ["b"]]


def test_scores_by_hand() -> None:
    found = score(REAL, FOUND)
    assert (found.precision, found.recall, found.f1) == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    assert macro_f1(REAL, FOUND, ["a", "b", "c", "d"]) == pytest.approx((2 / 3 + 0 + 1 + 0) / 4)
    assert score([["a"]], [[]]).f1 == 0.0


def heaps(n: int) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float32]], list[list[str]]]:
    """Queries around four directions; each direction has a tag of its own beside a common one."""
    random = np.random.default_rng(n)
    place = np.arange(n) % 4
    vectors = np.eye(8)[place] + 0.1 * random.normal(size=(n, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), [["common", f"own{p}"] for p in place]


def test_the_report_has_a_line_for_every_way() -> None:
    vectors, tags = heaps(200)
    queries, real = heaps(80)
    train = table(np.zeros((200, 2)), tags=tags)
    test = replace(table(np.zeros((80, 2))), tags=real)
    text = report(train, vectors, test, queries)
    assert "200 train queries tag 80 test queries; 5 tags in train, 5 in test, 2.0 per" in text
    assert len(re.findall(r"^\| nearest ", text, re.M)) == 30
    row = "| nearest | 8 | 2 | 1.000 | 1.000 | 1.000 | 1.000 (1.000-1.000) | 1.000 |"
    assert row in text
    own = np.eye(5, dtype=np.float32)
    own[1] = own[0]
    assert "| 0.95 | 1 | 2 |" in merges(tags, own)
