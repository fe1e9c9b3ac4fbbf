"""The tag index: which training queries, and so which tags, lie near a query."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.untrusted.faiss_file import open_index
from zooter_lite.untrusted.typed_json import parse_json, typed
from zooter_lite.untrusted.verified import Content

FloatArray = NDArray[np.float32]

FLAT_UP_TO = 50_000  # rows searched exactly; recipes/bench/tag_index.md has the crossover
PROBES = 128  # lists searched of a larger index at most, else a quarter: recall of 0.98 there
_ROWS_PER_LIST = 100  # that the centroids are learned from
_SAMPLE, _NEIGHBOURS = 500, 16  # queries, and their neighbours, of which the recall is measured


@dataclass(frozen=True)
class IndexChoice:
    """What was built, and what was measured on a sample of queries then."""

    kind: str = "Flat"  # the FAISS factory's name, such as "IVF1024,SQ8"
    probes: int = 0  # inverted lists searched per query; 0 for a flat index
    recall: float = 1.0  # share of the exact nearest neighbours that it finds
    scanned: float = 1.0  # share of the inverted lists that are searched
    error: float = 0.0  # largest distance at which a row is found from itself


def build_index(embeddings: FloatArray, flat_up_to: int = FLAT_UP_TO) -> tuple[Any, IndexChoice]:
    """Index unit `embeddings` (n, dim) by inner product, and say what the index is.

    Up to `flat_up_to` rows are searched exactly; more go to an inverted file of about sqrt(n)
    lists, 8 bits a number, whose centroids GPUs learn where there are any. Centroids and
    sample depend on the rows alone, so the same rows give the same index.
    """
    import faiss

    rows, dim = embeddings.shape
    if rows <= flat_up_to:
        flat = faiss.IndexFlatIP(dim)
        flat.add(embeddings)
        return flat, IndexChoice()
    n_lists = 2 ** max(1, round(float(np.log2(rows)) / 2))
    kind = f"IVF{n_lists},SQ8"
    index: Any = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    learning = on_gpus(faiss.IndexFlatIP(dim))  # which the index does not keep alive
    index.clustering_index = learning
    index.train(embeddings[_spread(rows, _ROWS_PER_LIST * n_lists)])
    index.clustering_index = None
    index.add(embeddings)
    index.nprobe = max(1, min(n_lists // 4, PROBES))
    sample = embeddings[_spread(rows, _SAMPLE)]
    error = float(np.abs(1 - index.search(sample, 1)[0]).max())
    # a row shares its list with its neighbours; between two rows is as far from them as a query
    queries = sample + np.roll(sample, len(sample) // 2, axis=0)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True).clip(1e-12)
    exact, _ = faiss.knn(queries, embeddings, _NEIGHBOURS, metric=faiss.METRIC_INNER_PRODUCT)
    near = embeddings[index.search(queries, _NEIGHBOURS)[1]]
    recall = np.einsum("qd,qkd->qk", queries, near) >= exact[:, -1:] - 1e-6
    measured = float(recall.mean()), index.nprobe / n_lists, error
    return index, IndexChoice(kind, index.nprobe, *(round(figure, 6) for figure in measured))


def on_gpus(index: Any) -> Any:
    """Return a copy of the index on every GPU that FAISS finds; without one, the index."""
    import faiss

    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() else index


def _spread(rows: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` row numbers, evenly spaced."""
    return np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64)


