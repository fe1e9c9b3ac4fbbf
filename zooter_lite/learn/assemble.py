"""Put a fitted head, its encoder and its tags into a router directory, checked for parity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.data.table import RewardTable
from zooter_lite.errors import ZooterError
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.learn.encoder import Encoder
from zooter_lite.learn.export import router_graph
from zooter_lite.learn.train import Fitted, Recipe
from zooter_lite.router.directory import QUERIES
from zooter_lite.router.head import Head
from zooter_lite.router.session import TextSession
from zooter_lite.router.tags import TagIndex

FloatArray = NDArray[np.float32]
PARITY = 1e-4  # largest allowed |difference| of a probability, graph against numpy head
PARITY_ROWS = 512  # queries that a fit compares


class ParityError(ZooterError):
    """The exported graph does not compute what was fitted."""


def router_config(
    encoder: Encoder, train: RewardTable, fitted: Fitted, recipe: Recipe
) -> dict[str, Any]:
    """Return config.json without the parts that writing adds (version, sizes, hashes)."""
    means = observed_mean(train.rewards)
    return fitted.config() | {
        "experts": train.experts,
        "encoder": asdict(encoder.spec),
        "policy": {"default": "arg max"},
        "training": {
            "folds": recipe.folds,
            "mean_rewards": [round(float(mean), 6) for mean in means],
            "rows": len(train),
            "seed": recipe.seed,
        },
    }


def router_files(
    encoder: Encoder, train: RewardTable, embeddings: FloatArray, fitted: Fitted
) -> dict[str, bytes]:
    """Content of router.onnx, tokenizer.json and, with tags, the tag index."""
    files = {
        "router.onnx": router_graph(encoder, fitted.head, train.experts),
        "tokenizer.json": encoder.tokenizer.encode(),
    }
    if fitted.tagging is not None:
        assignment = fitted.tagging.assignment
        query_tags: list[list[int]] = [[] for _ in range(len(train))]
        for row, tag in zip(assignment.rows.tolist(), assignment.tags.tolist(), strict=True):
            query_tags[row].append(tag)
        index = TagIndex.build(embeddings, assignment.names, query_tags, train.rewards)
        files |= index.to_files()
    return files


def kept_queries(train: RewardTable, fitted: Fitted) -> dict[str, bytes]:
    """Content of queries.json: the texts of the queries in the tag index; nothing without tags."""
    if fitted.tagging is None:
        return {}
    tagged = np.unique(fitted.tagging.assignment.rows).tolist()
    text = json.dumps([train.queries[row] for row in tagged], ensure_ascii=False)
    return {QUERIES: text.encode("utf-8", "replace")}  # lone surrogates become "?"


def check_parity(
    files: dict[str, bytes],
    head: Head,
    max_length: int,
    queries: Sequence[str],
    embeddings: FloatArray,
) -> dict[str, float]:
    """Compare the graph, from text, with the numpy head on the embeddings it was fitted on.

    Returns
    -------
    Number of queries, largest |difference| of a probability, share of changed decisions.

    Raises
    ------
    ParityError
        The largest difference exceeds `PARITY`.
    """
    session = TextSession(files["router.onnx"], files["tokenizer.json"].decode(), max_length)
    (found,) = session.run(queries, ["probs"])
    expected = head.probs(embeddings)
    worst = float(np.abs(found - expected).max())
    if not worst <= PARITY:
        raise ParityError(
            f"the exported graph's probabilities differ from the fitted head's by {worst:.1e} "
            f"(at most {PARITY:.0e} is allowed)"
        )
    flips = float((found.argmax(axis=1) != expected.argmax(axis=1)).mean())
    return {"queries": len(queries), "max_difference": worst, "changed_decisions": flips}
