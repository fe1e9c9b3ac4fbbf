"""The tag index against brute force in numpy, its files, and damaged ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import units
from zooter_lite.errors import RouterError
from zooter_lite.router.tags import TagIndex

FloatArray = NDArray[np.float32]
NAN = float("nan")
DIM, N = 5, 40
NAMES = ["a", "b", "c"]
TAGS = [[[0], [1], [0, 2], [], [2, 1]][i % 5] for i in range(N)]
TAGGED = [i for i in range(N) if TAGS[i]]


def points(n: int, seed: int) -> FloatArray:
    return units(n, DIM, seed).astype(np.float32)


def rewards() -> NDArray[np.float64]:
    values = np.random.default_rng(1).random((N, 2))
    values[::3, 0] = NAN
    return values


@pytest.fixture(scope="module")
def index() -> TagIndex:
    return TagIndex.build(points(N, 0), NAMES, TAGS, rewards())


def test_support_and_means_against_loops(index: TagIndex) -> None:
    for tag in range(3):
        rows = [i for i in range(N) if tag in TAGS[i]]
        assert index.support[tag] == len(rows)
        expected = np.nanmean(rewards()[rows], axis=0)
        np.testing.assert_allclose(index.mean_rewards[tag], expected)
    assert index.query_tags == [tags for tags in TAGS if tags]


def test_a_tag_whose_rewards_were_never_observed_is_nan() -> None:
    values = np.array([[1.0, NAN], [0.0, 0.5]])
    index = TagIndex.build(points(2, 0), ["x", "y"], [[0], [1]], values)
    np.testing.assert_array_equal(index.mean_rewards, [[1.0, NAN], [0.0, 0.5]])


@pytest.mark.parametrize("k", [1, 7, 10_000])
def test_search_is_brute_force_over_the_tagged_queries(index: TagIndex, k: int) -> None:
    queries = points(6, 9)
    similarity = queries @ points(N, 0)[TAGGED].T
    order = np.argsort(-similarity, axis=1)[:, :k]
    found, positions = index.search(queries, k)
    np.testing.assert_array_equal(positions, order)
    np.testing.assert_allclose(found, np.take_along_axis(similarity, order, axis=1), atol=1e-6)


def test_nearest_tags_against_a_loop(index: TagIndex) -> None:
    queries = points(6, 9)
    similarity = queries @ points(N, 0)[TAGGED].T
    for row, found in enumerate(index.nearest_tags(queries, k=8, top=2)):
        nearest = np.argsort(-similarity[row])[:8]
        positive = np.maximum(similarity[row][nearest], 1e-6)
        weights = dict.fromkeys(NAMES, 0.0)
        for share, place in zip(positive / positive.sum(), nearest, strict=True):
            for tag in TAGS[TAGGED[place]]:
                weights[NAMES[tag]] += float(share)
        expected = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:2]
        assert [name for name, _ in found] == [name for name, _ in expected]
        assert [w for _, w in found] == pytest.approx([w for _, w in expected], abs=1e-5)


def test_distance_is_that_of_the_nearest(index: TagIndex) -> None:
    queries = np.concatenate([points(4, 9), points(N, 0)[[TAGGED[3]]]])
    expected = 1 - (queries @ points(N, 0)[TAGGED].T).max(axis=1)
    found = index.distance(queries)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert abs(found[-1]) < 1e-6 < found[:-1].min()


def test_files_round_trip(index: TagIndex) -> None:
    files = index.to_files()
    again = TagIndex.from_files(files["tags.json"], files["tags.faiss"], DIM, 2)
    assert (again.names, again.support, again.query_tags) == (
        NAMES,
        index.support,
        index.query_tags,
    )
    np.testing.assert_allclose(again.mean_rewards, index.mean_rewards, atol=1e-6)
    queries = points(6, 9)
    for found, expected in zip(again.search(queries, 9), index.search(queries, 9), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert again.to_files() == files


def test_an_unobserved_mean_survives_the_files() -> None:
    index = TagIndex.build(points(1, 0), ["標"], [[0]], np.array([[0.5, NAN]]))
    files = index.to_files()
    json.loads(files["tags.json"], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = TagIndex.from_files(files["tags.json"], files["tags.faiss"], DIM, 2)
    assert again.names == ["標"]
    np.testing.assert_array_equal(again.mean_rewards, [[0.5, NAN]])


def faiss_file(index: TagIndex) -> bytes:
    return index.to_files()["tags.faiss"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"IxF2" + content[4:],  # another kind of index
        lambda content: b"IwPQ" + content[4:],
        lambda content: content[:4] + struct.pack("<i", DIM + 1) + content[8:],
        lambda content: content[:4] + struct.pack("<i", -DIM) + content[8:],
        lambda content: content[:8] + struct.pack("<q", 2**40) + content[16:],
        lambda content: content[:32] + b"\0" + content[33:],  # not trained
        lambda content: content[:33] + struct.pack("<i", 1) + content[37:],  # L2 distance
        lambda content: content[:33] + struct.pack("<i", 99) + content[37:],
        lambda content: content[:37] + struct.pack("<Q", 2**61) + content[45:],
    ],
)
def test_a_damaged_faiss_file_is_refused_before_faiss_reads_it(
    index: TagIndex, damage: Callable[[bytes], bytes]
) -> None:
    files = index.to_files()
    content = damage(files["tags.faiss"])
    assert content != files["tags.faiss"]
    with pytest.raises(
        RouterError, match=r"tags\.faiss is not an index of 32 vectors of 5 numbers"
    ):
        TagIndex.from_files(files["tags.json"], content, DIM, 2)


def test_the_faiss_file_must_fit_the_router_and_tags_json(index: TagIndex) -> None:
    files = index.to_files()
    with pytest.raises(RouterError, match=f"{len(TAGGED)} vectors of {DIM + 1} numbers"):
        TagIndex.from_files(files["tags.json"], files["tags.faiss"], DIM + 1, 2)
    fewer = json.loads(files["tags.json"])
    fewer["query_tags"].pop()
    with pytest.raises(RouterError, match=f"{len(TAGGED) - 1} vectors of {DIM} numbers"):
        TagIndex.from_files(json.dumps(fewer).encode(), files["tags.faiss"], DIM, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"query_tags": [[3], *TAGS[1:]]},
        {"query_tags": [[-1]]},
        {"query_tags": [[float("inf")]]},
        {"query_tags": [["x"]]},
        {"query_tags": 7},
        {"query_tags": [7]},
        {"names": ["a", "b"]},
        {"names": None},
        {"support": [1, 2]},
        {"mean_rewards": [[0.1, 0.2]] * 2},
        {"mean_rewards": [[0.1]] * 3},
        {"mean_rewards": [[0.1, 0.2], [0.1], []]},
        {"mean_rewards": [["x", 0.2]] * 3},
        {"mean_rewards": {}},
    ],
)
def test_tags_json_that_does_not_fit_is_refused(index: TagIndex, change: dict[str, Any]) -> None:
    files = index.to_files()
    content = json.loads(files["tags.json"]) | change
    with pytest.raises(RouterError, match=r"tags\.json"):
        TagIndex.from_files(json.dumps(content).encode(), files["tags.faiss"], DIM, 2)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe\xfa", b"[" * 200_000]
)
def test_tags_json_that_is_no_such_json_is_refused(index: TagIndex, content: bytes) -> None:
    with pytest.raises(RouterError, match=r"tags\.json is not what a router holds"):
        TagIndex.from_files(content, faiss_file(index), DIM, 2)
