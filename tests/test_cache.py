"""The cache: what is encoded, how often, what survives kills and damage, and what is recalled."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.helpers import (
    toy_config,
    toy_embedding,
    toy_encoder,
    toy_estimates,
    toy_files,
    toy_head,
)
from zooter_lite.compare.routed import outputs_of
from zooter_lite.encode import cache as module
from zooter_lite.encode.cache import EmbeddingCache, default_cache
from zooter_lite.encode.encoder import cache_key, recall
from zooter_lite.errors import DataError
from zooter_lite.router.directory.store import write_router
from zooter_lite.router.router import Router

FloatArray = NDArray[np.float32]
ODD = ["", " ", "\n", "a\0b", "a", "é", "e\u0301", "\ud800", "\udfff", "日本語", "😀", "x" * 10_000]


class Encode:
    """Counts the texts it is given; fails at the call of a given number."""

    def __init__(self, scale: float = 1.0, fails_at: int = -1) -> None:
        self.scale, self.fails_at, self.calls = scale, fails_at, 0
        self.seen: Counter[str] = Counter()

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        if self.calls == self.fails_at:
            raise RuntimeError("killed")
        self.calls += 1
        self.seen.update(texts)
        return np.stack([value_of(text, self.scale) for text in texts])


def value_of(text: str, scale: float = 1.0) -> FloatArray:
    codes = [ord(letter) for letter in text]
    return np.asarray([len(codes), sum(codes), scale], dtype=np.float32)


def expected(texts: list[str], scale: float = 1.0) -> FloatArray:
    return np.stack([value_of(text, scale) for text in texts])


def test_each_distinct_text_is_encoded_once_and_found_after_reopening(tmp_path: Path) -> None:
    texts = ["b", "a", "b", *ODD, "a"]
    first = Encode()
    cache = EmbeddingCache(tmp_path / "deep" / "er", "key", 3)
    np.testing.assert_array_equal(cache.embed(texts, first), expected(texts))
    assert first.seen == Counter(dict.fromkeys(texts, 1))
    again = Encode()
    reopened = EmbeddingCache(tmp_path / "deep" / "er", "key", 3)
    found = reopened.embed([*texts, "new"], again)
    np.testing.assert_array_equal(found, expected([*texts, "new"]))
    assert found.dtype == np.float32
    assert again.seen == Counter({"new": 1})


def test_work_that_failed_in_the_middle_goes_on_where_it_stopped(tmp_path: Path) -> None:
    texts = [f"text {i:04}" for i in range(700)]
    failing, rest = Encode(fails_at=2), Encode()
    with pytest.raises(RuntimeError, match="killed"):
        EmbeddingCache(tmp_path, "key", 3).embed(texts, failing)
    done = len(failing.seen)
    assert 0 < done < len(texts)
    found = EmbeddingCache(tmp_path, "key", 3).embed(texts, rest)
    np.testing.assert_array_equal(found, expected(texts))
    assert set(rest.seen).isdisjoint(failing.seen)
    assert len(rest.seen) == len(texts) - done


def test_two_encoders_do_not_mix(tmp_path: Path) -> None:
    texts = ["a", "b"]
    for key, scale in (("one", 1.0), ("two", 2.0)):
        EmbeddingCache(tmp_path, key, 3).embed(texts, Encode(scale))
    for key, scale in (("one", 1.0), ("two", 2.0)):
        kept = EmbeddingCache(tmp_path, key, 3).embed(texts, Encode(99.0))
        np.testing.assert_array_equal(kept, expected(texts, scale))
    # the key and the text do not run into each other
    longer = EmbeddingCache(tmp_path, "on", 3).embed(["ea"], Encode(3.0))
    np.testing.assert_array_equal(longer, expected(["ea"], 3.0))


def filled(folder: Path, n_rows: int) -> EmbeddingCache:
    cache = EmbeddingCache(folder, "key", 3)
    cache.embed(names(n_rows), Encode())
    return cache


def names(n_rows: int) -> list[str]:
    """Texts in the order in which they are written."""
    return [f"text {i:04}" for i in range(n_rows)]


def test_a_damaged_file_is_one_clean_error(tmp_path: Path) -> None:
    filled(tmp_path, 300)
    (file,) = (tmp_path / module.FOLDER).iterdir()
    for content in (b"nothing", file.read_bytes()[:5000]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"as a cache .*; delete the file") as own:
            EmbeddingCache(tmp_path, "key", 3).embed(names(300), Encode())
        assert "\n" not in str(own.value)


def test_large_results_are_mapped_and_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(tmp_path, 300)
    texts = [names(300)[i] for i in np.random.default_rng(0).permutation(300)]
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    known, mapped = cache.find(texts)
    assert known.all()
    np.testing.assert_array_equal(mapped, expected(texts))
    base: object = mapped
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert len(list((tmp_path / module.FOLDER).iterdir())) == 1  # the mapped file has no name


def test_writers_at_one_time_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from zooter_lite.encode.cache import EmbeddingCache\n"
        "cache = EmbeddingCache(Path(sys.argv[1]), 'key', 3)\nfirst = int(sys.argv[2])\n"
        "for n in range(first, first + 60):\n"
        "    cache.embed([str(n)], lambda _: np.full((1, 3), n, dtype=np.float32))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)], cwd=ROOT)
        for first in (0, 60)
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    known, vectors = EmbeddingCache(tmp_path, "key", 3).find([str(n) for n in range(120)])
    assert known.all()
    np.testing.assert_array_equal(vectors[:, 0], np.arange(120))


def test_a_folder_that_is_a_file_is_one_clean_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/embeddings: cannot be written"):
        EmbeddingCache(tmp_path / "file", "key", 3)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ZOOTER_CACHE": "chosen", "XDG_CACHE_HOME": "base"}, Path("chosen")),
        ({"ZOOTER_CACHE": "", "XDG_CACHE_HOME": "base"}, Path("base") / "zooter-lite"),
        ({"HOME": "home"}, Path("home") / ".cache" / "zooter-lite"),
    ],
)
def test_default_cache(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Path
) -> None:
    for name in ("ZOOTER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_cache() == expected


QUERIES = ["one two", "three", "four five six", "seven"]


def kept(folder: Path, queries: list[str], shift: float = 0.0) -> None:
    """Put the toy encoder's embeddings into a cache, rotated a little by `shift`."""
    encoder = toy_encoder()
    store = EmbeddingCache(folder, cache_key(encoder.spec), encoder.spec.dim)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.stack([toy_embedding(text) for text in texts]) + shift
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    store.embed(queries, encode)


@pytest.fixture
def router(tmp_path: Path) -> Router:
    head = toy_estimates(toy_head("prior"))
    write_router(tmp_path / "router", toy_config(head), toy_files(head), head)
    return Router.load(tmp_path / "router")


@pytest.mark.parametrize("n_kept", [0, 3])
def test_outputs_are_those_of_the_graph(tmp_path: Path, router: Router, n_kept: int) -> None:
    kept(tmp_path, QUERIES[:n_kept])
    predicted, embeddings = outputs_of(router, QUERIES, recall(tmp_path))
    expected, expected_embeddings = router.predict_and_embed(QUERIES)
    for name, values in vars(expected).items():
        np.testing.assert_allclose(getattr(predicted, name), values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(embeddings, expected_embeddings, atol=1e-6)


def test_what_the_graph_does_not_find_is_not_believed(tmp_path: Path, router: Router) -> None:
    kept(tmp_path, QUERIES, shift=0.2)
    predicted, _ = outputs_of(router, QUERIES, recall(tmp_path))
    np.testing.assert_array_equal(predicted.probs, router.embed(QUERIES)[0])
