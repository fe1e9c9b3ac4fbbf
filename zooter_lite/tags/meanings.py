"""What embeddings say of tags: those of one meaning, of the nearest queries, of clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.table.queries import read_queries
from zooter_lite.tags.index import TagIndex
from zooter_lite.tags.tagging import ROWS_PER_CLUSTER, clusters_of
from zooter_lite.tags.unwanted import Embed, words
from zooter_lite.tags.vocabulary import Lists, associated, clean, drop_rare, rename, support

FloatArray = NDArray[np.float32]
MOST_CLUSTERS = 32  # unless told otherwise
_WORDS_PER_NAME = 3


def one_vocabulary(
    lists: Sequence[Sequence[str]],
    embed: Embed,
    *,
    merge: float,
    min_support: int,
    confidence: float,
) -> tuple[Lists, dict[str, int]]:
    """Make one vocabulary of freely written tags, in the steps of tags/vocabulary.py.

    Parameters
    ----------
    merge
        Cosine similarity from which two tags are one; 1 merges none.
    min_support
        Tags that fewer queries carry are dropped.
    confidence
        See `associated`; above 1 merges none.

    Returns
    -------
    The tags of each query, and the number of different tags after each step, by its name.
    """
    steps = {"as written": len(support(lists))}
    tags = clean(lists)
    counts = dict(sorted(support(tags).items()))
    steps["in one spelling"] = len(counts)
    if merge < 1 and len(counts) > 1:
        tags = rename(tags, same_meaning(counts, embed(list(counts)), merge))
        steps["after merging meanings"] = len(support(tags))
    tags = drop_rare(tags, min_support)
    steps[f"at {min_support} queries or more"] = len(support(tags))
    tags = rename(tags, associated(tags, confidence))
    steps["after merging companions"] = len(support(tags))
    return tags, steps


def same_meaning(
    support: Mapping[str, int], embeddings: FloatArray, threshold: float
) -> dict[str, str]:
    """Tags of nearly one meaning, each with the name of the most frequent among them.

    InsTag's semantic aggregation (Lu et al. 2023, arXiv 2308.07074): DBSCAN over the
    embeddings of the tags, two tags being enough for a group; so tags that are alike by
    way of others are merged, too. `embeddings` (n_tags, dim) are unit vectors in the order of
    `support`, the queries of each tag; `threshold` is the least cosine similarity.

    Returns
    -------
    Old name to new, for the tags that change.
    """
    from sklearn.cluster import DBSCAN

    distance = float(np.sqrt(max(0.0, 2.0 - 2.0 * threshold)))  # of unit vectors, by the cosine
    groups = DBSCAN(eps=max(distance, 1e-6), min_samples=2).fit_predict(embeddings)
    names: dict[str, str] = {}
    tags = list(support)
    for group in sorted(set(groups.tolist()) - {-1}):
        members = [tags[i] for i in np.flatnonzero(groups == group).tolist()]
        first = min(members, key=lambda tag: (-support[tag], tag))
        names |= {tag: first for tag in members if tag != first}
    return names


def derived_tags(
    texts: Sequence[str], tagger: str, embed: Embed, *, k: int, top: int, seed: int
) -> Lists:
    """Tag queries as `nearest:FILE`, `clusters` or `clusters:N` says.

    A cluster of k-means gives its queries its name. Without a number there is one for
    `ROWS_PER_CLUSTER` queries, `MOST_CLUSTERS` at most.

    Raises
    ------
    DataError
        The file has no tags, or there are fewer queries than clusters.
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
    return tags_by_neighbours((embed(known.texts), known.tags()), embed(texts), k, top)


def tags_by_neighbours(
    known: tuple[FloatArray, Sequence[Sequence[str]]], embeddings: FloatArray, k: int, top: int
) -> Lists:
    """Give each query (n_queries, dim) the `top` heaviest tags of its `k` nearest known queries.

    `known` are embeddings (n_known, dim) and tags; queries without tags are left out.
    """
    tags = TagAssignment.from_lists(known[1])
    index = TagIndex.build(known[0], tags.names, tags.by_query())
    return [[name for name, _ in nearest] for nearest in index.nearest_tags(embeddings, k, top)]


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
        names[cluster] = _unused(ranked, set(names.values()), cluster)
    return names


def _unused(ranked: Sequence[str], taken: set[str], cluster: int) -> str:
    for length in range(min(_WORDS_PER_NAME, len(ranked)), len(ranked) + 1):
        name = " ".join(ranked[:length])
        if name and name not in taken:
            return name
    return f"cluster {cluster}"
