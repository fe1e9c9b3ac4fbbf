"""Opening tags.faiss: every byte that decides a size is checked before faiss sees it.

The two kinds of index that a fit writes are known, both of inner products: flat, and IVF with a
flat quantizer and vectors of 8 bits a number. Their files hold nothing but fixed fields and
arrays, so a file is walked with faiss's own layout, every field is compared with what it must
be, and the walk has to end where the file ends. What is left to a hostile author is the content
of vectors.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.verified import Content

_ANY = None  # a field that faiss ignores, or that is looked at later
# The first fields of every index: kind, dimension, rows, two ignored, trained, inner product.
_HEADER = "4siqqqBi"


def open_index(content: Content, dim: int, rows: int) -> Any:
    """Check the content of tags.faiss and return the FAISS index over it.

    The index keeps the vectors where they are: in `content`, which may be memory-mapped.

    Parameters
    ----------
    content
        The file.
    dim, rows
        What the index must hold: `rows` vectors of `dim` numbers, numbered from 0.

    Raises
    ------
    RouterError
        The file is anything else.
    """
    try:
        walk = _Walk(content)
        if content[:4] == b"IxFI":
            _check_flat(walk, dim, rows)
        else:
            _check_ivf(walk, dim, rows)
        if walk.at != len(content):
            raise ValueError(f"{len(content) - walk.at} bytes too many")
    except ValueError as error:
        raise RouterError(
            f"tags.faiss is not an index of {rows} vectors of {dim} numbers ({error})"
        ) from error
    import faiss

    array = np.frombuffer(content, dtype=np.uint8)
    if not hasattr(faiss, "ZeroCopyIOReader"):  # before faiss 1.11
        return faiss.deserialize_index(array)
    reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(array), array.size)
    index: Any = faiss.read_index(reader, faiss.IO_FLAG_MMAP_IFC)
    index.referenced_objects = [array]  # keeps what the index points into alive
    return index


class _Walk:
    """Takes fields and arrays off a file, front to back; never past its end."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self.at = 0

    def fields(self, layout: str, *expected: object) -> tuple[Any, ...]:
        """Unpack the next fields, little-endian, and compare them with what they must be."""
        raw = self.array("u1", struct.calcsize("<" + layout))
        fields = struct.unpack("<" + layout, raw.tobytes())
        for value, wanted in zip(fields, expected, strict=True):
            if wanted is not _ANY and value != wanted:
                raise ValueError(f"expected {wanted}, found {value} before byte {self.at}")
        return fields

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """View the next `count` numbers."""
        start, self.at = self.at, self.at + np.dtype(dtype).itemsize * count
        if self.at > len(self._content):
            raise ValueError(f"it ends early, at byte {len(self._content)}")
        return np.frombuffer(self._content, dtype=dtype, count=count, offset=start)


def _check_flat(walk: _Walk, dim: int, rows: int) -> None:
    walk.fields(_HEADER + "Q", b"IxFI", dim, rows, _ANY, _ANY, 1, 0, dim * rows)
    walk.array("<f4", dim * rows)


def _check_ivf(walk: _Walk, dim: int, rows: int) -> None:
    # of the last two, nprobe is the second, which we set ourselves
    header = walk.fields(_HEADER + "QQ", b"IwSq", dim, rows, _ANY, _ANY, 1, 0, _ANY, _ANY)
    n_lists = header[-2]
    if not 1 <= n_lists <= max(rows, 1):
        raise ValueError(f"{n_lists} lists")
    _check_flat(walk, dim, n_lists)
    walk.fields("BQ", 0, 0)  # no direct map
    # the scalar quantizer: 8 bits, two fields of training alone, a smallest value and a range
    # for each number; and that the lists hold residuals
    walk.fields("iifQQQ", 0, _ANY, _ANY, dim, dim, 2 * dim)
    walk.array("<f4", 2 * dim)
    walk.fields("QB", dim, 1)
    walk.fields("4sQQ4sQ", b"ilar", n_lists, dim, b"full", n_lists)
    ids = []
    for size in walk.array("<u8", n_lists).tolist():
        walk.array("u1", size * dim)
        ids.append(walk.array("<i8", size))
    if not np.array_equal(np.sort(np.concatenate(ids)), np.arange(rows)):
        raise ValueError("its lists do not hold each row once")
