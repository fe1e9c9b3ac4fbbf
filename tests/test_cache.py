"""The embedding cache: what is encoded, how often, and what a later process finds."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.learn.cache import EmbeddingCache, default_cache

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
    cache = EmbeddingCache(tmp_path / "deep" / "er", "key")
    np.testing.assert_array_equal(cache.embed(texts, first, 3), expected(texts))
    assert first.seen == Counter(dict.fromkeys(texts, 1))
    cache.close()
    again = Encode()
    reopened = EmbeddingCache(tmp_path / "deep" / "er", "key")
    found = reopened.embed([*texts, "new"], again, 3)
    np.testing.assert_array_equal(found, expected([*texts, "new"]))
    assert found.dtype == np.float32
    assert again.seen == Counter({"new": 1})


def test_work_that_failed_in_the_middle_goes_on_where_it_stopped(tmp_path: Path) -> None:
    texts = [f"text {i:04}" for i in range(700)]
    failing, rest = Encode(fails_at=2), Encode()
    with pytest.raises(RuntimeError, match="killed"):
        EmbeddingCache(tmp_path, "key").embed(texts, failing, 3)
    done = len(failing.seen)
    assert 0 < done < len(texts)
    found = EmbeddingCache(tmp_path, "key").embed(texts, rest, 3)
    np.testing.assert_array_equal(found, expected(texts))
    assert set(rest.seen).isdisjoint(failing.seen)
    assert len(rest.seen) == len(texts) - done


def test_two_encoders_do_not_mix(tmp_path: Path) -> None:
    texts = ["a", "b"]
    for key, scale in (("one", 1.0), ("two", 2.0)):
        EmbeddingCache(tmp_path, key).embed(texts, Encode(scale), 3)
    for key, scale in (("one", 1.0), ("two", 2.0)):
        kept = EmbeddingCache(tmp_path, key).embed(texts, Encode(99.0), 3)
        np.testing.assert_array_equal(kept, expected(texts, scale))
    # the key and the text do not run into each other
    longer = EmbeddingCache(tmp_path, "on").embed(["ea"], Encode(3.0), 3)
    np.testing.assert_array_equal(longer, expected(["ea"], 3.0))


def test_progress_adds_up_to_the_distinct_texts(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "key")
    cache.embed(["a", "b"], Encode(), 3)
    steps: list[int] = []
    cache.embed(["a", "b", "a", *map(str, range(600))], Encode(), 3, steps.append)
    assert steps[0] == 2
    assert sum(steps) == 602


def test_no_text_gives_no_rows(tmp_path: Path) -> None:
    assert EmbeddingCache(tmp_path, "key").embed([], Encode(), 3).shape == (0, 3)


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_file_that_is_no_cache_is_one_clean_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "embeddings.sqlite").write_bytes(content)
    with pytest.raises(DataError, match=r"embeddings\.sqlite: cannot be used as a cache"):
        EmbeddingCache(tmp_path, "key")


def test_damaged_pages_are_one_clean_error(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(500)]
    cache = EmbeddingCache(tmp_path, "key")
    cache.embed(texts, Encode(), 3)
    cache.close()
    file = tmp_path / "embeddings.sqlite"
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xee" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be"):
        EmbeddingCache(tmp_path, "key").embed(texts, Encode(), 3)


def test_another_table_of_that_name_is_one_clean_error(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "embeddings.sqlite")
    database.execute("CREATE TABLE embedding (other TEXT)")
    database.close()
    with pytest.raises(DataError, match="cannot be read"):
        EmbeddingCache(tmp_path, "key").embed(["a"], Encode(), 3)


def test_a_folder_that_is_a_file_is_one_clean_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used as a cache"):
        EmbeddingCache(tmp_path / "file", "key")


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
