"""Tags of queries that no LLM writes: those of the nearest queries, and names of clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from zooter_lite.errors import DataError
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.table.queries import read_queries
from zooter_lite.tags.tagging import ROWS_PER_CLUSTER, clusters_of, tags_by_neighbours
from zooter_lite.tags.unwanted import words
from zooter_lite.tags.vocabulary import Embed, Lists

MOST_CLUSTERS = 32  # unless told otherwise
_WORDS_PER_NAME = 3


def derived_tags(
    texts: Sequence[str], tagger: str, embed: Embed, *, k: int, top: int, seed: int
) -> Lists:
    """Tag queries as `nearest:FILE`, `clusters` or `clusters:N` says.

    A cluster of k-means gives its queries its name. Without a number there is one for
    `ROWS_PER_CLUSTER` queries, `MOST_CLUSTERS` at most; more than queries are a DataError.
    """
    kind, _, rest = tagger.partition(":")
    if kind == "clusters":
        size = int(rest or 0) or max(1, min(MOST_CLUSTERS, len(texts) // ROWS_PER_CLUSTER))
        if size > len(texts):
            raise DataError(
                f"{size} clusters of {len(texts)} queries, expected {len(texts)} at most"
            )
        clusters = clusters_of(embed(texts), size, seed)
        names = cluster_names(texts, clusters)
        return [[names[cluster]] for cluster in clusters]
    known = read_queries(rest, others=("tags",))
    known = known.take([row for row, tags in enumerate(known.tags()) if tags])
    if not len(known):
        raise DataError(f"{rest}: no query has tags; expected a column 'tags'")
    tags = TagAssignment.from_lists(known.tags())
    return tags_by_neighbours(embed(known.texts), tags, embed(texts), k, top)


def cluster_names(queries: Sequence[str], clusters: Sequence[int]) -> dict[int, str]:
    """Name each cluster by the words that tell it from the others, such as "list sort array".

    The words with the highest class-based TF-IDF (Grootendorst 2022, "BERTopic", arXiv
    2203.05794, equation 2): the word's share of the cluster's words, times log(1 + mean
    number of words of a cluster / occurrences of the word in all). English stop words and
    numbers are left out. A name that is taken is made longer by further words, or
    numbered where there are none.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    counts: dict[int, Counter[str]] = {cluster: Counter() for cluster in sorted(set(clusters))}
    for query, cluster in zip(queries, clusters, strict=True):
        counts[cluster].update(
            word for word in words(query) if not word.isdigit() and word not in ENGLISH_STOP_WORDS
        )
    total: Counter[str] = sum(counts.values(), Counter())
    mean = total.total() / len(counts)
    names: dict[int, str] = {}
    for cluster, own in counts.items():
        weight = {word: n / own.total() * np.log1p(mean / total[word]) for word, n in own.items()}
        ranked = sorted(weight, key=lambda word: (-weight[word], word))
        lengths = range(min(_WORDS_PER_NAME, len(ranked)), len(ranked) + 1)
        longer = (" ".join(ranked[:length]) for length in lengths)
        free = (name for name in longer if name and name not in names.values())
        names[cluster] = next(free, f"cluster {cluster}")
    return names
