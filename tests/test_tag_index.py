"""The tag index against brute force in numpy, its files, and damaged ones."""

from __future__ import annotations

import gc
import json
import mmap
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import units
from zooter_lite.errors import RouterError
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.tags.index import TagIndex, build_index
from zooter_lite.tags.tagging import tags_by_neighbours
from zooter_lite.untrusted import typed_json

FloatArray = NDArray[np.float32]
NAN = float("nan")
DIM, N = 5, 40
NAMES = ["a", "b", "c"]
TAGS = [[[0], [1], [0, 2], [], [1, 2]][i % 5] for i in range(N)]
TAGGED = [i for i in range(N) if TAGS[i]]


def points(n: int, seed: int) -> FloatArray:
    return units(n, DIM, seed).astype(np.float32)


def rewards() -> NDArray[np.float64]:
    values = np.random.default_rng(1).random((N, 2))
    values[::3, 0] = NAN
    return values


@pytest.fixture(scope="module")
def index() -> TagIndex:
    lists = [[NAMES[tag] for tag in tags] for tags in TAGS]
    return TagIndex.build(points(N, 0), TagAssignment.from_lists(lists), rewards())


def test_support_and_means_against_loops(index: TagIndex) -> None:
    for tag in range(3):
        rows = [i for i in range(N) if tag in TAGS[i]]
        assert index.support[tag] == len(rows)
        expected = np.nanmean(rewards()[rows], axis=0)
        np.testing.assert_allclose(index.mean_rewards[tag], expected)
        assert index.observed[tag].tolist() == (~np.isnan(rewards()[rows])).sum(axis=0).tolist()
    assert index.query_tags == [tags for tags in TAGS if tags]


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
    means = index.mean_rewards.copy()
    means[0, 1] = NAN  # never observed
    index = replace(index, mean_rewards=means)
    files = index.to_files()
    json.loads(files["tags.json"], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = TagIndex.from_files(files["tags.json"], files["tags.faiss"], DIM, 2)
    assert (again.names, again.support) == (NAMES, index.support)
    assert again.query_tags == index.query_tags
    np.testing.assert_allclose(again.mean_rewards, means, atol=1e-6)
    np.testing.assert_array_equal(again.observed, index.observed)
    queries = points(6, 9)
    for found, expected in zip(again.search(queries, 9), index.search(queries, 9), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert again.to_files() == files


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"IwPQ" + content[4:],  # another kind of index
        lambda content: content[:4] + struct.pack("<i", DIM + 1) + content[8:],
        lambda content: content[:32] + b"\0" + content[33:],  # not trained
        lambda content: content[:33] + struct.pack("<i", 1) + content[37:],  # L2 distance
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


@pytest.mark.parametrize(
    "change",
    [
        {"query_tags": [[3], *TAGS[1:]]},
        {"query_tags": [[0]] * (len(TAGGED) - 1)},  # fewer than tags.faiss has
        {"query_tags": [["x"]]},
        {"query_tags": [7]},
        {"names": ["a", "b"]},
        {"mean_rewards": [[0.1]] * 3},
        {"mean_rewards": [["x", 0.2]] * 3},
    ],
)
def test_tags_json_that_does_not_fit_is_refused(index: TagIndex, change: dict[str, Any]) -> None:
    files = index.to_files()
    content = json.loads(files["tags.json"]) | change
    with pytest.raises(RouterError, match=r"tags\.(json|faiss is not an index of 31)"):
        TagIndex.from_files(json.dumps(content).encode(), files["tags.faiss"], DIM, 2)


N_MANY, DIM_MANY = 3_000, 16


def clumps(n: int, seed: int) -> FloatArray:
    """Unit vectors around 40 centres, as queries lie around topics: (n, DIM_MANY)."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(40, DIM_MANY))
    values = centres[random.integers(40, size=n)] + random.normal(size=(n, DIM_MANY))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)


def large_index() -> TagIndex:
    """Build a tag index of an inverted file."""
    index, choice = build_index(clumps(N_MANY, 1), 100)
    assert (choice.kind, choice.probes) == ("IVF64,SQ8", 16)
    tags = [[i % 3] for i in range(N_MANY)]
    support = [N_MANY // 3] * 3
    observed = np.full((3, 2), N_MANY // 3)
    return TagIndex(NAMES, support, np.full((3, 2), 0.5), tags, index, observed, choice)


def test_an_inverted_file_finds_the_neighbours_that_it_promises() -> None:
    index = large_index()
    queries, rows = clumps(400, 2), clumps(N_MANY, 1)
    similarity = queries @ rows.T
    limits = np.sort(similarity, axis=1)[:, -16]
    _, positions = index.search(queries, 16)
    found = np.take_along_axis(similarity, positions, axis=1)
    recall = float((found >= limits[:, None] - 1e-6).mean())
    assert recall >= 0.95
    assert index.choice.recall == pytest.approx(recall, abs=0.03)
    told, same = index.search(rows[::100], 1)
    np.testing.assert_array_equal(same[:, 0], np.arange(0, N_MANY, 100))
    np.testing.assert_allclose(told, 1.0, atol=index.choice.error + 1e-6)
    assert len(index.to_files()["tags.faiss"]) < 2 * N_MANY * DIM_MANY  # a byte for a number, ids


def test_gpus_learn_the_lists_and_search_at_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is here: what would lie on them is a copy that counts what it is asked."""
    known, queries = points(600, 0), points(50, 1)
    tags = TagAssignment.from_lists([[NAMES[row % 3]] for row in range(600)])
    expected = tags_by_neighbours(known, tags, queries)
    alone, choice = build_index(known, flat_up_to=500)
    copied = list[Any]()

    def copy(index: Any) -> Any:
        copied.append(faiss.clone_index(index))
        return copied[-1]

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", copy)
    again, told = build_index(known, flat_up_to=500)
    assert told == choice
    assert copied[0].ntotal == again.nlist  # the centroids were learned there
    np.testing.assert_array_equal(faiss.serialize_index(again), faiss.serialize_index(alone))
    assert tags_by_neighbours(known, tags, queries) == expected
    assert copied[1].ntotal == 600


def test_the_same_rows_give_the_same_file_and_the_mapped_file_the_same_answers(
    tmp_path: Path,
) -> None:
    index = large_index()
    files = index.to_files()
    assert large_index().to_files() == files
    (tmp_path / "tags.faiss").write_bytes(files["tags.faiss"])
    with (tmp_path / "tags.faiss").open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    again = TagIndex.from_files(files["tags.json"], content, DIM_MANY, 2)
    del content  # the index itself keeps it
    gc.collect()
    assert again.choice == index.choice
    assert again.to_files() == files
    queries = clumps(50, 3)
    for found, expected in zip(again.search(queries, 9), index.search(queries, 9), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_index_of_not_a_number_finds_nothing_and_says_so(index: TagIndex) -> None:
    files = index.to_files()
    content = files["tags.faiss"][:45] + b"\xff" * (4 * DIM * len(TAGGED))
    again = TagIndex.from_files(files["tags.json"], content, DIM, 2)
    assert again.nearest_tags(points(2, 0)) == [[], []]


@pytest.mark.parametrize("probes", [0, 65])
def test_probes_that_the_index_lacks_are_refused(probes: int) -> None:
    files = large_index().to_files()
    content = json.loads(files["tags.json"])
    content["index"]["probes"] = probes
    with pytest.raises(RouterError, match=f"{probes} probes of an index of 64 lists"):
        TagIndex.from_files(json.dumps(content).encode(), files["tags.faiss"], DIM_MANY, 2)


@pytest.mark.parametrize("sign", [b"[],", b"{},", b"1,"])
def test_json_that_would_fill_the_memory_is_refused(
    sign: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed_json, "MAX_JSON_MEMORY", 2**20)
    content = b"[" + sign * (2**20 // 40) + b"1]"
    with pytest.raises(RouterError, match=r"x\.json would take more than 1 MiB"):
        typed_json.parse_json("x.json", content)


@pytest.mark.slow
@pytest.mark.parametrize("inverted", [True, False])
def test_hostile_bytes_are_refused_or_harmless(inverted: bool, index: TagIndex) -> None:
    index = large_index() if inverted else index
    tags, whole = index.to_files().values()
    dim, rows = index.index.d, index.index.ntotal
    numbers = (0, 1, 255, dim + 1, rows + 1, 2**31 - 1, 2**31, 2**40, 2**62, 2**63, 2**64 - 1)
    pick, refused = random.Random(0), 0
    for _ in range(200):
        # fields stand at the front, and before and after the centroids and the list sizes
        place = pick.choice((pick.randrange(200), pick.randrange(len(whole))))
        old, new = pick.choice(
            (
                (1, bytes([whole[place] ^ 1 << pick.randrange(8)])),
                (8, struct.pack("<Q", pick.choice(numbers))),
                (4, struct.pack("<Q", pick.choice(numbers))[:4]),
                (pick.choice((1, 8, 1000)), b""),
                (0, bytes(pick.choice((1, 8, 1000)))),
            )
        )
        try:
            again = TagIndex.from_files(tags, whole[:place] + new + whole[place + old :], dim, 2)
            again.nearest_tags(np.eye(dim, dtype=np.float32))
            again.distance(np.eye(dim, dtype=np.float32))
        except RouterError:
            refused += 1
    assert refused > 50
