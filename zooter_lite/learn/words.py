"""The words of the training queries as sparse features, for the head's lexicon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.router.lexicon import TINY, Ids, Lexicon, buckets

Array = NDArray[np.float64]

FEW_EXPERTS = 32  # up to so many, the table of the lexicon stays at a few megabytes
N_BUCKETS, N_BUCKETS_OF_MANY = 2**16, 2**14


@dataclass(frozen=True)
class Words:
    """The hashed tokens and pairs of tokens of the training queries.

    Attributes
    ----------
    rarity
        (n_buckets,) as the lexicon keeps it.
    used
        (n_used,) the buckets with a rarity above 0.
    features
        (n_queries, n_used) sparse (scipy, CSR): each query's rarities, counted by occurrence
        and divided by their Euclidean length.
    """

    rarity: Array
    used: NDArray[np.int64]
    features: Any

    def take(self, rows: NDArray[np.int64]) -> Words:
        """Return the words of these queries; the rarities stay."""
        return replace(self, features=self.features[rows])

    def lexicon(self, weights: Array) -> Lexicon:
        """Spread the weights (n_used, n_experts) of a fit over the buckets."""
        table = np.zeros((len(self.rarity), weights.shape[1]))
        table[self.used] = weights
        return Lexicon(self.rarity, table)


def count_words(tokens: Sequence[Ids], n_experts: int) -> Words:
    """Hash the tokens of the training queries and weigh them by rarity.

    Parameters
    ----------
    tokens
        Token ids of each query, special tokens included.
    n_experts
        Decides the number of buckets.

    Returns
    -------
    Rarity is log(n_queries / n_queries with the bucket), and 0 where that is one query.
    """
    from scipy.sparse import csr_array, diags_array

    n_buckets = N_BUCKETS if n_experts <= FEW_EXPERTS else N_BUCKETS_OF_MANY
    grams = [buckets(ids, n_buckets) for ids in tokens]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in grams])])
    columns = np.concatenate(grams)
    shape = (len(tokens), n_buckets)
    counts = csr_array((np.ones(len(columns)), columns, starts), shape=shape)
    counts.sum_duplicates()
    filled = np.bincount(counts.indices, minlength=n_buckets)
    rarity = np.where(filled > 1, np.log(len(tokens) / np.maximum(filled, 1)), 0.0)
    length = np.sqrt(counts @ rarity**2).clip(TINY)
    used = np.flatnonzero(rarity)
    scaled = diags_array(1 / length) @ counts @ diags_array(rarity)
    return Words(rarity, used, csr_array(scaled)[:, used])
