"""Put a fitted head, its encoder and its tags into a router directory, checked for parity."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import is_static
from zooter_lite.graph.quantise import n_products
from zooter_lite.head.fit_head import Fitted
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.onnx.parity import (
    Parity,
    ParityError,
    check_fp32,
    check_int8,
    graph_probs,
    reference_embeddings,
)
from zooter_lite.onnx.router_graph import int8_encoder, router_graph
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.store import GRAPHS, QUERIES, TOKENIZER
from zooter_lite.router.head import Head
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.index import TagIndex
from zooter_lite.tags.tagging import Tags

FloatArray = NDArray[np.float32]
EXACT_ROWS = 256  # training queries on which the fp32 graph is compared with torch
INT8_ROWS = 4096  # ... on which int8 is compared with fp32
CALIBRATION_ROWS = 256  # ... on which the ranges of int8's activations are taken
SPARED = (4, 8)  # last products left in fp32 where int8 loses too much: a layer's, two layers'


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
        }
        | _mean_costs(train)
        | ({} if fitted.sample is None else {"rows_that_chose": len(fitted.sample)}),
    }


def _mean_costs(train: RewardTable) -> dict[str, Any]:
    """Mean observed cost of each expert, None for one without; nothing without costs."""
    if train.costs is None:
        return {}
    means = observed_mean(train.costs).tolist()
    return {"mean_costs": [float(f"{mean:.6g}") if mean == mean else None for mean in means]}


def tag_files(train: RewardTable, embeddings: FloatArray, tagging: Tags) -> dict[str, bytes]:
    """Content of the tag index's files, over the tagged training queries."""
    assignment = tagging.assignment
    lists = assignment.by_query()
    return TagIndex.build(embeddings, assignment.names, lists, train.rewards).to_files()


def kept_queries(train: RewardTable, tagging: Tags) -> dict[str, bytes]:
    """Content of queries.json: the texts of the queries in the tag index."""
    tagged = np.unique(tagging.assignment.rows).tolist()
    text = json.dumps([train.queries[row] for row in tagged], ensure_ascii=False)
    return {QUERIES: text.encode("utf-8", "replace")}  # lone surrogates become "?"


@dataclass(frozen=True)
class Exports:
    """Graphs of a router that passed the parity gate, and what it measured.

    Attributes
    ----------
    files
        Content by file name.
    parity
        Figures by precision.
    refused
        Why the int8 graph was left out, or "".
    """

    files: dict[str, bytes]
    parity: dict[str, Parity]
    refused: str = ""


def export_graphs(
    encoder: Encoder,
    head: Head,
    train: RewardTable,
    precisions: Sequence[str],
    cache: Path,
    progress: Callable[[int], object] = lambda _: None,
) -> Exports:
    """Make the router's graphs and pass each through the parity gate.

    Parameters
    ----------
    head
        As it is stored, float32.
    train
        Training rows, experts in the router's order: the gate compares on a part of
        them, and int8 is calibrated on another.
    precisions
        "fp32", "int8" or both; fp32 is always checked.
    progress
        Called with the number of queries compared since the last call.

    Raises
    ------
    ParityError
        The fp32 graph does not compute what torch and the head compute.
    """
    order = np.random.default_rng(0).permutation(len(train))
    exact = train.take(np.sort(order[:EXACT_ROWS]))
    graph = router_graph(encoder, head, train.experts)
    found = graph_probs(graph, encoder, exact.queries, progress)
    reference = reference_embeddings(encoder, exact.queries, cache, progress)
    files = {GRAPHS["fp32"]: graph, TOKENIZER: encoder.tokenizer.encode()}
    parity = {"fp32": check_fp32(found, head, reference, exact.rewards)}
    if "int8" not in precisions:
        return Exports(files, parity)
    if is_static(encoder.spec.name):
        return Exports(files, parity, "a static encoder is a table of vectors, without a product")
    calibration, compared = order[:CALIBRATION_ROWS], order[CALIBRATION_ROWS:][:INT8_ROWS]
    compared = compared if len(compared) >= CALIBRATION_ROWS else order
    rows = train.take(np.sort(compared))
    expected = head.probs(encoder.embed(rows.queries, cache))
    refused = ""
    most = n_products(encoder.graph)
    for spared in [0, *(n for n in SPARED if n < most)]:
        small = int8_encoder(encoder, train.take(np.sort(calibration)).queries, spared)
        graph = router_graph(small, head, train.experts)
        found = graph_probs(graph, encoder, rows.queries, progress)
        try:
            measured = check_int8(found, expected, rows.rewards)
        except ParityError as error:
            refused = refused or str(error)
            continue
        parity["int8"] = replace(measured, spared=spared)
        return Exports(files | {GRAPHS["int8"]: graph}, parity)
    return Exports(files, parity, refused)
