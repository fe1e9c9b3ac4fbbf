"""Tags of one meaning, near repeats, tags by neighbours, named clusters: on made-up vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from tests.helpers import units
from zooter_lite.errors import DataError
from zooter_lite.tags.meanings import (
    cluster_names,
    one_vocabulary,
    same_meaning,
    tags_by_clusters,
    tags_by_neighbours,
)

FloatArray = NDArray[np.float32]


def angles(*degrees: float) -> FloatArray:
    """Unit vectors in the plane."""
    found = [(math.cos(math.radians(d)), math.sin(math.radians(d))) for d in degrees]
    return np.asarray(found, dtype=np.float32)


def test_neighbouring_tags_take_the_most_frequent_name() -> None:
    support = {"a": 1, "b": 5, "c": 2, "d": 9, "e": 5}
    vectors = angles(0, 10, 20, 60, 190)
    near = math.cos(math.radians(11))
    assert same_meaning(support, vectors, near) == {"a": "b", "c": "b"}
    assert same_meaning(support, vectors, math.cos(math.radians(9))) == {}
    wide = math.cos(math.radians(41))
    assert same_meaning(support, vectors, wide) == {"a": "d", "b": "d", "c": "d"}
    assert same_meaning({"x": 2, "w": 2}, angles(0, 1), near) == {"x": "w"}


def test_tags_come_from_the_nearest_tagged_queries() -> None:
    known = angles(0, 2, 4, 90, 45), [["a"], ["a", "b"], ["a", "c", "c"], ["d"], []]
    found = tags_by_neighbours(known, angles(1, 89), k=3, top=2)
    assert found[0] == ["a", "b"]
    assert tags_by_neighbours(known, angles(89), k=1, top=2) == [["d"]]
    with pytest.raises(DataError, match="no tag"):
        tags_by_neighbours((angles(0), [[]]), angles(1), k=1, top=1)


QUERIES = [
    *["sort the list of numbers", "reverse the list 12 34", "sort a list"],
    *["translate the letter into French", "translate into German", "French letter please"],
]


def test_clusters_are_named_by_the_words_that_tell_them_apart() -> None:
    names = cluster_names(QUERIES, [0, 0, 0, 1, 1, 1])
    # n / words of the cluster * log(1 + 7.5 / occurrences): "list" 3 of 7, "sort" 2, "numbers" 1
    assert names[0] == "list sort numbers"
    # "french", "letter" and "translate" twice each; "german" and "please" once
    assert names[1] == "french letter translate"


def test_equal_names_are_made_longer_and_empty_ones_numbered() -> None:
    same = ["red green blue", "red green blue white", "the 1 2"]
    names = cluster_names(same, [0, 1, 2])
    assert names[2] == "cluster 2"
    assert len(set(names.values())) == 3
    assert all(set(names[c].split()) <= {"red", "green", "blue", "white"} for c in (0, 1))
    twins = cluster_names(["red", "red"], [0, 1])
    assert twins == {0: "red", 1: "cluster 1"}


def test_cluster_tags_are_those_of_scikit_learn() -> None:
    vectors = units(60, 5, 2).astype(np.float32)
    queries = [f"word{i}" for i in range(60)]
    found = tags_by_clusters(queries, vectors, 4, 7)
    labels = KMeans(4, n_init=1, random_state=7).fit_predict(vectors)
    groups = {frozenset(np.flatnonzero(labels == c).tolist()) for c in range(4)}
    names = {tags[0] for tags in found}
    assert {frozenset(i for i, t in enumerate(found) if t == [n]) for n in names} == groups
    assert len({tags[0] for tags in tags_by_clusters(queries, vectors, None, 7)}) == 6
    assert len({tags[0] for tags in tags_by_clusters(queries[:3], vectors[:3], None, 7)}) == 1
    with pytest.raises(DataError, match="61 clusters of 60 queries"):
        tags_by_clusters(queries, vectors, 61, 7)


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
