"""Opening tags.faiss: every byte that decides a size is checked before faiss sees it.

Three kinds of index are known, all of inner products: flat, IVF with a flat quantizer
and float32 vectors, and IVF with a flat quantizer and scalar-quantized vectors (8 bit or
fp16). Their files hold nothing but fixed fields and arrays, so a file is walked with
faiss's own layout, every count is compared with what it must be, and the walk has to
end where the file ends. What is left to a hostile author is the content of vectors.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.verified import Content

_FLAT, _IVF_FLAT, _IVF_QUANTIZED = b"IxFI", b"IwFl", b"IwSq"
_CODE_BYTES = {0: 1, 4: 2}  # faiss.ScalarQuantizer.QT_8bit and QT_fp16: bytes per number
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
        if content[:4] == _FLAT:
            _check_flat(walk, dim, rows)
        else:
            _check_ivf(walk, dim, rows, content[:4])
        walk.end()
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
        self._at = 0

    def fields(self, layout: str, *expected: object) -> tuple[Any, ...]:
        """Unpack the next fields, little-endian, and compare them with what they must be."""
        size = struct.calcsize("<" + layout)
        fields = struct.unpack("<" + layout, self._content[self._skip(size) : self._at])
        for value, wanted in zip(fields, expected, strict=True):
            if wanted is not _ANY and value != wanted:
                raise ValueError(f"expected {wanted}, found {value} before byte {self._at}")
        return fields

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """View the next `count` numbers."""
        start = self._skip(np.dtype(dtype).itemsize * count)
        return np.frombuffer(self._content, dtype=dtype, count=count, offset=start)

    def end(self) -> None:
        """Insist that the file ends here."""
        if self._at != len(self._content):
            raise ValueError(f"{len(self._content) - self._at} bytes too many")

    def _skip(self, size: int) -> int:
        start = self._at
        if size > len(self._content) - start:
            raise ValueError(f"it ends early, at byte {len(self._content)}")
        self._at += size
        return start


def _check_flat(walk: _Walk, dim: int, rows: int) -> None:
    walk.fields(_HEADER + "Q", _FLAT, dim, rows, _ANY, _ANY, 1, 0, dim * rows)
    walk.array("<f4", dim * rows)


def _check_ivf(walk: _Walk, dim: int, rows: int, kind: bytes) -> None:
    if kind not in (_IVF_FLAT, _IVF_QUANTIZED):
        raise ValueError(f"its kind is {kind!r}")
    # of the last two, nprobe is the second, which we set ourselves
    header = walk.fields(_HEADER + "QQ", kind, dim, rows, _ANY, _ANY, 1, 0, _ANY, _ANY)
    n_lists = header[-2]
    if not 1 <= n_lists <= max(rows, 1):
        raise ValueError(f"{n_lists} lists")
    _check_flat(walk, dim, n_lists)
    walk.fields("BQ", 0, 0)  # no direct map
    code_bytes = _check_quantization(walk, dim) if kind == _IVF_QUANTIZED else 4 * dim
    _check_lists(walk, rows, n_lists, code_bytes)


def _check_quantization(walk: _Walk, dim: int) -> int:
    """Check the scalar quantizer and return the bytes of a vector."""
    kind, _, _ = walk.fields("iif", _ANY, _ANY, _ANY)  # the other two matter in training only
    if kind not in _CODE_BYTES:
        raise ValueError(f"its scalar quantizer is of type {kind}")
    code_bytes = dim * _CODE_BYTES[kind]
    ranges = 2 * dim if kind == 0 else 0  # a smallest value and a range per number
    walk.fields("QQQ", dim, code_bytes, ranges)
    walk.array("<f4", ranges)
    _, by_residual = walk.fields("QB", code_bytes, _ANY)
    if by_residual > 1:
        raise ValueError(f"by_residual is {by_residual}")
    return code_bytes


def _check_lists(walk: _Walk, rows: int, n_lists: int, code_bytes: int) -> None:
    """Check the inverted lists: together they hold each row once."""
    walk.fields("4sQQ4sQ", b"ilar", n_lists, code_bytes, b"full", n_lists)
    sizes = walk.array("<u8", n_lists)
    if sizes.max() > rows or int(sizes.sum()) != rows:
        raise ValueError("the sizes of its lists do not add up")
    seen = np.zeros(rows, dtype=bool)
    for size in sizes.tolist():
        walk.array("u1", size * code_bytes)
        ids = walk.array("<i8", size)
        if size and not 0 <= ids.min() <= ids.max() < rows:
            raise ValueError("it numbers a row beyond its rows")
        seen[ids] = True
    if not seen.all():
        raise ValueError("it lacks some of its rows")
