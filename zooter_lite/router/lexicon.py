"""What the words of a query say about the experts, beside its embedding, in numpy.

The same arithmetic stands in `router.onnx`; `learn/export.py` builds it from these arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Ids = NDArray[np.int64]

# Two neighbouring tokens fall into the bucket (FIRST * a + SECOND * b + SHIFT) mod n_buckets,
# one alone into a mod n_buckets. The numbers are part of the format: graphs hold them.
FIRST, SECOND, SHIFT = 31_337, 1_000_003, 17
TINY = 1e-6  # keeps the length of a query without a known token finite


@dataclass(frozen=True)
class Lexicon:
    """A linear model on hashed tokens and pairs of neighbouring tokens, as fastText's.

    logits = sum over a query's tokens and pairs g of rarity[g] * table[g], divided by the
    Euclidean length of these rarities; each occurrence counts.

    Attributes
    ----------
    rarity
        (n_buckets,) inverse document frequency on the training queries; 0 for a bucket
        that fewer than two of them fill, which then counts nowhere.
    table
        (n_buckets, n_experts) weights.
    """

    rarity: Array
    table: Array

    def logits(self, tokens: Sequence[Ids]) -> NDArray[np.float64]:
        """(n, n_experts) logits of queries given by their token ids, special tokens included."""
        found = np.zeros((len(tokens), self.table.shape[1]))
        for row, ids in enumerate(tokens):
            grams = buckets(ids, len(self.rarity))
            weights = self.rarity[grams].astype(np.float64)
            found[row] = weights @ self.table[grams] / max(float(np.linalg.norm(weights)), TINY)
        return found


def buckets(ids: Ids, n_buckets: int) -> Ids:
    """(2 * length - 1,) bucket of each token, then of each pair of neighbours.

    Examples
    --------
    >>> buckets(np.array([1, 2]), 100)
    array([ 1,  2, 60])
    """
    pairs = (FIRST * ids[:-1] + SECOND * ids[1:] + SHIFT) % n_buckets
    return np.concatenate([ids % n_buckets, pairs])
