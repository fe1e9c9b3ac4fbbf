"""Which queries count as the same, and which ids."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)\.0+")


def query_key(query: str) -> str:
    """Fold white space: queries with one key count as the same query."""
    return " ".join(query.split())


def query_hashes(queries: Iterable[str]) -> NDArray[np.uint64]:
    """(n_queries,) first 64 bits of SHA-256 of each query's key.

    Two of a million keys share a hash with a probability of 3e-8.
    """
    keys = (query_key(query).encode("utf-8", "surrogatepass") for query in queries)
    starts = (int.from_bytes(hashlib.sha256(key).digest()[:8], "big") for key in keys)
    return np.fromiter(starts, dtype=np.uint64)


def query_groups(queries: Iterable[str]) -> NDArray[np.int64]:
    """(n_queries,) number of each query's key, in the order in which keys first appear.

    Examples
    --------
    >>> query_groups(["b", "a", "b ", "c"])
    array([0, 1, 0, 2])
    """
    _, first, place = np.unique(query_hashes(queries), return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[place]


def id_of(cell: object) -> str:
    """Spell an id: a whole number is one, however a file writes it.

    A text with leading zeros, an exponent or spaces is another name, and stays.

    >>> [id_of(cell) for cell in (7, 7.0, "7.0", "7", "07", Decimal("7.00"), 0.5)]
    ['7', '7', '7', '7', '07', '7', '0.5']
    """
    if isinstance(cell, (float, Decimal)) and math.isfinite(cell) and cell == int(cell):
        return str(int(cell))
    text = str(cell)
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text
