"""The tag index: which training queries, and so which tags, lie near a query."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.labels.soft import sum_groups
from zooter_lite.tags.neighbours import IndexChoice, build_index
from zooter_lite.untrusted.faiss_file import open_index
from zooter_lite.untrusted.typed_json import parse_json, typed
from zooter_lite.untrusted.verified import Content

FloatArray = NDArray[np.float32]


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
        names: list[str],
        query_tags: list[list[int]],
        rewards: NDArray[np.floating] | None = None,
    ) -> TagIndex:
        """Index unit `embeddings` (n, dim) of queries with their tags and `rewards` (n, n_experts).

        Rows that carry no tag are left out of the index.
        """
        tagged = [row for row, tags in enumerate(query_tags) if tags]
        kept = embeddings if len(tagged) == len(embeddings) else embeddings[tagged]
        index, choice = build_index(np.ascontiguousarray(kept, dtype=np.float32))
        rows = np.repeat(np.arange(len(query_tags)), list(map(len, query_tags)))
        tags = np.fromiter(chain.from_iterable(query_tags), np.int64, len(rows))
        values = np.zeros((len(query_tags), 0)) if rewards is None else rewards
        total = sum_groups(np.nan_to_num(values), rows, tags, len(names))
        count = sum_groups(~np.isnan(values), rows, tags, len(names)).astype(np.int64)
        support = np.bincount(tags, minlength=len(names))
        means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        lists = [query_tags[row] for row in tagged]
        return cls(names, support.tolist(), means, lists, index, count, choice)

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

        A tag's weight is the similarity-weighted share of the neighbours that carry it.

        Parameters
        ----------
        similarities, positions
            (k,) one row of what `search` returned.
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
        """Return the tags of each query by its `k` nearest training queries.

        Returns for each query up to `top` pairs (name, weight as `weigh` gives it),
        heaviest first.
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
        """Rebuild the index; both files are checked whole before they are used.

        Raises
        ------
        RouterError
            The two files do not fit each other or the router.
        """
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
    return (
        all(lists) and bool(flat) and _all_of(flat, int) and min(flat) >= 0 and max(flat) < n_tags
    )
