"""Tags that no LLM writes: the table's, those of the nearest queries, or clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.cores import cores
from zooter_lite.errors import DataError
from zooter_lite.labels.blocks import Matrix, RowsOf, for_blocks, in_blocks
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.table.queries import read_queries
from zooter_lite.tags.index import TagIndex, on_gpus
from zooter_lite.tags.unwanted import words
from zooter_lite.tags.vocabulary import Embed, Lists

FloatArray = NDArray[np.float32]

GIVEN = "given"  # name of the tagging that the table gives
ROWS_PER_CLUSTER = 10  # fewer rows than this per cluster make a granularity useless
MOST_CLUSTERS = 32  # of queries that `derived_tags` clusters, unless told otherwise
REPEATS = 3  # k-means runs per size, each from its own start: their mean is steadier
_WORDS_PER_NAME = 3  # of a cluster
MIN_SUPPORT = 10  # a given tag carried by fewer training queries is left out


@dataclass(frozen=True)
class Tags:
    """One way of tagging the training queries."""

    name: str  # such as "given" or "clusters 8+16+32"
    assignment: TagAssignment
    centroids: NDArray[np.float64]  # (n_tags, dim) unit vectors: the mean of each tag's queries
    # (n_queries, n_tags) cosine similarity to the centroids; None where queries are too many
    near: NDArray[np.float64] | None = None

    @property
    def n_tags(self) -> int:
        """Number of tags."""
        return len(self.assignment.names)

    def take(self, rows: NDArray[np.int64]) -> Tags:
        """Return the tags of these queries; the centroids stay."""
        near = None if self.near is None else self.near[rows]
        return Tags(self.name, self.assignment.take(rows), self.centroids, near)

    def centred_on(self, embeddings: NDArray[np.floating], rows: NDArray[np.int64]) -> Tags:
        """Return the same tags with the centroids of these rows alone, (n_queries, dim) given."""
        centroids = _centroids(self.assignment.take(rows), embeddings[rows])
        return Tags(self.name, self.assignment, centroids, embeddings @ centroids.T)

    def nearness(self, embeddings: Matrix, rows: slice) -> NDArray[np.float64]:
        """(n, n_tags) cosine similarity of some of the queries (embeddings of all of them)."""
        if self.near is not None:
            return self.near[rows]
        return np.asarray(embeddings[rows].astype(np.float64) @ self.centroids.T)


def cluster_tags(
    embeddings: FloatArray, granularities: Sequence[Sequence[int]], seed: int
) -> list[Tags]:
    """Tag each query (n_queries, dim) with its k-means clusters, `REPEATS` times for each size.

    A granularity is a set of cluster counts: (8, 16, 32) gives every query nine tags. Counts
    with fewer than `ROWS_PER_CLUSTER` queries per cluster are left out; there is one tagging for
    each different set that is left.
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    usable = {
        tuple(size for size in sizes if size * ROWS_PER_CLUSTER <= len(embeddings))
        for sizes in granularities
    } - {()}
    runs = [
        (size, repeat)
        for size in sorted({size for sizes in usable for size in sizes})
        for repeat in range(REPEATS)
    ]

    with threadpool_limits(1):  # several threads in a run would add up in an order of their own
        results = Parallel(n_jobs=cores(), prefer="threads")(
            delayed(clusters_of)(embeddings, size, seed + repeat) for size, repeat in runs
        )
    clusters = dict(zip(runs, results, strict=True))
    taggings = []
    for sizes in sorted(usable):
        own = [run for run in runs if run[0] in sizes]
        names = [f"cluster-{size}{'abc'[repeat]}" for size, repeat in own]
        lists = [
            [f"{name}-{cluster}" for name, cluster in zip(names, row, strict=True)]
            for row in zip(*(clusters[run] for run in own), strict=True)
        ]
        name = "clusters " + "+".join(str(size) for size in sizes)
        taggings.append(_tags(name, embeddings, lists))
    return taggings


