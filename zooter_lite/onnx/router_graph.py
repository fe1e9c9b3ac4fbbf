"""Join the encoder's graph and the head into router.onnx: tokens in, decision out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from zooter_lite.encode.encoder import Encoder
from zooter_lite.graph.builder import GraphBuilder, serialise
from zooter_lite.graph.quantise import Ranges, to_int8
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
    """Nodes from the encoder's output `unit` to what `Head.predict` computes.

    Small operators cost more than their arithmetic, so everything that is linear in the
    embedding is one product, and what follows is written with few of them.
    """
    graph = GraphBuilder("head")
    constant = graph.constant
    graph.add("Identity", "unit", output="embedding")
    linear = _linear(graph, head)
    if head.hidden is None:
        logits = linear["logits"]
    else:
        product = graph.add("MatMul", "unit", constant("hidden.weight", head.hidden.weight.T))
        shifted = graph.add("Add", product, constant("hidden.bias", head.hidden.bias))
        logits = graph.add("MatMul", graph.add("Relu", shifted), constant("weight", head.weight.T))
        logits = graph.add("Add", logits, constant("bias", head.bias))
    if head.prior is not None:
        axis = graph.integers(-1)
        linear["nearest"] = graph.add("ReduceMax", linear["near"], axis, keepdims=1)
        prior = _prior(graph, head, head.prior, linear)
        logits = graph.add("Add", logits, prior)
    temperature = constant("temperature", np.asarray([head.temperature]))
    scaled = graph.add("Div", logits, temperature)
    graph.add("Softmax", scaled, output="probs", axis=-1)
    if head.estimates is not None:
        _estimates(graph, head.estimates, len(head.bias), logits, linear)
    return graph


def _linear(graph: GraphBuilder, head: Head) -> dict[str, str]:
    """Compute all that is linear in `unit` at once; names by what it is."""
    parts = head.linear_parts()
    if not parts:
        return {}
    weight, bias = map(np.concatenate, zip(*parts.values(), strict=True))
    product = graph.add("MatMul", "unit", graph.constant("weights", weight.T))
    whole = graph.add("Add", product, graph.constant("biases", bias))
    if len(parts) == 1:
        return dict.fromkeys(parts, whole)
    sizes = graph.integers(*(len(bias) for _, bias in parts.values()))
    names = graph.split(whole, sizes, outputs=len(parts), axis=1)
    return dict(zip(parts, names, strict=True))


def _estimates(
    graph: GraphBuilder, estimates: Estimates, n_experts: int, logits: str, linear: dict[str, str]
) -> None:
    """Nodes to rewards, costs and novelty, as `Estimates` computes them.

    Means are products with a constant: onnxruntime's own adds up a row in an order that the
    row's place in the batch decides.
    """
    constant = graph.constant
    centre = estimates.slope * (np.eye(n_experts) - 1 / n_experts)
    apart = graph.add("MatMul", logits, constant("centre", centre))
    graph.add("Add", apart, linear["level"], output="rewards")
    if estimates.costs is not None:
        costs = estimates.costs
        mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        tokens = graph.add("ReduceSum", mask, graph.integers(-1), keepdims=1)
        tokens = graph.add("Log", graph.add("Max", tokens, graph.scalar("one", 1.0)))
        length = constant("cost.length", costs.length[None])
        logs = graph.add("Gemm", tokens, length, linear["costs"])
        logs = graph.add("Max", logs, constant("cost.low", costs.low))
        logs = graph.add("Min", logs, constant("cost.high", costs.high))
        graph.add("Exp", logs, output="costs")
    if estimates.nearness is not None:
        knots = estimates.nearness.astype(np.float64)
        slopes = 1 / np.diff(knots)
        down = constant("knots.slope", -slopes[None] / SHARPNESS)
        steps = graph.add("Gemm", linear["nearest"], down, constant("knots", slopes * knots[1:]))
        steps = graph.add("Clip", steps, graph.scalar("nought", 0.0), graph.scalar("one", 1.0))
        shares = constant("shares", np.full((len(slopes), 1), 1 / len(slopes)))
        graph.add("MatMul", steps, shares, output="novelty")


def _prior(graph: GraphBuilder, head: Head, prior: TagPrior, linear: dict[str, str]) -> str:
    """Nodes to the logits of tags and domain, as `prior_logits` computes them.

    `near` is `SHARPNESS` times the cosine similarities to the tags, `nearest` the largest.
    """
    constant = graph.constant
    tags = graph.add("Softmax", linear["near"], axis=-1)
    mean_label = graph.add("MatMul", tags, constant("table", prior.table))
    by_tags = graph.add("Log", mean_label)
    if head.domain is None:
        return by_tags
    domain = head.domain
    domains = graph.add("Softmax", linear["domain"], axis=-1)
    mean_label = graph.add("MatMul", domains, constant("domain.table", domain.table))
    residual = graph.add("MatMul", tags, constant("domain.residual", domain.residual))
    by_domain = graph.add("Add", graph.add("Log", mean_label), residual)
    slope, threshold = domain.gate
    beyond = graph.add("Sub", linear["nearest"], constant("domain.near", SHARPNESS * threshold))
    steep = graph.add("Mul", beyond, constant("domain.slope", slope / SHARPNESS))
    trust = graph.add("Sigmoid", steep)
    apart = graph.add("Sub", by_domain, by_tags)
    return graph.add("Add", by_tags, graph.add("Mul", trust, apart))


def int8_encoder(encoder: Encoder, ranges: Ranges, spared: Collection[int] = ()) -> Encoder:
    """Return the encoder with an int8 graph, but for the products that are spared."""
    return _with_graph(encoder, to_int8(encoder.graph, ranges, spared))


def fp16_encoder(encoder: Encoder) -> Encoder:
    """Return the encoder with a graph that computes in float16; what it returns is float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = convert_float_to_float16(onnx.load_from_string(encoder.graph), keep_io_types=True)
    OnnxModel(half).topological_sort()  # it adds casts at the end
    return _with_graph(encoder, serialise(half))


def _with_graph(encoder: Encoder, graph: bytes) -> Encoder:
    """Return it with another graph, by whose sha256 the cache keeps its embeddings apart."""
    spec = replace(encoder.spec, sha256=hashlib.sha256(graph).hexdigest())
    return replace(encoder, spec=spec, graph=graph)
