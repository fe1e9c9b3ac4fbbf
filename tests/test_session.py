"""Text in, arrays out: the toy graph against its numpy twin."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.helpers import DIM, WORDS, toy_embedding, toy_encoder
from zooter_lite.errors import RouterError
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


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33])
def test_a_text_alone_gives_what_it_gives_among_others(session: TextSession, n: int) -> None:
    queries = texts(n)
    among = embed(session, queries)
    for query, row in zip(queries, among, strict=True):
        np.testing.assert_allclose(embed(session, [query])[0], row, atol=1e-5)


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


def test_duplicates_give_equal_rows(session: TextSession) -> None:
    rows = embed(session, ["one two", "three", "one two"])
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)


def test_no_texts_no_rows(session: TextSession) -> None:
    (found,) = session.run([], ["unit"])
    assert len(found) == 0


def test_progress_adds_up(session: TextSession) -> None:
    for n in (1, 300):
        steps: list[int] = []
        session.run(texts(n), ["unit"], steps.append)
        assert sum(steps) == n


def test_eight_threads_get_what_one_gets(session: TextSession) -> None:
    parts = [texts(60, seed) for seed in range(24)]
    alone = [embed(session, part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda part: embed(session, part), parts))
    assert together == alone


def test_a_graph_or_tokenizer_that_is_none_is_one_clean_error() -> None:
    encoder = toy_encoder()
    for graph in (b"", b"no graph", encoder.graph[: len(encoder.graph) // 2]):
        with pytest.raises(RouterError, match="onnxruntime cannot load the graph"):
            TextSession(graph, encoder.tokenizer, 16)
    for tokenizer in ("", "{}", '{"version": "1.0"}', "[" * 100_000):
        with pytest.raises(RouterError, match=r"tokenizer\.json cannot be read"):
            TextSession(encoder.graph, tokenizer, 16)


def test_a_graph_with_other_inputs_is_refused() -> None:
    encoder = toy_encoder()
    renamed = encoder.graph.replace(b"attention_mask", b"attention_musk")
    with pytest.raises(RouterError, match="attention_musk"):
        TextSession(renamed, encoder.tokenizer, 16)


def test_outputs_and_width() -> None:
    session = toy_encoder().session()
    assert list(session.widths) == ["unit"]
    assert session.run(["one", "two"], ["unit"])[0].shape == (2, DIM)
