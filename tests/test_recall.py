"""Remembered embeddings in evaluation: found by text, checked against the graph, else ignored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import Command
from tests.helpers import EXPERTS, table, toy_embedding, toy_encoder, toy_router
from zooter_lite.compare.rows import outputs_of
from zooter_lite.encode.cache import EmbeddingCache
from zooter_lite.encode.recall import recall
from zooter_lite.router.router import Router

QUERIES = ["one two", "three", "four five six", "seven"]
ROWS = np.arange(4)


def kept(folder: Path, queries: list[str], shift: float = 0.0) -> None:
    """Put the toy encoder's embeddings into a cache, rotated a little by `shift`."""
    encoder = toy_encoder()
    store = EmbeddingCache(folder, encoder.spec.cache_key, encoder.spec.dim)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.stack([toy_embedding(text) for text in texts]) + shift
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    store.embed(queries, encode)


@pytest.fixture
def router(tmp_path: Path) -> Router:
    toy_router(tmp_path / "router")
    return Router.load(tmp_path / "router")


def test_find_tells_known_texts_and_gives_their_vectors(tmp_path: Path) -> None:
    kept(tmp_path, QUERIES[:2])
    store = EmbeddingCache(tmp_path, toy_encoder().spec.cache_key, 6)
    known, found = store.find([QUERIES[2], QUERIES[1], QUERIES[1], QUERIES[0]])
    assert known.tolist() == [False, True, True, True]
    expected = [toy_embedding(QUERIES[i]) for i in (1, 1, 0)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n_kept", [0, 3, 4])
def test_outputs_are_those_of_the_graph(tmp_path: Path, router: Router, n_kept: int) -> None:
    kept(tmp_path, QUERIES[:n_kept])
    rows = table(np.zeros((4, len(EXPERTS))), queries=QUERIES)
    found = outputs_of(router, rows, [ROWS[1:], ROWS[:3]], recall(tmp_path))
    probs, embeddings = router.embed(QUERIES)
    np.testing.assert_allclose(found[0], probs, atol=1e-5)
    np.testing.assert_allclose(found[1], embeddings, atol=1e-6)
    part, _ = outputs_of(router, rows, [ROWS[2:3]], recall(tmp_path))
    np.testing.assert_allclose(part[2], probs[2], atol=1e-5)
    assert not part[[0, 1, 3]].any()


def test_what_the_graph_does_not_find_is_not_believed(tmp_path: Path, router: Router) -> None:
    kept(tmp_path, QUERIES, shift=0.2)
    rows = table(np.zeros((4, len(EXPERTS))), queries=QUERIES)
    probs, _ = outputs_of(router, rows, [ROWS], recall(tmp_path))
    np.testing.assert_array_equal(probs, router.embed(QUERIES)[0])


def test_no_cache_is_no_recall(tmp_path: Path) -> None:
    assert recall(tmp_path) is None


def test_the_command_finds_the_same_with_and_without_the_cache(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    sample = Path(__file__).parents[1] / "zooter_lite/table/sample.jsonl.gz"
    found = []
    for place, options in enumerate(([], ["--cache", "none"])):
        file = tmp_path / f"{place}.json"
        arguments = ["--router", router_path, "--data", sample, "--split", "shift", *options]
        done = command("evaluate", *arguments, "--json", file)
        assert done.returncode == 0, done.stderr
        (one,) = json.loads(file.read_text("utf-8"))["slices"]
        found.append(one)
    assert found[0]["shares"] == found[1]["shares"]
    assert found[0]["systems"] == found[1]["systems"]
