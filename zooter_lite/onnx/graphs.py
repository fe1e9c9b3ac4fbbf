"""Put a fitted head, its encoder and its tags into a router directory, checked for parity."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.prices import Priced
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import is_static
from zooter_lite.graph.quantise import Ranges, activation_ranges, n_products
from zooter_lite.head.fit_head import Fitted
from zooter_lite.labels.completion import mean_rewards
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.onnx.parity import (
    ParityError,
    check_fp32,
    check_smaller,
    graph_probs,
    reference_embeddings,
)
from zooter_lite.onnx.router_graph import fp16_encoder, int8_encoder, router_graph
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.config import (
    QUALITY,
    Calibration,
    Parities,
    Point,
    RouterConfig,
    Training,
)
from zooter_lite.router.directory.store import GRAPHS, QUERIES, TOKENIZER
from zooter_lite.router.head import Head
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.index import TagIndex
from zooter_lite.tags.tagging import Tags

FloatArray = NDArray[np.float32]
EXACT_ROWS = 256  # training queries on which the fp32 graph is compared with torch
COMPARED_ROWS = 1024  # ... on which int8 and fp16 are compared with fp32
CALIBRATION_ROWS = 256  # ... on which the ranges of int8's activations are taken
SENSED_ROWS = 64  # ... on which one product at a time is tried in int8, where all lose too much
SPARED = (4, 8)  # products left in fp32 then: those whose int8 moves the embedding furthest


@dataclass(frozen=True)
class Exports:
    """Graphs of a router that passed the parity gate, and what it measured."""

    files: dict[str, bytes]  # content by file name
    parity: Parities  # what each changes, as config.json keeps it
    refused: str = ""  # which graph was left out, and why


def export_graphs(
    encoder: Encoder,
    head: Head,
    train: RewardTable,
    precisions: Sequence[str],
    cache: Path,
    progress: Callable[[int], object] = lambda _: None,
    points: Sequence[Point] = (QUALITY,),
) -> Exports:
    """Make the router's graphs and pass each through the parity gate.

    The gate compares on a part of the training rows, with the experts in the router's order,
    and int8 is calibrated on another. `head` is float32, as it is stored; `precisions` are
    "fp32", "int8" and "fp16", of which fp32 is always checked; the graphs name the `points`.
    `progress` is called with the number of queries compared since the last call. ParityError
    where the fp32 graph does not compute what torch and the head compute.
    """
    order = np.random.default_rng(0).permutation(len(train))
    exact = train.take(np.sort(order[:EXACT_ROWS]))
    graph = router_graph(encoder, head, train.experts, points)
    found = graph_probs(graph, encoder, exact.queries, progress)
    reference = reference_embeddings(encoder, exact.queries, cache, progress)
    files = {GRAPHS["fp32"]: graph, TOKENIZER: encoder.tokenizer.encode()}
    parity = Parities(fp32=check_fp32(found, head, reference, exact.rewards).rounded())
    smaller = {"int8", "fp16"}.intersection(precisions)
    if not smaller:
        return Exports(files, parity)
    if is_static(encoder.spec.name):
        why = "a static encoder is a table of vectors, without a product"
        return Exports(files, parity, f"no {' and '.join(sorted(smaller))} graph: {why}")
    calibration, compared = order[:CALIBRATION_ROWS], order[CALIBRATION_ROWS:][:COMPARED_ROWS]
    compared = compared if len(compared) >= CALIBRATION_ROWS else order
    rows, queries = (train.take(np.sort(own)) for own in (compared, calibration))
    expected = head.predict(encoder.embed(rows.queries, cache))

    refused: dict[str, str] = {}
    for name, spared, small in _smaller(encoder, smaller, queries.queries, progress):
        found = head.probs(small.embed(rows.queries, cache, progress))
        try:
            measured = check_smaller(GRAPHS[name], found, expected, rows.rewards)
        except ParityError as error:
            refused.setdefault(name, f"no {name} graph: {error}")
            continue
        kept: Any = {name: replace(measured, spared=spared).rounded()}
        parity = replace(parity, **kept)
        own = replace(small, spec=encoder.spec)
        files[GRAPHS[name]] = router_graph(own, head, train.experts, points)
        refused.pop(name, None)
        if name == "int8":
            break
    return Exports(files, parity, "\n  ".join(refused.values()))


def _smaller(
    encoder: Encoder,
    precisions: Collection[str],
    queries: Sequence[str],
    progress: Callable[[int], object],
) -> Iterator[tuple[str, int, Encoder]]:
    """Yield a precision, the products spared, and the encoder: fp16, then int8 with ever more."""
    if "fp16" in precisions:
        yield "fp16", 0, fp16_encoder(encoder)
    if "int8" not in precisions:
        return
    ranges = activation_ranges(encoder.graph, encoder.session().feeds(queries))
    yield "int8", 0, int8_encoder(encoder, ranges)
    costliest = _costliest(encoder, ranges, queries[:SENSED_ROWS], progress)
    for spared in SPARED:
        if spared < len(costliest):
            yield "int8", spared, int8_encoder(encoder, ranges, costliest[:spared].tolist())


def _costliest(
    encoder: Encoder, ranges: Ranges, queries: Sequence[str], progress: Callable[[int], object]
) -> NDArray[np.intp]:
    """(n_products,) positions, first the product that alone moves the embeddings furthest."""
    exact = encoder.session().run(queries, ["unit"])[0]
    products = range(n_products(encoder.graph))
    moved = []
    for place in products:
        small = int8_encoder(encoder, ranges, [one for one in products if one != place])
        moved.append(-(small.session().run(queries, ["unit"])[0] * exact).sum())
        progress(len(queries))
    return np.argsort(moved, kind="stable")[::-1]


def router_config(
    encoder: Encoder,
    train: RewardTable,
    fitted: Fitted,
    recipe: Recipe,
    by_price: Priced | None = None,
) -> RouterConfig:
    """Return config.json without what is known later: parity, and the files' sizes and hashes."""
    means = mean_rewards(train.rewards, train.subsets)
    return RouterConfig(
        experts=tuple(train.experts),
        encoder=encoder.spec,
        head=fitted.head_spec,
        labels=fitted.label_spec,
        calibration=Calibration(fitted.head.temperature),
        decisions=fitted.decisions,
        training=Training(
            mean_rewards=tuple(round(float(mean), 6) for mean in means),
            mean_costs=_mean_costs(train),
            tokens_in=None if by_price is None else tuple(by_price.tokens_in.round(3).tolist()),
            tokens_out=None if by_price is None else tuple(by_price.tokens_out.round(3).tolist()),
            rows=len(train),
            observed=_support(train),
            rows_that_chose=None if fitted.sample is None else len(fitted.sample),
            folds=recipe.folds,
            seed=recipe.seed,
            context=recipe.context,
        ),
    )


