"""Queries not to learn from: repeats, near repeats, and those that a test shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from zooter_lite.table.keys import query_key
from zooter_lite.table.queries import Queries
from zooter_lite.tags.index import build_index
from zooter_lite.tags.vocabulary import Embed

FloatArray = NDArray[np.float32]
_BLOCK = 256  # rows searched at a time

# a character of Chinese, Japanese or Korean is a word: they write no spaces
_OWN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_OWN}]|[^\W_{_OWN}]+")


def words(text: str) -> list[str]:
    """Words of a text in lower case, without punctuation.

    >>> words("Sum 3,5: 总和")
    ['sum', '3', '5', '总', '和']
    """
    return _WORD.findall(text.lower())


def contaminated(queries: Sequence[str], others: Iterable[str], n: int) -> list[int]:
    """Positions of the queries that share a run of `n` words with one of the others.

    A text of fewer than n words counts as one run of its own length, so a short query is
    found only where another has just the same words. Runs are compared by 64-bit hashes.
    """
    seen = {run for text in others for run in _runs(text, n)}
    return [
        place for place, query in enumerate(queries) if any(run in seen for run in _runs(query, n))
    ]


def repeated(queries: Sequence[str]) -> list[int]:
    """Positions of queries that stand further up already, but for white space."""
    first: dict[str, int] = {}
    keys = enumerate(map(query_key, queries))
    return [place for place, key in keys if first.setdefault(key, place) != place]


def near_repeats(embeddings: FloatArray, threshold: float) -> list[int]:
    """Rows whose cosine similarity to an earlier row that stays is at least `threshold`.

    Exact for up to 50,000 rows, by an approximate index beyond.
    """
    index, _ = build_index(embeddings)
    dropped = np.zeros(len(embeddings), dtype=bool)
    for start in range(0, len(embeddings), _BLOCK):
        block = embeddings[start : start + _BLOCK]
        limits, _, positions = index.range_search(block, threshold - 1e-6)
        for i in range(len(block)):
            near = positions[limits[i] : limits[i + 1]]
            dropped[start + i] = bool((~dropped[near[near < start + i]]).any())
    return np.flatnonzero(dropped).tolist()


def without_unwanted(
    queries: Queries, others: Sequence[str], n: int, threshold: float | None, embed: Embed
) -> tuple[Queries, list[str]]:
    """Drop queries that repeat an earlier one, or share a run of `n` words with one of `others`.

    Two queries are one from the cosine similarity `threshold` on; 1 drops exact repeats only,
    None no repeats at all. Beside the queries that stay comes a line about each step.
    """
    notes: list[str] = []

    def without(places: Sequence[int], why: str) -> Queries:
        notes.append(f"dropped: {len(places)} of {len(queries)} queries {why}")
        return queries.take(sorted(set(range(len(queries))) - set(places)))

    if threshold is not None:
        queries = without(repeated(queries.texts), "repeat one further up")
    if others:
        why = f"share a run of {n} words with one of {len(others)} test queries"
        queries = without(contaminated(queries.texts, others, n), why)
    if threshold is not None and threshold < 1 and len(queries):
        near = near_repeats(embed(queries.texts), threshold)
        queries = without(near, f"come within {threshold:g} of an earlier one")
    return queries, notes


def _runs(text: str, n: int) -> Iterator[int]:
    every = words(text)
    for start in range(max(1, len(every) - n + 1)) if every else ():
        yield hash(tuple(every[start : start + n]))
