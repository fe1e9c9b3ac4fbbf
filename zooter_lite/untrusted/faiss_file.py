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

_INNER_PRODUCT = 0  # faiss.METRIC_INNER_PRODUCT
_FLAT, _IVF_FLAT, _IVF_QUANTIZED = b"IxFI", b"IwFl", b"IwSq"
_CODE_BYTES = {0: 1, 4: 2}  # faiss.ScalarQuantizer.QT_8bit and QT_fp16: bytes per number


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
        _check(_Walk(content), dim, rows)
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

    def fields(self, layout: str) -> tuple[Any, ...]:
        """Unpack the next fields, little-endian."""
        size = struct.calcsize("<" + layout)
        return struct.unpack("<" + layout, self._content[self._skip(size) : self._at])

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """View the next `count` numbers."""
        start = self._skip(np.dtype(dtype).itemsize * count)
        return np.frombuffer(self._content, dtype=dtype, count=count, offset=start)

    def expect(self, name: str, layout: str, *values: object) -> None:
        """Compare the next fields with what they must be."""
        found = self.fields(layout)
        if found != values:
            raise ValueError(f"{name}: expected {list(values)}, found {list(found)}")

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


def _check(walk: _Walk, dim: int, rows: int) -> None:
    (magic,) = walk.fields("4s")
    if magic == _FLAT:
        _check_flat(walk, dim, rows)
    elif magic in (_IVF_FLAT, _IVF_QUANTIZED):
        _check_ivf(walk, dim, rows, quantized=magic == _IVF_QUANTIZED)
    else:
        raise ValueError(f"its kind is {magic!r}")
    walk.end()


def _check_header(walk: _Walk, dim: int, rows: int) -> None:
    walk.expect("dimension and rows", "iq", dim, rows)
    walk.fields("qq")  # faiss reads and ignores these
    walk.expect("trained and metric", "Bi", 1, _INNER_PRODUCT)


def _check_flat(walk: _Walk, dim: int, rows: int) -> None:
    _check_header(walk, dim, rows)
    walk.expect("numbers", "Q", dim * rows)
    walk.array("<f4", dim * rows)


def _check_ivf(walk: _Walk, dim: int, rows: int, *, quantized: bool) -> None:
    _check_header(walk, dim, rows)
    n_lists, _ = walk.fields("QQ")  # the second is nprobe, which we set ourselves
    if not 1 <= n_lists <= max(rows, 1):
        raise ValueError(f"{n_lists} lists")
    walk.expect("kind of the quantizer", "4s", _FLAT)
    _check_flat(walk, dim, n_lists)
    walk.expect("direct map", "BQ", 0, 0)
    code_bytes = _check_quantization(walk, dim) if quantized else 4 * dim
    _check_lists(walk, rows, n_lists, code_bytes)


def _check_quantization(walk: _Walk, dim: int) -> int:
    """Check the scalar quantizer and return the bytes of a vector."""
    kind, _, _ = walk.fields("iif")  # the other two matter in training only
    if kind not in _CODE_BYTES:
        raise ValueError(f"its scalar quantizer is of type {kind}")
    code_bytes = dim * _CODE_BYTES[kind]
    ranges = 2 * dim if kind == 0 else 0  # a smallest value and a range per number
    walk.expect("scalar quantizer", "QQQ", dim, code_bytes, ranges)
    walk.array("<f4", ranges)
    walk.expect("bytes of a code", "Q", code_bytes)
    (by_residual,) = walk.fields("B")
    if by_residual not in (0, 1):
        raise ValueError(f"by_residual is {by_residual}")
    return code_bytes


def _check_lists(walk: _Walk, rows: int, n_lists: int, code_bytes: int) -> None:
    """Check the inverted lists: together they hold each row once."""
    walk.expect("inverted lists", "4sQQ", b"ilar", n_lists, code_bytes)
    walk.expect("sizes of the lists", "4sQ", b"full", n_lists)
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
