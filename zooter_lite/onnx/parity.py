"""The parity gate: what an exported graph changes against the model it was made from.

Both checks run from text, on training queries, so that no test row decides what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import EmbeddingCache
from zooter_lite.encode.encoder import Encoder, cache_key
from zooter_lite.encode.find import find_encoder, is_static
from zooter_lite.encode.reference import load_torch, torch_embeddings
from zooter_lite.errors import ZooterError
from zooter_lite.router.directory.config import Parity
from zooter_lite.router.head import Head
from zooter_lite.router.session import TextSession

Array = NDArray[np.floating]

MAX_DIFFERENCE = 1e-4  # of a probability, fp32 graph against torch
TIE = 1e-5  # closer probabilities count as equal
MAX_LOST = 0.1  # points of mean reward that int8 may lose
MARGIN_QUANTILE = 0.99  # of int8's error in the margin; closer calls are repeated in fp32


class ParityError(ZooterError):
    """An exported graph does not compute what was fitted."""


def reference_embeddings(
    encoder: Encoder,
    queries: Sequence[str],
    cache: Path,
    progress: Callable[[int], object] = lambda _: None,
) -> NDArray[np.float32]:
    """(n_queries, dim) unit embeddings computed by torch, kept in the cache.

    Of a static encoder: by model2vec, and not kept.
    """
    spec = encoder.spec
    if is_static(spec.name):
        from zooter_lite.encode.static import static_embeddings  # it needs the encoder's module

        return static_embeddings(spec.name, cache, queries)
    store = EmbeddingCache(cache, f"{cache_key(spec)}-torch", spec.dim)
    loaded: list[object] = []  # torch's model, once it is needed

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        if not loaded:
            loaded.append(load_torch(find_encoder(spec.name, cache), spec.name))
        return torch_embeddings(loaded[0], texts, spec.prompt)

    return store.embed(queries, embed, progress)


def graph_probs(
    graph: bytes,
    encoder: Encoder,
    queries: Sequence[str],
    progress: Callable[[int], object] = lambda _: None,
) -> NDArray[np.float32]:
    """Probabilities (n_queries, n_experts) of a router's graph, from text."""
    session = TextSession(
        graph, encoder.tokenizer, encoder.spec.max_length, threads=1, trusted=True
    )
    return session.run(queries, ["probs"], progress)[0]


def check_fp32(found: Array, head: Head, embeddings: Array, rewards: Array) -> Parity:
    """Compare the fp32 graph with the reference embeddings and the numpy head.

    Parameters
    ----------
    found
        (n, n_experts) probabilities of the graph.
    head, embeddings
        The fitted head and the reference's embeddings (n, dim) of the same queries.
    rewards
        (n, n_experts), NaN where not observed.

    Raises
    ------
    ParityError
        A probability differs by more than `MAX_DIFFERENCE`, or a decision that is no tie.
    """
    expected = head.probs(embeddings.astype(np.float64))
    parity = _compare(found, expected, rewards)
    if not parity.max_difference <= MAX_DIFFERENCE or parity.changed_decisions > 0:
        raise ParityError(
            f"router.onnx differs from its reference by {parity.max_difference:.1e} in a "
            f"probability and in {parity.changed_decisions:.2%} of the decisions on "
            f"{parity.queries} queries "
            f"(allowed: {MAX_DIFFERENCE:.0e} and none)"
        )
    return parity


def check_int8(found: Array, expected: Array, rewards: Array) -> Parity:
    """Compare the int8 graph's probabilities with fp32's, and set the margin of `auto`.

    Parameters
    ----------
    found, expected
        (n, n_experts) probabilities in int8 and in fp32.
    rewards
        (n, n_experts), NaN where not observed.

    Raises
    ------
    ParityError
        The mean reward lost is more than `MAX_LOST` points.
    """
    plain = _compare(found, expected, rewards)
    if not plain.lost <= MAX_LOST:
        raise ParityError(
            f"router.int8.onnx loses {plain.lost:.2f} points of mean reward on {plain.queries} "
            f"training queries, with {plain.changed_decisions:.2%} of the decisions changed "
            f"(allowed: {MAX_LOST} points)"
        )
    rows = np.arange(len(found))
    second, first = np.argsort(found, axis=1, kind="stable")[:, -2:].T
    gap = found[rows, first] - found[rows, second]
    error = np.abs(gap - (expected[rows, first] - expected[rows, second]))
    margin = float(np.quantile(error, MARGIN_QUANTILE))
    close = gap <= margin
    after = _compare(np.where(close[:, None], expected, found), expected, rewards)
    return replace(
        plain,
        margin=margin,
        repeats=float(close.mean()),
        changed_after_repeats=after.changed_decisions,
    )


def _compare(found: Array, expected: Array, rewards: Array) -> Parity:
    rows = np.arange(len(found))
    ours, theirs = found.argmax(axis=1), expected.argmax(axis=1)
    changed = expected[rows, theirs] - expected[rows, ours] > TIE
    both = rewards[rows, theirs] - np.where(changed, rewards[rows, ours], rewards[rows, theirs])
    spread = float(np.nanmax(rewards) - np.nanmin(rewards))
    lost = 100 * float(np.nanmean(both)) / spread if spread > 0 else 0.0
    return Parity(
        queries=len(found),
        max_difference=float(np.abs(found - expected).max()),
        changed_decisions=float(changed.mean()),
        lost=lost,
    )
