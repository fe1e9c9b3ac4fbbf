"""The tag index: which training queries, and so which tags, lie near a query."""

from __future__ import annotations

import json
import mmap
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError

FloatArray = NDArray[np.float32]
Content = bytes | mmap.mmap
_FLAT_INNER_PRODUCT = b"IxFI"  # the magic number that faiss writes for IndexFlatIP
_INNER_PRODUCT = 0  # faiss.METRIC_INNER_PRODUCT
_FLAT_HEADER = "<4siqqq?iQ"  # magic, dim, rows, two unused, trained, metric, floats


@dataclass(frozen=True)
class TagIndex:
    """Tags with their support and rewards, and a FAISS index over the training queries.

    Attributes
    ----------
    names
        Tag names, length n_tags.
    support
        Training queries per tag, length n_tags.
    mean_rewards
        (n_tags, n_experts) mean observed reward; NaN where none was observed.
    query_tags
        Tags (positions in `names`) of each indexed training query.
    index
        Exact FAISS inner-product index over their unit embeddings, same order.
    """

    names: list[str]
    support: list[int]
    mean_rewards: NDArray[np.float64]
    query_tags: list[list[int]]
    index: Any

    @classmethod
    def build(
        cls,
        embeddings: FloatArray,
        names: list[str],
        query_tags: list[list[int]],
        rewards: NDArray[np.floating],
    ) -> TagIndex:
        """Index unit `embeddings` (n, dim) of queries with their tags and `rewards` (n, n_experts).

        Rows that carry no tag are left out of the index.
        """
        import faiss  # routing needs no tags, and this import takes a tenth of a second

        tagged = [row for row, tags in enumerate(query_tags) if tags]
        index = faiss.IndexFlatIP(embeddings.shape[1])
        index.add(np.ascontiguousarray(embeddings[tagged], dtype=np.float32))
        total = np.zeros((len(names), rewards.shape[1]))
        count = np.zeros_like(total)
        support = np.zeros(len(names), dtype=np.int64)
        for row in tagged:
            observed = ~np.isnan(rewards[row])
            for tag in query_tags[row]:
                total[tag, observed] += rewards[row, observed]
                count[tag] += observed
                support[tag] += 1
        means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return cls(names, support.tolist(), means, [query_tags[row] for row in tagged], index)

    def search(self, embeddings: FloatArray, k: int) -> tuple[FloatArray, NDArray[np.int64]]:
        """Cosine similarities and positions (n, k) of the nearest training queries."""
        similarities, positions = self.index.search(
            np.ascontiguousarray(embeddings, dtype=np.float32), min(k, self.index.ntotal)
        )
        return similarities, positions

    def nearest_tags(
        self, embeddings: FloatArray, k: int = 16, top: int = 4
    ) -> list[list[tuple[str, float]]]:
        """Return the tags of each query by its `k` nearest training queries.

        A tag's weight is the similarity-weighted share of the neighbours that carry
        it. Returns for each query up to `top` pairs (name, weight), heaviest first.
        """
        similarities, positions = self.search(embeddings, k)
        found = []
        for row_similarities, row_positions in zip(similarities, positions, strict=True):
            weights: dict[int, float] = {}
            positive = np.maximum(row_similarities, 1e-6)
            for weight, position in zip(positive / positive.sum(), row_positions, strict=True):
                for tag in self.query_tags[int(position)]:
                    weights[tag] = weights.get(tag, 0.0) + float(weight)
            ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:top]
            found.append([(self.names[tag], weight) for tag, weight in ranked])
        return found

    def distance(self, embeddings: FloatArray) -> FloatArray:
        """(n,) cosine distance to the nearest training query, 0 (seen) to 2."""
        return np.asarray(1.0 - self.search(embeddings, 1)[0][:, 0], dtype=np.float32)

    def to_files(self) -> dict[str, bytes]:
        """Content of tags.json and tags.faiss."""
        import faiss

        means = [
            [None if np.isnan(m) else round(float(m), 6) for m in r] for r in self.mean_rewards
        ]
        content = {
            "names": self.names,
            "support": self.support,
            "mean_rewards": means,
            "query_tags": self.query_tags,
        }
        return {
            "tags.json": json.dumps(content, sort_keys=True, ensure_ascii=False).encode(),
            "tags.faiss": faiss.serialize_index(self.index).tobytes(),
        }

    @classmethod
    def from_files(
        cls, tags_json: Content, tags_faiss: Content, dim: int, n_experts: int
    ) -> TagIndex:
        """Rebuild the index; the header of the FAISS file is checked before faiss reads it.

        Raises
        ------
        RouterError
            The two files do not fit each other or the router.
        """
        import faiss

        try:
            content = json.loads(tags_json[:])
            means = np.asarray(content["mean_rewards"], dtype=np.float64)
            names, support = list(content["names"]), list(content["support"])
            query_tags = [[int(tag) for tag in tags] for tags in content["query_tags"]]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise RouterError(f"tags.json is not what a router holds ({error!r})") from error
        if not all(0 <= tag < len(names) for tags in query_tags for tag in tags) or (
            means.shape != (len(names), n_experts) or len(support) != len(names)
        ):
            raise RouterError("tags.json: names, support, rewards and query tags do not fit")
        _check_flat_header(tags_faiss, dim, len(query_tags))
        index = faiss.deserialize_index(np.frombuffer(tags_faiss, dtype=np.uint8))
        return cls(names, support, means, query_tags, index)


def _check_flat_header(content: Content, dim: int, rows: int) -> None:
    size = struct.calcsize(_FLAT_HEADER)
    header = struct.unpack(_FLAT_HEADER, content[:size]) if len(content) >= size else ()
    fixed = (*header[:3], *header[5:])  # all but the two unused
    expected = (_FLAT_INNER_PRODUCT, dim, rows, True, _INNER_PRODUCT, dim * rows)
    if fixed != expected or len(content) != size + 4 * dim * rows:
        raise RouterError(f"tags.faiss is not a flat inner-product index of {rows} rows by {dim}")
