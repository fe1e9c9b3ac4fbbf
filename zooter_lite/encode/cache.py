"""Embeddings on disk, one per (encoder, text), mapped into memory.

Every finished chunk is kept, so work that was killed goes on where it stopped; several
processes may share the folder; nothing is unpickled. What an earlier release has left in
embeddings.sqlite is found, too, and is never written to.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.vectors import KEY, FloatArray, Keys, VectorStore
from zooter_lite.errors import DataError

FOLDER = "embeddings"
EARLIER = "embeddings.sqlite"
_CHUNK = 256


def default_cache() -> Path:
    """$ZOOTER_CACHE, or zooter-lite under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("ZOOTER_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "zooter-lite"


def is_cache(folder: Path) -> bool:
    """Whether the folder holds embeddings."""
    return (folder / FOLDER).is_dir() or (folder / EARLIER).is_file()


class EmbeddingCache:
    """Embeddings by text, of one encoder.

    Parameters
    ----------
    folder
        Made where it is missing; the files lie in its folder "embeddings".
    encoder_key
        Names the encoder's weights and settings.
    dim
        Numbers per embedding.

    Raises
    ------
    DataError
        The folder cannot be written; and later, where a file cannot be read.
    """

    def __init__(self, folder: Path, encoder_key: str, dim: int) -> None:
        self._prefix = encoder_key.encode() + b"\0"
        self._dim = dim
        name = f"{hashlib.sha256(self._prefix).hexdigest()[:32]}-{dim}"
        self._store = VectorStore(folder / FOLDER, name, dim)
        self._earlier = folder / EARLIER

    def embed(
        self,
        texts: Sequence[str],
        encode: Callable[[Sequence[str]], FloatArray],
        progress: Callable[[int], object] = lambda _: None,
    ) -> FloatArray:
        """Return (len(texts), dim) embeddings; `encode` is called for the unknown texts only.

        Each distinct text is encoded once, in chunks of texts of similar length.
        `progress` is called with the number of distinct texts done since the last call.
        Large results are mapped from disk (`VectorStore.read`).
        """
        keys, first, place = np.unique(self._keys(texts), return_index=True, return_inverse=True)
        unknown = np.flatnonzero(self._find(keys) < 0)
        progress(len(keys) - len(unknown))
        for chunk in _chunks(texts, first[unknown]):
            fresh = encode([texts[row] for row in chunk])
            self._store.append(keys[place[chunk]], fresh)
            progress(len(chunk))
        return self._store.read(self._store.find(keys)[place])

    def find(self, texts: Sequence[str]) -> tuple[NDArray[np.bool_], FloatArray]:
        """Tell which texts are known: (len(texts),), and their embeddings (n_known, dim)."""
        rows = self._find(self._keys(texts))
        return rows >= 0, self._store.read(rows[rows >= 0])

    def _keys(self, texts: Sequence[str]) -> Keys:
        digests = (
            hashlib.sha256(self._prefix + text.encode("utf-8", "surrogatepass")).digest()
            for text in texts
        )
        return np.fromiter(digests, dtype=KEY, count=len(texts))

    def _find(self, keys: Keys) -> NDArray[np.int64]:
        """Rows of the store, after copying to it what only an earlier release has kept."""
        rows = self._store.find(keys)
        if (rows >= 0).all() or not self._earlier.is_file():
            return rows
        for found, vectors in self._kept_earlier(np.unique(keys[rows < 0])):
            self._store.append(found, vectors)
        return self._store.find(keys)

    def _kept_earlier(self, keys: Keys) -> Iterator[tuple[Keys, FloatArray]]:
        """Keys and vectors of embeddings.sqlite, some at a time."""
        address = f"{self._earlier.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(address, timeout=60, uri=True)) as database:
                for start in range(0, len(keys), _CHUNK):
                    part = [key.ljust(KEY.itemsize, b"\0") for key in keys[start : start + _CHUNK]]
                    marks = ",".join("?" * len(part))
                    query = f"SELECT key, vector FROM embedding WHERE key IN ({marks})"
                    found = database.execute(query, part).fetchall()
                    kept = [pair for pair in found if len(pair[1]) == 4 * self._dim]
                    if kept:
                        vectors = np.frombuffer(b"".join(v for _, v in kept), dtype=np.float32)
                        yield (
                            np.asarray([key for key, _ in kept], dtype=KEY),
                            vectors.reshape(-1, self._dim),
                        )
        except sqlite3.Error as error:
            raise DataError(
                f"{self._earlier}: cannot be read ({error}); "
                "without that file, its embeddings are made anew"
            ) from error


def _chunks(texts: Sequence[str], rows: NDArray[np.int64]) -> Iterator[list[int]]:
    """Rows by ascending length of their text, equal lengths by the text itself."""
    lengths = np.fromiter((len(texts[row]) for row in rows), dtype=np.int64, count=len(rows))
    order = np.argsort(lengths, kind="stable")
    ends = np.flatnonzero(np.diff(lengths[order])) + 1
    chunk: list[int] = []
    for group in np.split(rows[order], ends):
        for row in sorted(group.tolist(), key=texts.__getitem__):
            chunk.append(row)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    if chunk:
        yield chunk