def _support(train: RewardTable) -> tuple[int, ...] | None:
    """Return the number of rewards of each expert; None where it is that of the rows."""
    seen = ~np.isnan(train.rewards)
    return None if seen.all() else tuple(seen.sum(axis=0).tolist())


def _mean_costs(train: RewardTable) -> tuple[float | None, ...] | None:
    """Mean observed cost of each expert, None for one without; None without costs."""
    if train.costs is None:
        return None
    means = observed_mean(train.costs).tolist()
    return tuple(float(f"{mean:.6g}") if mean == mean else None for mean in means)


def tag_files(
    train: RewardTable,
    embeddings: NDArray[np.float32],
    tagging: Tags | None,
    *,
    keep_queries: bool = False,
) -> dict[str, bytes]:
    """Content of the tag index's files, over the tagged training queries; none without tags.

    `embeddings` (n_queries, dim) are of the training rows. With `keep_queries` the texts of the
    tagged ones are added, as queries.json.
    """
    if tagging is None:
        return {}
    assignment = tagging.assignment
    files = TagIndex.build(embeddings, assignment, train.rewards).to_files()
    if keep_queries:
        tagged = np.unique(assignment.rows).tolist()
        text = json.dumps([train.queries[row] for row in tagged], ensure_ascii=False)
        files[QUERIES] = text.encode("utf-8", "replace")  # lone surrogates become "?"
    return files
