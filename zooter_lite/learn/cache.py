"""Embeddings on disk, one row per (encoder, text), in SQLite.

Every finished chunk is committed, so work that was killed goes on where it stopped;
several processes may share the file; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError

FloatArray = NDArray[np.float32]
FILE = "embeddings.sqlite"
_CHUNK = 256
_SCHEMA = "CREATE TABLE IF NOT EXISTS embedding (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"


def default_cache() -> Path:
    """$ZOOTER_CACHE, or zooter-lite under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("ZOOTER_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "zooter-lite"


class EmbeddingCache:
    """Embeddings by (encoder, text).

    Parameters
    ----------
    folder
        Made where it is missing; the file is embeddings.sqlite.
    encoder_key
        Names the encoder's weights and settings; embeddings of one key share a length.

    Raises
    ------
    DataError
        The folder cannot be written, or the file is not an embedding cache.
    """

    def __init__(self, folder: Path, encoder_key: str) -> None:
        self._prefix = encoder_key.encode()
        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=60)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"{self._path}: cannot be used as a cache ({error})") from error

    def embed(
        self,
        texts: Sequence[str],
        encode: Callable[[Sequence[str]], FloatArray],
        dim: int,
        progress: Callable[[int], object] = lambda _: None,
    ) -> FloatArray:
        """Return (len(texts), dim) embeddings; `encode` is called for the unknown texts only.

        Each distinct text is encoded once, in chunks of texts of similar length.
        `progress` is called with the number of distinct texts done since the last call.
        """
        keys = [self._key(text) for text in texts]
        vectors = self._read(dict.fromkeys(keys))
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
        progress(len(set(keys)) - len(unknown))
        todo = sorted(unknown.items(), key=lambda item: (len(item[1]), item[1]))
        for start in range(0, len(todo), _CHUNK):
            chunk = todo[start : start + _CHUNK]
            fresh = encode([text for _, text in chunk])
            rows = [(key, row.tobytes()) for (key, _), row in zip(chunk, fresh, strict=True)]
            self._write(rows)
            vectors.update(rows)
            progress(len(chunk))
        result = np.empty((len(texts), dim), dtype=np.float32)
        for row, key in enumerate(keys):
            result[row] = np.frombuffer(vectors[key], dtype=np.float32)
        return result

    def find(self, texts: Sequence[str], dim: int) -> tuple[NDArray[np.bool_], FloatArray]:
        """Tell which texts are known: (len(texts),), and their embeddings (n_known, dim)."""
        keys = [self._key(text) for text in texts]
        vectors = self._read(dict.fromkeys(keys))
        known = np.asarray([key in vectors for key in keys], dtype=bool)
        found = np.empty((int(known.sum()), dim), dtype=np.float32)
        for row, place in enumerate(np.flatnonzero(known).tolist()):
            found[row] = np.frombuffer(vectors[keys[place]], dtype=np.float32)
        return known, found

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _key(self, text: str) -> bytes:
        content = self._prefix + b"\0" + text.encode("utf-8", "surrogatepass")
        return hashlib.sha256(content).digest()

    def _read(self, keys: dict[bytes, None]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        wanted = list(keys)
        try:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(part))
                found.update(
                    self._database.execute(
                        f"SELECT key, vector FROM embedding WHERE key IN ({marks})", part
                    )
                )
        except sqlite3.Error as error:
            raise DataError(f"{self._path}: cannot be read ({error})") from error
        return found

    def _write(self, rows: list[tuple[bytes, bytes]]) -> None:
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO embedding VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise DataError(f"{self._path}: cannot be written ({error})") from error
