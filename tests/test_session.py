"""Text in, arrays out: the toy graph against its numpy twin."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import WORDS, toy_embedding, toy_encoder
from tests.tiny_encoders import MAX_LENGTH, save_tiny
from zooter_lite.encode.load import load_encoder
from zooter_lite.errors import RouterError
from zooter_lite.router import session as session_module
from zooter_lite.router.router import Router
from zooter_lite.router.session import TOKENS_PER_BATCH, TextSession


def texts(n: int, seed: int = 0) -> list[str]:
    """Texts of 0 to 30 words, in no order of length."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS[4:], size=random.integers(0, 31))) for _ in range(n)]


@pytest.fixture(scope="module")
def session() -> TextSession:
    return toy_encoder().session()


def embed(session: TextSession, queries: list[str]) -> list[list[float]]:
    (found,) = session.run(queries, ["unit"])
    assert found.dtype == np.float32
    return list(found.tolist())


def test_results_are_the_numpy_twins_in_the_order_of_the_texts(session: TextSession) -> None:
    queries = texts(300)
    assert sum(len(q.split()) for q in queries) > 2 * TOKENS_PER_BATCH  # several batches
    expected = [toy_embedding(query) for query in queries]
    np.testing.assert_allclose(embed(session, queries), expected, atol=1e-5)


def test_long_texts_are_truncated_at_max_length(session: TextSession) -> None:
    # 14 words fit beside [CLS] and [SEP]; what follows changes nothing
    fits = ["one"] * 13 + ["two"]
    rows = embed(session, [" ".join(fits), " ".join(fits + ["eight"] * 50_000), "one " * 13])
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[0], toy_embedding(" ".join(fits)), atol=1e-5)
    assert np.abs(np.subtract(rows[0], rows[2])).max() > 0.01


@pytest.mark.parametrize(
    ("odd", "same_as"),
    [("", "   "), ("\ud800", "?"), ("one \udfff two", "one ? two"), ("one\0two", "one\0two")],
)
def test_odd_texts(session: TextSession, odd: str, same_as: str) -> None:
    rows = embed(session, ["three four", odd, same_as])
    np.testing.assert_allclose(rows[1], rows[2], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(rows[0], toy_embedding("three four"), atol=1e-5)


def test_a_graph_that_is_none_is_one_clean_error() -> None:
    encoder = toy_encoder()
    for graph in (b"", b"no graph", encoder.graph[: len(encoder.graph) // 2]):
        with pytest.raises(RouterError, match="onnxruntime cannot load the graph"):
            TextSession(graph, encoder.tokenizer, 16)


def test_a_graph_with_other_inputs_is_refused() -> None:
    encoder = toy_encoder()
    renamed = encoder.graph.replace(b"attention_mask", b"attention_musk")
    with pytest.raises(RouterError, match="attention_musk"):
        TextSession(renamed, encoder.tokenizer, 16)


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_long_calls_give_the_same_whatever_runs_side_by_side(threads: int | None) -> None:
    encoder = toy_encoder()
    session = TextSession(encoder.graph, encoder.tokenizer, 16, threads, at_once=3)
    queries = texts(1000)  # more than 24 batches
    expected = [toy_embedding(query) for query in queries]
    np.testing.assert_allclose(embed(session, queries), expected, atol=1e-5)


def test_a_tokenizer_without_special_tokens_makes_nothing_of_the_empty_text(
    tmp_path: Path,
) -> None:
    save_tiny(tmp_path / "tiny", "mean")
    encoder = load_encoder(str(tmp_path / "tiny"), tmp_path / "cache")
    content = json.loads(encoder.tokenizer) | {"post_processor": None}
    session = TextSession(encoder.graph, json.dumps(content), MAX_LENGTH)
    assert len(session.tokens.many([""])[0]) == 0
    (alone,) = session.run([""], ["unit"])
    (among,) = session.run(["a cab", "", "face dab"], ["unit"])
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(among[1], alone[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(among[[0, 2]], axis=1), 1.0, atol=1e-5)
    (feed,) = session.feeds([""])
    assert feed["input_ids"].tolist() == feed["attention_mask"].tolist() == [[0]]


def check_exact(embed_all: Callable[[list[str]], NDArray[np.float32]], queries: list[str]) -> None:
    """A text gets the same bits in any order, among any others, alone."""
    dice = random.Random(4)
    whole = embed_all(queries)
    order = dice.sample(range(len(queries)), len(queries))
    np.testing.assert_array_equal(embed_all([queries[i] for i in order]), whole[order])
    for n in (1, 2, 7, 8, 9, 33):
        some = dice.sample(range(len(queries)), n)
        np.testing.assert_array_equal(embed_all([queries[i] for i in some]), whole[some])
    twice = embed_all([queries[3]] * 20)
    np.testing.assert_array_equal(twice, np.broadcast_to(whole[3], twice.shape))
    for i in dice.sample(range(len(queries)), 12):
        np.testing.assert_array_equal(embed_all([queries[i]])[0], whole[i])


def test_exact_batches_give_the_same_bits_whatever_comes_with_a_text() -> None:
    encoder = toy_encoder()
    session = TextSession(encoder.graph, encoder.tokenizer, 16, 1, exact=True)
    queries = texts(150)
    check_exact(lambda some: session.run(some, ["unit"])[0], queries)
    expected = [toy_embedding(query) for query in queries]
    np.testing.assert_allclose(session.run(queries, ["unit"])[0], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_exact_batches_of_the_router_of_the_sample(
    router_path: Path, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of its batches."""
    words = ["what", "is", "the", "capital", "of", "17", "(", "}", "é", "日本", "🙂"]
    dice = random.Random(7)
    queries = [" ".join(dice.choices(words, k=dice.choice((1, 5, 20, 60)))) for _ in range(45)]
    found = []
    for budget, at_once in ((TOKENS_PER_BATCH, 2), (session_module.STATIC_BUDGET, 1)):
        monkeypatch.setattr(session_module, "TOKENS_PER_BATCH", budget)
        router = Router.load(router_path, precision, 1, remember=0, exact=True, at_once=at_once)
        found.append(router.predict_proba(queries))
    np.testing.assert_array_equal(found[1], found[0])
    check_exact(router.predict_proba, queries)
    usual = Router.load(router_path, precision).predict_proba(queries)
    np.testing.assert_allclose(found[0], usual, atol=1e-5)


def test_a_device_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which providers a session would start with, also on a machine that has a GPU."""
    cuda, cpu = session_module.CUDA, session_module.CPU
    known = [cuda, cpu]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: known)
    assert session_module._providers(None) == session_module._providers("cuda") == [cuda, cpu]
    assert session_module._providers("cpu") == [cpu]
    known.remove(cuda)
    assert session_module._providers(None) == [cpu]
    with pytest.raises(RouterError, match="device cuda: onnxruntime has no CUDAExecutionProvider"):
        session_module._providers("cuda")
