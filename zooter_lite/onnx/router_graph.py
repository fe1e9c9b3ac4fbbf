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
from zooter_lite.router.directory.config import FORMAT_VERSION
from zooter_lite.router.head import SHARPNESS, Head, TagPrior


def router_graph(encoder: Encoder, head: Head, experts: Sequence[str]) -> bytes:
    """Serialise the router's graph.

    Inputs input_ids and attention_mask int64 (batch, length); outputs `probs` float32
    (batch, n_experts), calibrated, and `embedding` float32 (batch, dim), unit length.
    The metadata carries what an application needs beside tokenizer.json.
    """
    model = onnx.load_model_from_string(encoder.graph)
    nodes = _head_nodes(head)
    model.graph.node.extend(nodes.nodes)
    model.graph.initializer.extend(nodes.constants)
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("probs", len(experts)), ("embedding", encoder.spec.dim))
    )
    metadata = {
        "zooter.experts": json.dumps(list(experts), ensure_ascii=False),
        "zooter.format_version": str(FORMAT_VERSION),
        "zooter.max_length": str(encoder.spec.max_length),
    }
    helper.set_model_props(model, metadata)
    model.producer_name, model.producer_version = "zooter-lite", ""
    return serialise(model)


def _head_nodes(head: Head) -> GraphBuilder:
    """Nodes from the encoder's output `unit` to `probs`, as `Head.probs` computes them."""
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
    if head.prior is not None:
        logits = graph.add("Add", logits, _prior(graph, head, head.prior))
    temperature = constant("temperature", np.asarray([head.temperature]))
    scaled = graph.add("Div", logits, temperature)
    graph.place("Softmax", [scaled], ["probs"], axis=-1)
    return graph


def _constant(graph: GraphBuilder, name: str, value: NDArray[np.floating]) -> str:
    return graph.constant(name, np.asarray(value, dtype=np.float32))


def _prior(graph: GraphBuilder, head: Head, prior: TagPrior) -> str:
    """Nodes from `unit` to the logits of tags and domain, as `prior_logits` computes them."""
    constant = partial(_constant, graph)
    near = graph.add("MatMul", "unit", constant("centroids", SHARPNESS * prior.centroids.T))
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
