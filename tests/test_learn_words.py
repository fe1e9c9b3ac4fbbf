"""Sparse features of words against the lexicon's own arithmetic, and what a fit makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import units
from zooter_lite.learn.distil import Distillation, distil
from zooter_lite.learn.words import N_BUCKETS, N_BUCKETS_OF_MANY, count_words
from zooter_lite.router.lexicon import FIRST, SECOND, SHIFT, buckets

TOKENS = [np.asarray(ids) for ids in ([1, 7, 7, 2], [1, 7, 2], [1, 9, 2], [1, 9, 8, 2], [1, 2])]


def test_buckets_by_hand() -> None:
    pair = (FIRST * 3 + SECOND * 4 + SHIFT) % 1000
    assert buckets(np.asarray([3, 4]), 1000).tolist() == [3, 4, pair]
    assert buckets(np.asarray([1005]), 1000).tolist() == [5]
    assert buckets(np.asarray([], dtype=np.int64), 1000).tolist() == []


def test_rarity_by_hand() -> None:
    words = count_words(TOKENS, 3)
    assert words.rarity[7] == pytest.approx(np.log(5 / 2))
    assert words.rarity[1] == 0.0  # in every query
    assert words.rarity[8] == 0.0  # in one query alone
    assert len(words.rarity) == N_BUCKETS
    assert len(count_words(TOKENS, 33).rarity) == N_BUCKETS_OF_MANY


def test_the_features_are_what_the_lexicon_computes() -> None:
    words = count_words(TOKENS, 2)
    weights = np.random.default_rng(0).normal(size=(len(words.used), 2))
    np.testing.assert_allclose(words.features @ weights, words.lexicon(weights).logits(TOKENS))
    part = words.take(np.asarray([3, 0]))
    np.testing.assert_allclose(
        part.features @ weights, words.lexicon(weights).logits([TOKENS[3], TOKENS[0]])
    )


def test_words_are_learned_that_the_embedding_does_not_show() -> None:
    random = np.random.default_rng(1)
    kinds = random.integers(0, 2, 200)
    tokens = [np.asarray([1, 10 + kind, *random.integers(20, 60, 3), 2]) for kind in kinds]
    labels = np.where(kinds[:, None] == [0, 1], 0.9, 0.1)
    embeddings = units(200, 4, 2)
    words = count_words(tokens, 2)
    head = distil(embeddings, labels, Distillation("linear", 0.001), words=words)
    assert (head.logits(embeddings, tokens).argmax(axis=1) == kinds).all()
    again = distil(embeddings, labels, Distillation("linear", 0.001), start=head, words=words)
    np.testing.assert_allclose(
        again.logits(embeddings, tokens), head.logits(embeddings, tokens), atol=1e-2
    )
    # at a minimum the gradient of the table is zero: residual by feature plus the penalty
    logits = head.logits(embeddings, tokens)
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert head.lexicon is not None
    gradient = words.features.T @ (share - labels) / 200 + 0.001 * head.lexicon.table[words.used]
    assert np.abs(gradient).max() < 1e-4
