"""Vectors on disk, found by key and mapped into memory: two files that only grow.

NAME.vectors holds rows of float32, NAME.keys one record per row: the key, and a checksum of
the row. A row counts once its record is whole and its checksum fits, so a write that was
killed, or a damaged disk, costs the rows it touched and nothing else. Writers of several
processes take turns by a lock on NAME.keys; readers need none, since complete rows stay.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError

try:
    import fcntl
except ImportError:  # without it, two writers at a time may lose rows, which are made again
    fcntl = None  # type: ignore[assignment]

FloatArray = NDArray[np.float32]
Keys = NDArray[np.bytes_]  # dtype KEY
KEY = np.dtype("S32")  # digests of one length: equal as texts where equal as bytes
IN_MEMORY = 256 * 2**20  # bytes up to which `read` returns plain memory
_RECORD = np.dtype([("key", KEY), ("check", "<u4"), ("reserved", "<u4")])
_BLOCK = 8192  # rows copied or checked at a time


class VectorStore:
    """The rows of one kind of vector.

    Parameters
    ----------
    folder
        Made where it is missing.
    name
        Of the two files, without suffix.
    dim
        Numbers per vector.

    Raises
    ------
    DataError
        The folder or its files cannot be used.
    """

    def __init__(self, folder: Path, name: str, dim: int) -> None:
        self._keys_file = folder / f"{name}.keys"
        self._vectors_file = folder / f"{name}.vectors"
        self._dim = dim
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._keys_file.touch()
            self._vectors_file.touch()
        except OSError as error:
            raise DataError(f"{folder}: cannot be used as a cache ({error})") from error

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """(n,) row of each key, the latest that is undamaged; -1 where there is none."""
        records = self._records()
        order = np.argsort(records["key"], kind="stable")
        ordered = records["key"][order]
        last = np.searchsorted(ordered, keys, side="right") - 1
        found = last >= 0
        found[found] = ordered[last[found]] == keys[found]
        rows = np.full(len(keys), -1, dtype=np.int64)
        rows[found] = order[last[found]]
        rows[~self._undamaged(rows, records["check"])] = -1
        return rows

    def read(self, rows: NDArray[np.int64]) -> FloatArray:
        """(len(rows), dim) vectors; mapped from an unnamed file where they are large.

        The file lies in the store's folder and goes when the array does.
        """
        shape = (len(rows), self._dim)
        if 4 * len(rows) * self._dim <= IN_MEMORY:
            result = np.empty(shape, dtype=np.float32)
        else:
            with tempfile.TemporaryFile(dir=self._keys_file.parent) as file:
                result = np.asarray(np.memmap(file, np.float32, "w+", shape=shape))
        vectors = self._vectors()
        for start in range(0, len(rows), _BLOCK):
            result[start : start + _BLOCK] = vectors[rows[start : start + _BLOCK]]
        return result

    def append(self, keys: Keys, vectors: FloatArray) -> None:
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

    def _records(self) -> NDArray[np.void]:
        try:
            return np.fromfile(self._keys_file, dtype=_RECORD, count=self._n_rows())
        except OSError as error:
            raise DataError(f"{self._keys_file}: cannot be read ({error})") from error

    def _vectors(self) -> FloatArray:
        """(n_rows, dim) of the file, mapped."""
        n_rows = self._n_rows()
        if n_rows == 0:
            return np.zeros((0, self._dim), dtype=np.float32)
        try:
            return np.memmap(self._vectors_file, np.float32, "r", shape=(n_rows, self._dim))
        except (OSError, ValueError) as error:
            raise DataError(f"{self._vectors_file}: cannot be read ({error})") from error

    def _undamaged(self, rows: NDArray[np.int64], checks: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """(n,) whether each row's vector has its checksum; False where the row is -1."""
        right = np.zeros(len(rows), dtype=bool)
        places = np.flatnonzero(rows >= 0)
        vectors = self._vectors()
        for start in range(0, len(places), _BLOCK):
            part = places[start : start + _BLOCK]
            found = [zlib.crc32(row) for row in np.ascontiguousarray(vectors[rows[part]])]
            right[part] = np.asarray(found, dtype=np.uint32) == checks[rows[part]]
        return right