def clusters_of(embeddings: FloatArray, size: int, seed: int) -> list[int]:
    """Cluster of each row by k-means, 0 to `size` - 1; the same on any number of cores."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    clustering = KMeans(size, n_init=1, random_state=seed % 2**32)
    with threadpool_limits(1):  # OpenMP's limit holds for the thread that sets it
        clusters: list[int] = clustering.fit_predict(embeddings).tolist()
    return clusters


def given_tags(embeddings: FloatArray, tags: Sequence[Sequence[str]]) -> Tags | None:
    """Use the table's tags; a query without one takes those of its nearest tagged queries.

    Tags carried by fewer than `MIN_SUPPORT` queries are left out; None where no tag is left.
    """
    counts = Counter(name for names in tags for name in names)
    frequent = {name for name, count in counts.items() if count >= MIN_SUPPORT}
    if not frequent:
        return None
    lists = [[name for name in names if name in frequent] for names in tags]
    _fill_from_neighbours(lists, embeddings, TagAssignment.from_lists(lists), embeddings)
    return _tags(GIVEN, embeddings, lists)


def tags_of_all(
    tags: Tags,
    sample: NDArray[np.int64],
    embeddings: FloatArray,
    given: Sequence[Sequence[str]] | None,
    jobs: int = -1,
) -> Tags:
    """Extend the tags of a sample to all rows; the centroids stay.

    A cluster takes the rows that k-means would put there: those nearest to its mean. Given
    tags are those of the table as far as the sample has them; a row without one takes those
    of its nearest queries in the sample.

    `sample` are its rows among all; `embeddings` (n_queries, dim) are unit vectors of all rows,
    read block by block; `given` are the table's tags, for the tagging "given".
    """
    known, names = tags.assignment, tags.assignment.names
    if tags.name == GIVEN:
        kept = set(names)
        lists = [[name for name in own if name in kept] for own in given or []]
        _fill_from_neighbours(lists, embeddings, known, embeddings[sample])
        return Tags(tags.name, TagAssignment.from_lists(lists), tags.centroids)
    sums = known.sum_by_tag(embeddings[sample].astype(np.float64))
    means = sums / known.support()[:, None]
    runs: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        runs.setdefault(name.rpartition("-")[0], []).append(place)
    carried = np.empty((len(embeddings), len(runs)), dtype=np.int64)

    def fill(rows: slice) -> None:
        # the nearest of unit rows: |x - c|^2 = 1 - 2 x c + |c|^2
        score = embeddings[rows].astype(np.float64) @ means.T - (means**2).sum(axis=1) / 2
        for column, own in enumerate(runs.values()):
            carried[rows, column] = np.asarray(own)[score[:, own].argmax(axis=1)]

    for_blocks(fill, len(embeddings), jobs)
    carried.sort(axis=1)
    rows = np.repeat(np.arange(len(embeddings)), len(runs))
    assignment = TagAssignment(names, rows, carried.ravel(), len(embeddings))
    return Tags(tags.name, assignment, tags.centroids)


def tags_by_neighbours(
    known: FloatArray, tags: TagAssignment, embeddings: Matrix, k: int = 16, top: int = 4
) -> list[list[str]]:
    """Give each query (n_queries, dim) the `top` heaviest tags of its `k` nearest known queries.

    `known` are embeddings (n_known, dim) and `tags` theirs; queries without tags are left out.
    """
    index = TagIndex.build(known, tags)
    index = replace(index, index=on_gpus(index.index))
    blocks = in_blocks(
        lambda rows: index.nearest_tags(embeddings[rows], k, top), len(embeddings), jobs=1
    )
    return [[name for name, _ in nearest] for block in blocks for nearest in block]


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


def _fill_from_neighbours(
    lists: list[list[str]], embeddings: FloatArray, known: TagAssignment, inside: FloatArray
) -> None:
    """Give a row without tags those of its nearest queries among `inside`, tagged by `known`."""
    untagged = np.asarray([row for row, tags in enumerate(lists) if not tags], dtype=np.int64)
    if len(untagged):
        found = tags_by_neighbours(inside, known, RowsOf(embeddings, untagged))
        for row, tags in zip(untagged.tolist(), found, strict=True):
            lists[row] = tags


def _tags(name: str, embeddings: FloatArray, lists: list[list[str]]) -> Tags:
    assignment, inputs = TagAssignment.from_lists(lists), embeddings.astype(np.float64)
    centroids = _centroids(assignment, inputs)
    return Tags(name, assignment, centroids, inputs @ centroids.T)


def _centroids(assignment: TagAssignment, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n_tags, dim) unit vectors; zero for a tag that no query carries."""
    totals = assignment.sum_by_tag(embeddings)
    return np.asarray(totals / np.linalg.norm(totals, axis=1, keepdims=True).clip(1e-12))
