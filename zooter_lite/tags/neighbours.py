"""The nearest training queries: which FAISS index is built, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

FLAT_UP_TO = 50_000  # rows searched exactly; recipes/bench/tag_index.md has the crossover
RECALL = 0.98  # least share of the true nearest neighbours that any other index finds
NEIGHBOURS = 16  # at this many
PROBES = (8, 16, 32, 64, 128)  # inverted lists searched per query: the first that is enough
STORAGES = ("SQ8", "SQfp16", "Flat")  # of vectors, smallest first
SAMPLE = 500  # queries whose neighbours are compared with the exact ones
_TRAIN_PER_LIST = 100  # rows per inverted list that the centroids are learned from
_SAME = 1e-6  # difference of similarity below which two neighbours are equally near


@dataclass(frozen=True)
class IndexChoice:
    """What was built, and what was measured on `SAMPLE` queries when it was chosen."""

    kind: str = "Flat"  # the FAISS factory's name, such as "IVF1024,SQ8"
    probes: int = 0  # inverted lists searched per query; 0 for a flat index
    recall: float = 1.0  # share of the `NEIGHBOURS` exact nearest that it finds
    scanned: float = 1.0  # share of the vectors that a query is compared with, centroids included
    error: float = 0.0  # largest distance at which a row is found from itself


def build_index(
    embeddings: FloatArray, flat_up_to: int = FLAT_UP_TO, storages: Sequence[str] = STORAGES
) -> tuple[Any, IndexChoice]:
    """Index unit `embeddings` (n, dim) by inner product: exactly while few, else approximately.

    Of more than `flat_up_to` rows, an inverted file of about sqrt(n) lists is tried with
    each of `storages` and with more and more `PROBES`; the first that reaches `RECALL`
    against exact search is taken, and a flat index where none does. Centroids and sample
    depend on the rows alone, so the same rows give the same index.

    Returns
    -------
    The FAISS index, and what it is.
    """
    import faiss

    if len(embeddings) > flat_up_to:
        inverted = _build_inverted(embeddings, storages)
        if inverted is not None:
            return inverted
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    return index, IndexChoice()


def _build_inverted(
    embeddings: FloatArray, storages: Sequence[str]
) -> tuple[Any, IndexChoice] | None:
    """Return the first inverted file that reaches `RECALL`, or None."""
    import faiss

    rows, dim = embeddings.shape
    n_lists = 2 ** max(1, round(float(np.log2(rows)) / 2))
    train = embeddings[_spread(rows, _TRAIN_PER_LIST * n_lists)]
    sample = embeddings[_spread(rows, SAMPLE)]
    queries = _between(sample)
    # exact, without a copy of the embeddings
    nearest, _ = faiss.knn(queries, embeddings, NEIGHBOURS, metric=faiss.METRIC_INNER_PRODUCT)
    for storage in storages:
        kind = f"IVF{n_lists},{storage}"
        index: Any = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(train)
        index.add(embeddings)
        for probes in PROBES:
            index.nprobe = min(probes, n_lists)
            recall, scanned = _compare(index, embeddings, queries, nearest[:, -1])
            if recall >= RECALL:
                error = float(np.abs(1 - index.search(sample, 1)[0]).max())
                figures = round(recall, 4), round(scanned, 4), round(error, 6)
                return index, IndexChoice(kind, index.nprobe, *figures)
    return None


def _spread(rows: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` row numbers, evenly spaced."""
    return np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64)


def _between(sample: FloatArray) -> FloatArray:
    """Return unit queries (n, dim) that stand between rows (n, dim).

    A row is too easy a query where rows are dense: its neighbours share its list. The
    normalised sum of two rows from different places is as far from its neighbours as
    held-out queries are, and no easier to search for (measured on real embeddings).
    """
    queries = sample + np.roll(sample, len(sample) // 2, axis=0)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True).clip(1e-12)
    return queries


def _compare(
    index: Any, embeddings: FloatArray, queries: FloatArray, limits: FloatArray
) -> tuple[float, float]:
    """Recall and share of the vectors compared, as in `IndexChoice`.

    A neighbour is true where its exact similarity reaches the query's limit (n,), that of
    its last true neighbour: equally near rows may stand in for one another.
    """
    import faiss

    counters: Any = faiss.cvar
    counters.indexIVF_stats.reset()
    _, positions = index.search(queries, NEIGHBOURS)
    compared = counters.indexIVF_stats.ndis / len(queries) + index.nlist
    exact = np.einsum("qd,qkd->qk", queries, embeddings[positions])
    true = (positions >= 0) & (exact >= limits[:, None] - _SAME)
    return float(true.mean()), min(1.0, compared / len(embeddings))
