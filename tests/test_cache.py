"""The embedding cache: what is encoded, how often, and what a later process finds."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from zooter_lite.encode.cache import EmbeddingCache, default_cache, is_cache
from zooter_lite.errors import DataError

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


def test_progress_adds_up_to_the_distinct_texts(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "key", 3)
    cache.embed(["a", "b"], Encode())
    steps: list[int] = []
    cache.embed(["a", "b", "a", *map(str, range(600))], Encode(), steps.append)
    assert steps[0] == 2
    assert sum(steps) == 602


def test_no_text_gives_no_rows(tmp_path: Path) -> None:
    assert EmbeddingCache(tmp_path, "key", 3).embed([], Encode()).shape == (0, 3)


def earlier(folder: Path, key: str, texts: list[str], cut: int = 12) -> Path:
    """Write embeddings.sqlite as release 0.1.0 did, every vector cut to so many bytes."""
    file = folder / "embeddings.sqlite"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE embedding (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
        for text in texts:
            digest = hashlib.sha256(f"{key}\0{text}".encode()).digest()
            vector = value_of(text, 5.0).tobytes()[:cut]
            database.execute("INSERT INTO embedding VALUES (?, ?)", (digest, vector))
    return file


def test_what_an_earlier_release_kept_is_found_and_its_file_left_alone(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(600)]
    file = earlier(tmp_path, "key", texts)
    before = file.read_bytes()
    rest = Encode(7.0)
    for _ in range(2):
        found = EmbeddingCache(tmp_path, "key", 3).embed([*texts, "new"], rest)
        np.testing.assert_array_equal(found[:-1], expected(texts, 5.0))
        np.testing.assert_array_equal(found[-1], value_of("new", 7.0))
    assert rest.seen == Counter({"new": 1})
    known, vectors = EmbeddingCache(tmp_path, "other", 3).find(texts)
    assert not known.any()
    assert vectors.shape == (0, 3)
    assert file.read_bytes() == before
    file.unlink()  # by now they stand in the new files
    assert EmbeddingCache(tmp_path, "key", 3).find(texts)[0].all()


def test_an_earlier_vector_of_another_length_is_made_anew(tmp_path: Path) -> None:
    earlier(tmp_path, "key", ["a"], cut=8)
    found = EmbeddingCache(tmp_path, "key", 3).embed(["a"], Encode(2.0))
    np.testing.assert_array_equal(found, expected(["a"], 2.0))


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_an_earlier_file_that_is_no_cache_is_one_clean_error(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "embeddings.sqlite").write_bytes(content)
    with pytest.raises(DataError, match=r"embeddings\.sqlite: cannot be read .* made anew"):
        EmbeddingCache(tmp_path, "key", 3).embed(["a"], Encode())


def test_another_table_of_that_name_is_one_clean_error(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "embeddings.sqlite")) as database:
        database.execute("CREATE TABLE embedding (other TEXT)")
    with pytest.raises(DataError, match="cannot be read"):
        EmbeddingCache(tmp_path, "key", 3).embed(["a"], Encode())


def test_texts_are_encoded_by_length_and_then_by_themselves(tmp_path: Path) -> None:
    order: list[str] = []

    def encode(texts: Sequence[str]) -> FloatArray:
        order.extend(texts)
        return expected(list(texts))

    EmbeddingCache(tmp_path, "key", 3).embed(["ccc", "b", "aaa", "", "a", "b"], encode)
    assert order == ["", "a", "b", "aaa", "ccc"]


def test_is_cache(tmp_path: Path) -> None:
    assert not is_cache(tmp_path)
    EmbeddingCache(tmp_path, "key", 3)
    assert is_cache(tmp_path)
    (tmp_path / "other").mkdir()
    earlier(tmp_path / "other", "key", ["a"])
    assert is_cache(tmp_path / "other")


def test_a_folder_that_is_a_file_is_one_clean_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used as a cache"):
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