@dataclass(frozen=True)
class TagIndex:
    """Tags with their support and rewards, and a FAISS index over the training queries."""

    names: list[str]
    support: list[int]  # training queries per tag
    mean_rewards: NDArray[np.float64]  # (n_tags, n_experts) observed; NaN where none was
    query_tags: list[list[int]]  # tags (positions in `names`) of each indexed training query
    index: Any  # FAISS inner-product index over their unit embeddings, same order
    observed: NDArray[np.int64]  # (n_tags, n_experts) training queries behind each mean
    choice: IndexChoice  # which index that is, and how near it comes to exact search

    @classmethod
    def build(
        cls,
        embeddings: FloatArray,
        tags: TagAssignment,
        rewards: NDArray[np.floating] | None = None,
    ) -> TagIndex:
        """Index unit `embeddings` (n, dim) of queries with their tags and `rewards` (n, n_experts).

        Rows that carry no tag are left out of the index.
        """
        tagged = np.unique(tags.rows)
        kept = embeddings if len(tagged) == len(embeddings) else embeddings[tagged]
        index, choice = build_index(np.ascontiguousarray(kept, dtype=np.float32))
        values = np.zeros((tags.n_queries, 0)) if rewards is None else rewards
        count = tags.sum_by_tag(~np.isnan(values)).astype(np.int64)
        means = np.where(count > 0, tags.sum_by_tag(np.nan_to_num(values)) / count.clip(1), np.nan)
        lists = [own for own in tags.by_query() if own]
        return cls(tags.names, tags.support().tolist(), means, lists, index, count, choice)

    def search(self, embeddings: FloatArray, k: int) -> tuple[FloatArray, NDArray[np.int64]]:
        """Cosine similarities and positions (n, k) of the nearest training queries.

        Where an approximate index finds fewer than k, the positions end with -1.
        """
        similarities, positions = self.index.search(
            np.ascontiguousarray(embeddings, dtype=np.float32), min(k, self.index.ntotal)
        )
        return np.clip(similarities, -1.0, 1.0), positions

    def weigh(
        self, similarities: FloatArray, positions: NDArray[np.int64]
    ) -> list[tuple[int, float]]:
        """Tags (positions in `names`) of one query by its neighbours, heaviest first.

        A tag's weight is the similarity-weighted share of the neighbours that carry it. They
        are told by `similarities` and `positions` (k,), one row of what `search` returned.
        """
        found = positions >= 0
        positive = np.maximum(similarities[found], 1e-6)
        weights: dict[int, float] = {}
        for weight, position in zip(positive / positive.sum(), positions[found], strict=True):
            for tag in self.query_tags[int(position)]:
                weights[tag] = weights.get(tag, 0.0) + float(weight)
        return sorted(weights.items(), key=lambda item: (-item[1], item[0]))

    def nearest_tags(
        self, embeddings: FloatArray, k: int = 16, top: int = 4
    ) -> list[list[tuple[str, float]]]:
        """Return up to `top` tags of each query, by its `k` nearest training queries.

        They are pairs of a name and the weight that `weigh` gives it, heaviest first.
        """
        rows = zip(*self.search(embeddings, k), strict=True)
        return [
            [(self.names[tag], weight) for tag, weight in self.weigh(*row)[:top]] for row in rows
        ]

    def distance(self, embeddings: FloatArray) -> FloatArray:
        """(n,) cosine distance to the nearest training query, 0 (seen) to 2."""
        return np.asarray(1.0 - self.search(embeddings, 1)[0][:, 0], dtype=np.float32)

    def to_files(self) -> dict[str, bytes]:
        """Content of tags.json and tags.faiss."""
        import faiss

        means = [
            [None if np.isnan(m) else round(float(m), 6) for m in r] for r in self.mean_rewards
        ]
        vectors = faiss.serialize_index(self.index).tobytes()
        content = {
            "index": asdict(self.choice) | {"bytes": len(vectors)},
            "names": self.names,
            "support": self.support,
            "mean_rewards": means,
            "query_tags": self.query_tags,
        }
        if (self.observed != np.asarray(self.support)[:, None]).any():  # some reward is missing
            content["observed"] = self.observed.tolist()
        return {
            "tags.json": json.dumps(content, sort_keys=True, ensure_ascii=False).encode(),
            "tags.faiss": vectors,
        }

    @classmethod
    def from_files(
        cls, tags_json: Content, tags_faiss: Content, dim: int, n_experts: int
    ) -> TagIndex:
        """Rebuild the index; RouterError where the files fit neither each other nor the router."""
        content = parse_json("tags.json", tags_json)
        try:
            means = np.asarray(content["mean_rewards"], dtype=np.float64)
            names, support = list(content["names"]), [int(n) for n in content["support"]]
            observed = np.asarray(
                content.get("observed", [[n] * n_experts for n in support]), dtype=np.int64
            )
            query_tags = [list(tags) for tags in content["query_tags"]]
            choice = typed(IndexChoice, content.get("index", {}), "index")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise RouterError(
                f"tags.json is not what a router holds ({repr(error)[:200]})"
            ) from error
        shape = (len(names), n_experts)
        if (means.shape, observed.shape, len(support)) != (shape, shape, len(names)):
            raise RouterError("tags.json: names, support and rewards do not fit")
        if not _all_of(names, str) or not _within(query_tags, len(names)):
            raise RouterError("tags.json: names or query tags are not what they should be")
        index = open_index(tags_faiss, dim, len(query_tags))
        if hasattr(index, "nprobe"):
            if not 1 <= choice.probes <= index.nlist:
                raise RouterError(
                    f"tags.json: {choice.probes} probes of an index of {index.nlist} lists"
                )
            index.nprobe = choice.probes
        return cls(names, support, means, query_tags, index, observed, choice)


def _all_of(values: list[Any], kind: type) -> bool:
    return set(map(type, values)) <= {kind}


def _within(lists: list[list[Any]], n_tags: int) -> bool:
    """Tell whether the lists hold positions of tags and nothing else, and each at least one."""
    flat = list(chain.from_iterable(lists))
    whole = all(lists) and bool(flat) and _all_of(flat, int)
    return whole and 0 <= min(flat) <= max(flat) < n_tags
