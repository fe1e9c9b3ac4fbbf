"""Tags at fit: clusters against scikit-learn, given tags against hand-placed neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from tests.helpers import units
from zooter_lite.tags.tagging import (
    REPEATS,
    ROWS_PER_CLUSTER,
    Tags,
    cluster_tags,
    given_tags,
)

FloatArray = NDArray[np.float32]


def points(n: int, dim: int = 5, seed: int = 0) -> FloatArray:
    return units(n, dim, seed).astype(np.float32)


def groups(tagging: Tags, prefix: str) -> list[set[int]]:
    """Rows of each tag whose name starts with the prefix."""
    found: dict[str, set[int]] = defaultdict(set)
    assignment = tagging.assignment
    for row, tag in zip(assignment.rows.tolist(), assignment.tags.tolist(), strict=True):
        name = assignment.names[tag]
        if name.startswith(prefix):
            found[name].add(row)
    return sorted(found.values(), key=min)


def tags_of(tagging: Tags, row: int) -> set[str]:
    assignment = tagging.assignment
    return {assignment.names[t] for t in assignment.tags[assignment.rows == row].tolist()}


def test_clusters_are_those_of_scikit_learn() -> None:
    embeddings = points(200)
    (tagging,) = cluster_tags(embeddings, [(3, 6)], seed=7)
    assert tagging.name == "clusters 3+6"
    assert tagging.n_tags == REPEATS * (3 + 6)
    assert Counter(tagging.assignment.rows.tolist()) == dict.fromkeys(range(200), 2 * REPEATS)
    for size in (3, 6):
        for repeat in range(REPEATS):
            labels = KMeans(size, n_init=1, random_state=7 + repeat).fit_predict(embeddings)
            expected = [set(np.flatnonzero(labels == c).tolist()) for c in range(size)]
            found = groups(tagging, f"cluster-{size}{'abc'[repeat]}-")
            assert found == sorted(expected, key=min)


def test_centroids_and_nearness_are_the_formulas() -> None:
    embeddings = points(60)
    (tagging,) = cluster_tags(embeddings, [(4,)], seed=0)
    for tag, name in enumerate(tagging.assignment.names):
        (rows,) = groups(tagging, name)
        mean = embeddings[sorted(rows)].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(tagging.centroids[tag], mean / np.linalg.norm(mean), atol=1e-12)
    similarity = embeddings.astype(np.float64) @ tagging.centroids.T
    for tags in (tagging, replace(tagging, near=None)):
        near = tags.nearness(embeddings, slice(5, 9))
        np.testing.assert_allclose(near, similarity[5:9], atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "granularities", "names"),
    [
        (8 * ROWS_PER_CLUSTER, [(4, 8), (8, 16)], ["clusters 4+8", "clusters 8"]),
        (8 * ROWS_PER_CLUSTER - 1, [(4, 8), (8, 16)], ["clusters 4"]),
        (5 * ROWS_PER_CLUSTER, [(4, 8), (4, 16)], ["clusters 4"]),  # the same set only once
        (3 * ROWS_PER_CLUSTER, [(4, 8)], []),
    ],
)
def test_granularities_need_enough_rows(
    rows: int, granularities: list[tuple[int, ...]], names: list[str]
) -> None:
    found = [tagging.name for tagging in cluster_tags(points(rows), granularities, seed=0)]
    assert sorted(found) == names


def two_heaps() -> tuple[FloatArray, list[list[str]]]:
    """12 queries near e0 tagged 'left', 12 near e1 tagged 'right' and 'both', one more each."""
    random = np.random.default_rng(0)
    near = np.repeat(np.eye(4)[:2], 13, axis=0) + 0.05 * random.normal(size=(26, 4))
    embeddings = near / np.linalg.norm(near, axis=1, keepdims=True)
    tags = [["left"]] * 12 + [[]] + [["right", "both"]] * 12 + [["seldom"]]
    return embeddings.astype(np.float32), tags


def test_given_tags_reach_untagged_queries_from_their_neighbours() -> None:
    embeddings, tags = two_heaps()
    tagging = given_tags(embeddings, tags)
    assert tagging is not None
    assert tagging.name == "given"
    assert tagging.assignment.names == ["both", "left", "right"]  # 'seldom' has one query
    assert tags_of(tagging, 0) == {"left"}
    assert tags_of(tagging, 13) == {"right", "both"}
    # 12 of the 16 neighbours of either newcomer are of its own heap, four of the other
    assert "left" in tags_of(tagging, 12)
    assert {"right", "both"} <= tags_of(tagging, 25)
    similar = tagging.centroids @ embeddings[12]
    assert tagging.assignment.names[int(similar.argmax())] == "left"


@pytest.mark.parametrize("tags", [[[]] * 30, [[f"tag {i % 10}"] for i in range(30)]])
def test_no_tag_with_support_is_none(tags: list[list[str]]) -> None:
    assert given_tags(points(30), tags) is None
