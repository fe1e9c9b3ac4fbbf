"""Join the encoder's graph and the head into router.onnx: tokens in, decision out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from zooter_lite.encode.encoder import Encoder
from zooter_lite.graph.builder import GraphBuilder, serialise
from zooter_lite.graph.quantise import to_int8
from zooter_lite.router.directory.config import FORMAT_VERSION, QUALITY, Point
from zooter_lite.router.estimates import Estimates
from zooter_lite.router.head import SHARPNESS, Head, TagPrior


def router_graph(
    encoder: Encoder, head: Head, experts: Sequence[str], points: Sequence[Point] = (QUALITY,)
) -> bytes:
    """Serialise the router's graph.

    Inputs input_ids and attention_mask int64 (batch, length). Outputs, float32: `probs`
    (batch, n_experts), calibrated; `embedding` (batch, dim), unit length; and as far as the
    head has them `rewards` and `costs` (batch, n_experts), expected, in the units of the
    reward table, and `novelty` (batch, 1), 0 to 1. The metadata carries what an application
    needs beside tokenizer.json: experts, max_length, and the operating points.
    """
    model = onnx.load_model_from_string(encoder.graph)
    nodes = _head_nodes(head)
    model.graph.node.extend(nodes.nodes)
    model.graph.initializer.extend(nodes.constants)
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in head.widths.items()
    )
    metadata = {
        "zooter.points": json.dumps([point.name for point in points], ensure_ascii=False),
        "zooter.experts": json.dumps(list(experts), ensure_ascii=False),
        "zooter.format_version": str(FORMAT_VERSION),
        "zooter.max_length": str(encoder.spec.max_length),
    }
    for point in points:
        own = f"zooter.point.{point.name}"
        metadata[f"{own}.cost_weight"] = repr(point.cost_weight)
        if point.expert is not None:
            metadata[f"{own}.expert"] = point.expert
    helper.set_model_props(model, metadata)
    model.producer_name, model.producer_version = "zooter-lite", ""
    return serialise(model)


def _head_nodes(head: Head) -> GraphBuilder:
    """Nodes from the encoder's output `unit` to what `Head.predict` computes."""
    graph = GraphBuilder("head")
    constant = partial(_constant, graph)
    graph.place("Identity", ["unit"], ["embedding"])
    inner = "unit"
    if head.hidden is not None:
        product = graph.add("MatMul", inner, constant("hidden.weight", head.hidden.weight.T))
        shifted = graph.add("Add", product, constant("hidden.bias", head.hidden.bias))
        inner = graph.add("Relu", shifted)
    logits = graph.add("MatMul", inner, constant("weight", head.weight.T))
    logits = graph.add("Add", logits, constant("bias", head.bias))
    near = ""
    if head.prior is not None:
        centroids = constant("centroids", SHARPNESS * head.prior.centroids.T)
        near = graph.add("MatMul", "unit", centroids)
        logits = graph.add("Add", logits, _prior(graph, head, head.prior, near))
    temperature = constant("temperature", np.asarray([head.temperature]))
    scaled = graph.add("Div", logits, temperature)
    graph.place("Softmax", [scaled], ["probs"], axis=-1)
    if head.estimates is not None:
        _estimates(graph, head.estimates, len(head.bias), logits, near)
    return graph


def _estimates(
    graph: GraphBuilder, estimates: Estimates, n_experts: int, logits: str, near: str
) -> None:
    """Nodes to rewards, costs and novelty, as `Estimates` computes them.

    `near` is `SHARPNESS` times the cosine similarities to the tags; "" without tags.
    """
    constant = partial(_constant, graph)
    level = graph.add("MatMul", "unit", constant("level", estimates.level[:, None]))
    level = graph.add("Add", level, constant("level.bias", estimates.level_bias))
    # a product, since onnxruntime's mean of a row adds up in an order that its place decides
    shares = np.full((n_experts, 1), 1 / n_experts)
    mean = graph.add("MatMul", logits, constant("shares", shares))
    apart = graph.add("Mul", graph.add("Sub", logits, mean), constant("slope", estimates.slope))
    graph.place("Add", [level, apart], ["rewards"])
    if estimates.costs is not None:
        costs = estimates.costs
        mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        tokens = graph.add("ReduceSum", mask, graph.integers(-1), keepdims=1)
        tokens = graph.add("Log", graph.add("Max", tokens, graph.scalar("one", 1.0)))
        by_length = graph.add("Mul", tokens, constant("cost.length", costs.length))
        by_text = graph.add("MatMul", "unit", constant("cost.weight", costs.weight.T))
        logs = graph.add("Add", by_text, constant("cost.bias", costs.bias))
        logs = graph.add("Add", logs, by_length)
        logs = graph.add("Max", logs, constant("cost.low", costs.low))
        logs = graph.add("Min", logs, constant("cost.high", costs.high))
        graph.place("Exp", [logs], ["costs"])
    if estimates.nearness is not None:
        nearest = graph.add("ReduceMax", near, graph.integers(-1), keepdims=1)
        knots = SHARPNESS * estimates.nearness
        beyond = graph.add("Sub", constant("knots", knots[1:]), nearest)
        steps = graph.add("Mul", beyond, constant("knots.slope", 1 / np.diff(knots)))
        steps = graph.add("Clip", steps, graph.scalar("nought", 0.0), graph.scalar("one", 1.0))
        graph.place("ReduceMean", [steps, graph.integers(-1)], ["novelty"], keepdims=1)


def _constant(graph: GraphBuilder, name: str, value: NDArray[np.floating]) -> str:
    return graph.constant(name, np.asarray(value, dtype=np.float32))


def _prior(graph: GraphBuilder, head: Head, prior: TagPrior, near: str) -> str:
    """Nodes from `unit` to the logits of tags and domain, as `prior_logits` computes them.

    `near` is `SHARPNESS` times the cosine similarities to the tags.
    """
    constant = partial(_constant, graph)
    tags = graph.add("Softmax", near, axis=-1)
    mean_label = graph.add("MatMul", tags, constant("table", prior.table))
    by_tags = graph.add("Log", mean_label)
    if head.domain is None:
        return by_tags
    domain = head.domain
    product = graph.add("MatMul", "unit", constant("domain.weight", domain.weight.T))
    scores = graph.add("Add", product, constant("domain.bias", domain.bias))
    domains = graph.add("Softmax", scores, axis=-1)
    mean_label = graph.add("MatMul", domains, constant("domain.table", domain.table))
    residual = graph.add("MatMul", tags, constant("domain.residual", domain.residual))
    by_domain = graph.add("Add", graph.add("Log", mean_label), residual)
    slope, threshold = domain.gate
    nearest = graph.add("ReduceMax", near, graph.integers(-1), keepdims=1)
    beyond = graph.add("Sub", nearest, constant("domain.near", SHARPNESS * threshold))
    steep = graph.add("Mul", beyond, constant("domain.slope", slope / SHARPNESS))
    trust = graph.add("Sigmoid", steep)
    apart = graph.add("Sub", by_domain, by_tags)
    return graph.add("Add", by_tags, graph.add("Mul", trust, apart))


def int8_encoder(encoder: Encoder, queries: Sequence[str], spared: int = 0) -> Encoder:
    """Return the encoder with an int8 graph, calibrated on these queries.

    The last `spared` products stay in float32. Its sha256 is that of the graph, so that the
    cache keeps its embeddings apart.
    """
    graph = to_int8(encoder.graph, encoder.session().feeds(queries), spared)
    spec = replace(encoder.spec, sha256=hashlib.sha256(graph).hexdigest())
    return replace(encoder, spec=spec, graph=graph)
