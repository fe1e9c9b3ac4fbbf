"""The cache: embeddings on disk, found by (encoder, text) and mapped into memory.

An encoder has two files that only grow: NAME.vectors holds rows of float32, NAME.keys one
record per row, which is the key and a checksum of the row. A row counts once its record is
whole and its checksum fits, so a killed write or a damaged disk costs the rows it touched and
nothing else. Several processes may share the folder: writers take turns by a lock on
NAME.keys; readers need none, since complete rows stay. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.atomic import atomic_file

try:
    import fcntl
except ImportError:  # without it, two writers at a time may lose rows, which are made again
    fcntl = None  # type: ignore[assignment]

FloatArray = NDArray[np.float32]
Rows = NDArray[np.int64]
Keys = NDArray[np.bytes_]  # dtype _KEY

FOLDER = "embeddings"
IN_MEMORY = 256 * 2**20  # bytes up to which embeddings are returned in plain memory
_CHUNK = 256  # texts encoded at a time
_BLOCK = 8192  # rows copied or checked at a time
_KEY = np.dtype("S32")  # digests of one length: equal as texts where equal as bytes
_RECORD = np.dtype([("key", _KEY), ("check", "<u4"), ("reserved", "<u4")])


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
        raise DataError(
            "this user has no home directory to keep a cache in; name a folder by --cache, or by "
            "the variable ZOOTER_CACHE"
        ) from error


def keep_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder of the cache; once the last is there, all are.

    Raises
    ------
    DataError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cache {folder}: cannot be written ({error.strerror}); name another by --cache or "
            "by the variable ZOOTER_CACHE"
        ) from error
    for name, content in files.items():
        with atomic_file(folder / name) as partial:
            partial.write_bytes(content)


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
        The folder or its files cannot be used; and later, where they cannot be read or
        written.
    """

    def __init__(self, folder: Path, encoder_key: str, dim: int) -> None:
        self._prefix = encoder_key.encode() + b"\0"
        self._dim = dim
        name = f"{hashlib.sha256(self._prefix).hexdigest()[:32]}-{dim}"
        self._keys_file = folder / FOLDER / f"{name}.keys"
        self._vectors_file = folder / FOLDER / f"{name}.vectors"
        try:
            self._keys_file.parent.mkdir(parents=True, exist_ok=True)
            self._keys_file.touch()
            self._vectors_file.touch()
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be used as a cache ({error}); name another by --cache or by "
                "the variable ZOOTER_CACHE"
            ) from error

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

        Raises
        ------
        DataError
            What has just been written is not found, since another program writes the files.
        """
        keys, first, place = np.unique(self._keys(texts), return_index=True, return_inverse=True)
        unknown = np.flatnonzero(self._rows(keys) < 0)
        progress(len(keys) - len(unknown))
        # by length, equal lengths by the text itself
        ordered = sorted(first[unknown].tolist(), key=lambda row: (len(texts[row]), texts[row]))
        for start in range(0, len(ordered), _CHUNK):
            chunk = ordered[start : start + _CHUNK]
            self._append(keys[place[chunk]], encode([texts[row] for row in chunk]))
            progress(len(chunk))
        return self._read(self._rows(keys)[place])

    def find(self, texts: Sequence[str]) -> tuple[NDArray[np.bool_], FloatArray]:
        """Tell which texts are known: (len(texts),), and their embeddings (n_known, dim)."""
        rows = self._rows(self._keys(texts))
        return rows >= 0, self._read(rows[rows >= 0])

    def _keys(self, texts: Sequence[str]) -> Keys:
        digests = (
            hashlib.sha256(self._prefix + text.encode("utf-8", "surrogatepass")).digest()
            for text in texts
        )
        return np.fromiter(digests, dtype=_KEY, count=len(texts))

    def _rows(self, keys: Keys) -> Rows:
        """(n,) row of each key, the latest that is undamaged; -1 where there is none."""
        records, vectors = self._content()
        order = np.argsort(records["key"], kind="stable")
        ordered = records["key"][order]
        last = np.searchsorted(ordered, keys, side="right") - 1
        known = last >= 0
        known[known] = ordered[last[known]] == keys[known]
        rows = np.full(len(keys), -1, dtype=np.int64)
        rows[known] = order[last[known]]
        places = np.flatnonzero(known)
        for part in np.split(places, range(_BLOCK, len(places), _BLOCK)):
            sums = [zlib.crc32(row) for row in np.ascontiguousarray(vectors[rows[part]])]
            damaged = np.asarray(sums, dtype=np.uint32) != records["check"][rows[part]]
            rows[part[damaged]] = -1
        return rows

    def _read(self, rows: Rows) -> FloatArray:
        """(len(rows), dim) vectors; the row -1 is an error, never the last vector."""
        if (rows < 0).any():
            raise DataError(
                f"{self._vectors_file}: {int((rows < 0).sum())} embeddings that were just written "
                "are not there or damaged; does another program change the cache?"
            )
        shape = (len(rows), self._dim)
        if 4 * len(rows) * self._dim <= IN_MEMORY:
            result = np.empty(shape, dtype=np.float32)
        else:
            with tempfile.TemporaryFile(dir=self._keys_file.parent) as file:
                result = np.asarray(np.memmap(file, np.float32, "w+", shape=shape))
        _, vectors = self._content()
        for start in range(0, len(rows), _BLOCK):
            result[start : start + _BLOCK] = vectors[rows[start : start + _BLOCK]]
        return result

    def _append(self, keys: Keys, vectors: FloatArray) -> None:
        """Add rows; those of an earlier write that stopped half-way are overwritten."""
        content = np.ascontiguousarray(vectors, dtype=np.float32)
        records = np.zeros(len(keys), dtype=_RECORD)
        records["key"] = keys
        records["check"] = [zlib.crc32(row) for row in content]
        try:
            with self._keys_file.open("r+b") as own, self._vectors_file.open("r+b") as data:
                if fcntl is not None:
                    fcntl.flock(own, fcntl.LOCK_EX)  # until the file is closed
                n_rows = self._n_rows()
                for file, size, new in (
                    (data, 4 * self._dim, content),
                    (own, _RECORD.itemsize, records),
                ):
                    file.seek(n_rows * size)
                    file.truncate()
                    file.write(new.tobytes())
                    file.flush()
        except OSError as error:
            raise DataError(f"{self._keys_file}: cannot be written ({error})") from error

    def _n_rows(self) -> int:
        """Complete rows of both files."""
        records = self._keys_file.stat().st_size // _RECORD.itemsize
        return min(records, self._vectors_file.stat().st_size // (4 * self._dim))

    def _content(self) -> tuple[NDArray[np.void], FloatArray]:
        """Complete records, (n_rows,), and vectors, (n_rows, dim), which are mapped."""
        try:
            n_rows = self._n_rows()
            records = np.fromfile(self._keys_file, dtype=_RECORD, count=n_rows)
            if n_rows == 0:
                return records, np.zeros((0, self._dim), dtype=np.float32)
            shape = (n_rows, self._dim)
            return records, np.memmap(self._vectors_file, np.float32, "r", shape=shape)
        except (OSError, ValueError) as error:
            raise DataError(f"{self._keys_file}: cannot be read ({error})") from error
