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
from zooter_lite.encode.words import Words
from zooter_lite.errors import ZooterError
from zooter_lite.router.decision import Predictions
from zooter_lite.router.directory.config import Parity
from zooter_lite.router.head import Head
from zooter_lite.router.session import TextSession

Array = NDArray[np.floating]

MAX_DIFFERENCE = 1e-4  # of a probability, fp32 graph against torch
TIE = 1e-5  # closer probabilities count as equal
MAX_LOST = 0.1  # points of mean reward that an exported graph may lose
MAX_DIVERGENCE = 0.01  # nats: mean Kullback-Leibler divergence of its probabilities
ONE_SIDED = 1.645  # standard errors: 95% of a normal distribution are below


class ParityError(ZooterError):
    """An exported graph does not compute what was fitted."""


def reference_embeddings(
    encoder: Encoder,
    queries: Sequence[str],
    cache: Path,
    progress: Callable[[int], object] = lambda _: None,
) -> NDArray[np.float32]:
    """(n_queries, dim) unit embeddings computed by torch, kept in the cache.

    Of a static encoder: by model2vec, and not kept. The words beside a sentence: by numpy.
    """
    spec = encoder.spec
    if is_static(spec.name):
        from zooter_lite.encode.static import static_embeddings  # it needs the encoder's module

        return static_embeddings(encoder, queries)
    dim = spec.dim - (spec.words or 0)
    store = EmbeddingCache(cache, f"{cache_key(replace(spec, words=None))}-torch", dim)
    loaded: list[object] = []  # torch's model, once it is needed

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        if not loaded:
            loaded.append(load_torch(find_encoder(spec.name, cache), spec.name, spec.layers))
        return torch_embeddings(loaded[0], texts, spec.prompt)

    sentences = store.embed(queries, embed, progress)
    words = Words.of(encoder) if spec.words else None
    return sentences if words is None else words.beside(sentences, queries)


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
    """Compare the fp32 graph with the numpy head on reference embeddings (n, dim).

    `found` are the graph's probabilities (n, n_experts) of the same queries, `rewards` likewise,
    NaN where not observed. ParityError where a probability differs by more than
    `MAX_DIFFERENCE`, or `_refuse_losses` finds a loss.
    """
    expected = head.predict(embeddings.astype(np.float64))
    parity = _compare(found, expected, rewards)
    if not parity.max_difference <= MAX_DIFFERENCE:
        raise ParityError(
            f"router.onnx differs from its reference by {parity.max_difference:.1e} in a "
            f"probability on {parity.queries} queries (allowed: {MAX_DIFFERENCE:.0e})"
        )
    _refuse_losses("router.onnx", parity)
    return parity


def check_smaller(name: str, found: Array, expected: Predictions, rewards: Array) -> Parity:
    """Compare int8's or fp16's probabilities (n, n_experts) with fp32's.

    `rewards` are likewise, NaN where not observed. ParityError, which names the graph's file,
    where `_refuse_losses` finds a loss.
    """
    parity = _compare(found, expected, rewards)
    _refuse_losses(name, parity)
    return parity


def _refuse_losses(name: str, parity: Parity) -> None:
    """Raise ParityError for what the queries show to be lost.

    A single changed decision moves the observed mean of a thousand queries by about `MAX_LOST`.
    So the loss is judged by the expected rewards, whose error is small, and by what was observed
    only where that is beyond its own error. A head without expected rewards has only the latter.
    """
    for kind, least in (
        ("expected", parity.expected_loss_bound),
        ("observed", parity.lost - ONE_SIDED * parity.lost_error),
    ):
        if not least <= MAX_LOST:
            value = parity.lost if kind == "observed" else parity.expected_loss
            raise ParityError(
                f"{name} loses {value:.2f} points of {kind} reward on {parity.queries} training "
                f"queries, with {parity.changed_decisions:.2%} of the decisions changed "
                f"(allowed: {MAX_LOST} points, one-sided at 95%)"
            )
    if not parity.divergence <= MAX_DIVERGENCE:
        raise ParityError(
            f"{name} moves the probabilities by {parity.divergence:.3g} nats in the mean on "
            f"{parity.queries} training queries (allowed: {MAX_DIVERGENCE})"
        )


def _compare(found: Array, expected: Predictions, rewards: Array) -> Parity:
    rows, probs = np.arange(len(found)), expected.probs
    ours, theirs = found.argmax(axis=1), probs.argmax(axis=1)
    changed = probs[rows, theirs] - probs[rows, ours] > TIE
    ours = np.where(changed, ours, theirs)
    spread = float(np.nanmax(rewards) - np.nanmin(rewards)) or 1.0
    lost, error = _mean(rewards[rows, theirs] - rewards[rows, ours], spread)
    likely = expected.rewards if expected.rewards is not None else np.zeros(probs.shape)
    expected_loss, expected_error = _mean(likely[rows, theirs] - likely[rows, ours], spread)
    tiny = np.finfo(np.float32).tiny
    divergence = (probs * np.log(np.maximum(probs, tiny) / np.maximum(found, tiny))).sum(axis=1)
    return Parity(
        queries=len(found),
        max_difference=float(np.abs(found - probs).max()),
        changed_decisions=float(changed.mean()),
        lost=lost,
        lost_error=error,
        expected_loss=expected_loss,
        expected_loss_bound=expected_loss + ONE_SIDED * expected_error,
        divergence=float(divergence.mean()),
    )


def _mean(differences: Array, spread: float) -> tuple[float, float]:
    """Mean of what is known, in hundredths of the spread, and its standard error."""
    known = 100 * differences[~np.isnan(differences)] / spread
    if len(known) < 2:
        return float(known.sum()), 0.0
    return float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known)))
