"""An exported encoder: a graph that embeds without torch, and what it remembers on disk.

The exported graph is what embeds at fit, at evaluation and in the router, so the head
is fitted on exactly the embeddings that it will meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import FOLDER, EmbeddingCache
from zooter_lite.router.directory.config import EncoderSpec
from zooter_lite.router.router import Router
from zooter_lite.router.session import TextSession

EXPORT_VERSION = 2  # to be raised with every change of what an export computes or is named

Recall = Callable[[Router, Sequence[str]], tuple[NDArray[np.bool_], NDArray[np.float32]]]


def cache_key(spec: EncoderSpec) -> str:
    """Name what decides an embedding beside its text."""
    prompt = hashlib.sha256(spec.prompt.encode()).hexdigest()[:16] if spec.prompt else ""
    layers = f"-{spec.layers}-layers" if spec.layers else ""
    return f"{spec.sha256}{prompt}-v{EXPORT_VERSION}{layers}{'-words' if spec.words else ''}"


@dataclass(frozen=True)
class Encoder:
    """An exported encoder."""

    spec: EncoderSpec  # what config.json of a router says of it
    graph: bytes  # ONNX; inputs as in the router's contract, output `unit` (batch, dim)
    tokenizer: str  # content of tokenizer.json

    def session(self) -> TextSession:
        """Return onnxruntime on the graph, one thread for each batch; started once and kept.

        It has no bounds of time and memory: the encoder is the user's own.
        """
        return self._session

    @cached_property
    def _session(self) -> TextSession:
        return TextSession(
            self.graph, self.tokenizer, self.spec.max_length, threads=1, trusted=True
        )

    def embed(
        self,
        queries: Sequence[str],
        cache: Path,
        progress: Callable[[int], object] = lambda _: None,
    ) -> NDArray[np.float32]:
        """(n_queries, dim) unit embeddings; those that `cache` holds are not computed again.

        Large ones are mapped from disk. `progress` is called with the number of distinct
        queries done since the last call.
        """
        kept = EmbeddingCache(cache, cache_key(self.spec), self.spec.dim)
        return kept.embed(queries, lambda texts: self.session().run(texts, ["unit"])[0], progress)


def recall(cache: Path) -> Recall | None:
    """Return what tells which queries a fit has embedded by a router's encoder, and gives these.

    The function takes a router and n queries, and returns whether each is known, (n,), and
    the embeddings of the known ones, (n_known, dim). None where `cache` holds no embeddings.
    """
    if not (cache / FOLDER).is_dir():
        return None
    return lambda router, queries: EmbeddingCache(
        cache, cache_key(router.config.encoder), router.head.dim
    ).find(queries)
