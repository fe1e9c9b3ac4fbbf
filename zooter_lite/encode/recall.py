"""Embeddings of queries that an earlier fit has left in the cache, for a router on its encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import EmbeddingCache, is_cache
from zooter_lite.router.router import Router

Recall = Callable[[Router, Sequence[str]], tuple[NDArray[np.bool_], NDArray[np.float32]]]


def recall(folder: Path) -> Recall | None:
    """Return what tells which queries are known, and gives the embeddings of these.

    None where `folder` holds no cache.
    """
    if not is_cache(folder):
        return None

    def find(
        router: Router, queries: Sequence[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        from zooter_lite.encode.encoder import EncoderSpec

        key = EncoderSpec(**asdict(router.config.encoder)).cache_key
        return EmbeddingCache(folder, key, router.head.dim).find(queries)

    return find
