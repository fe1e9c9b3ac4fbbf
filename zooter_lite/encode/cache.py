"""The cache: embeddings on disk, one SQLite file for each encoder, found by their texts.

Several processes may share it. A kill costs the chunk of texts that was being encoded.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.atomic import atomic_file

FloatArray = NDArray[np.float32]

FOLDER = "embeddings"
IN_MEMORY = 256 * 2**20  # bytes up to which embeddings are returned in plain memory
_CHUNK = 256  # texts encoded, or looked for, at a time
_PATIENCE = 60.0  # seconds to wait while another process writes
_OTHER = "name a folder by --cache or by the variable ZOOTER_CACHE"


def default_cache() -> Path:
    """$ZOOTER_CACHE, or zooter-lite under $XDG_CACHE_HOME or ~/.cache.

    Raises
    ------
    DataError
        None of them is set, and this user has no home directory.
    """
    chosen = os.environ.get("ZOOTER_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        if chosen:
            return Path(chosen).expanduser()
        return (Path(base) if base else Path.home() / ".cache") / "zooter-lite"
    except RuntimeError as error:
        raise DataError(f"this user has no home directory to keep a cache in; {_OTHER}") from error


def keep_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder of the cache; once the last is there, all are.

    Raises
    ------
    DataError
        The folder cannot be written.
    """
    _make(folder)
    for name, content in files.items():
        with atomic_file(folder / name) as partial:
            partial.write_bytes(content)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cache {folder}: cannot be written ({error.strerror}); {_OTHER}"
        ) from error


class EmbeddingCache:
    """Embeddings by text, of one encoder, in a file below `folder`, which is made if need be.

    `encoder_key` names the encoder's weights and settings. DataError where the folder or the
    file cannot be used, now or later.
    """

    def __init__(self, folder: Path, encoder_key: str, dim: int) -> None:
        self._dim = dim
        name = f"{hashlib.sha256(encoder_key.encode()).hexdigest()[:32]}-{dim}"
        self._file = folder / FOLDER / f"{name}.sqlite"
        _make(self._file.parent)
        with self._opened() as store:
            store.execute(
                "CREATE TABLE IF NOT EXISTS embeddings (text BLOB PRIMARY KEY, vector BLOB)"
            )

    def embed(
        self,
        texts: Sequence[str],
        encode: Callable[[Sequence[str]], FloatArray],
        progress: Callable[[int], object] = lambda _: None,
    ) -> FloatArray:
        """Return (len(texts), dim) embeddings; `encode` is called for the unknown texts only.

        Each distinct text is encoded once, in chunks of texts of similar length; every
        finished chunk is kept. `progress` is called with the number of distinct texts done
        since the last call. Results above `IN_MEMORY` are mapped from an unnamed file, which
        goes when the array does.
        """
        keys = list(map(_key, texts))
        places: dict[bytes, int] = {}  # not the texts, which may be read from disk one by one
        for place, key in enumerate(keys):
            places.setdefault(key, place)
        with self._opened() as store:
            known = _known(store, list(places))
            unknown = [place for key, place in places.items() if key not in known]
            progress(len(places) - len(unknown))
            # by length, equal lengths by the text itself
            unknown.sort(key=lambda place: (len(texts[place]), texts[place]))
            for start in range(0, len(unknown), _CHUNK):
                chunk = unknown[start : start + _CHUNK]
                vectors = np.asarray(encode([texts[place] for place in chunk]), dtype="<f4")
                pairs = zip(chunk, vectors, strict=True)
                rows = [(keys[place], vector.tobytes()) for place, vector in pairs]
                with store:
                    store.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", rows)
                progress(len(chunk))
            return self._read(store, keys)

    def find(self, texts: Sequence[str]) -> tuple[NDArray[np.bool_], FloatArray]:
        """Tell which texts are known: (len(texts),), and their embeddings (n_known, dim)."""
        keys = list(map(_key, texts))
        with self._opened() as store:
            found = _known(store, keys)
            known = [key in found for key in keys]
            return np.asarray(known, dtype=bool), self._read(store, list(compress(keys, known)))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._file, timeout=_PATIENCE)) as store:
                yield store
        except sqlite3.Error as error:
            raise DataError(
                f"{self._file}: cannot be used as a cache ({error}); delete the file, or {_OTHER}"
            ) from error

    def _read(self, store: sqlite3.Connection, keys: Sequence[bytes]) -> FloatArray:
        """(len(keys), dim) vectors of known texts."""
        shape = (len(keys), self._dim)
        if 4 * len(keys) * self._dim <= IN_MEMORY:
            result = np.empty(shape, dtype=np.float32)
        else:
            with tempfile.TemporaryFile(dir=self._file.parent) as file:
                result = np.asarray(np.memmap(file, np.float32, "w+", shape=shape))
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            vectors = dict(_select(store, "text, vector", part))
            rows = [np.frombuffer(vectors[key], dtype="<f4") for key in part]
            result[start : start + _CHUNK] = rows
        return result


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _known(store: sqlite3.Connection, keys: Sequence[bytes]) -> set[bytes]:
    parts = (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))
    return {key for part in parts for (key,) in _select(store, "text", part)}


def _select(store: sqlite3.Connection, what: str, keys: Sequence[bytes]) -> sqlite3.Cursor:
    marks = ",".join("?" * len(keys))
    return store.execute(f"SELECT {what} FROM embeddings WHERE text IN ({marks})", keys)
