"""Where tags come from at fit: the table, its neighbours, or clusters of embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.cores import cores
from zooter_lite.labels.blocks import Matrix, RowsOf, for_blocks, in_blocks
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.tags.index import TagIndex

FloatArray = NDArray[np.float32]

GIVEN = "given"  # name of the tagging that the table gives
ROWS_PER_CLUSTER = 10  # fewer rows than this per cluster make a granularity useless
REPEATS = 3  # k-means runs per size, each from its own start: their mean is steadier
MIN_SUPPORT = 10  # a given tag carried by fewer training queries is left out


@dataclass(frozen=True)
class Tags:
    """One way of tagging the training queries.

    Attributes
    ----------
    centroids
        (n_tags, dim) float64 unit vectors: the mean embedding of each tag's queries.
    near
        (n_queries, n_tags) cosine similarity of the queries to the centroids; None where the
        queries are too many to keep it.
    """

    name: str  # such as "given" or "clusters 8+16+32"
    assignment: TagAssignment
    centroids: NDArray[np.float64]
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
    blocks = in_blocks(
        lambda rows: index.nearest_tags(embeddings[rows], k, top), len(embeddings), jobs=1
    )
    return [[name for name, _ in nearest] for block in blocks for nearest in block]


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
