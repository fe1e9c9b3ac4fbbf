"""Join the encoder's graph and the head into router.onnx: tokens in, decision out."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zooter_lite.learn.encoder import Encoder
from zooter_lite.router.directory import FORMAT_VERSION
from zooter_lite.router.head import SHARPNESS, Head


def router_graph(encoder: Encoder, head: Head, experts: Sequence[str]) -> bytes:
    """Serialise the router's graph.

    Inputs input_ids and attention_mask int64 (batch, length); outputs `probs` float32
    (batch, n_experts), calibrated, and `embedding` float32 (batch, dim), unit length.
    The metadata carries what an application needs beside tokenizer.json.
    """
    model = onnx.load_model_from_string(encoder.graph)
    nodes, constants = _head_nodes(head)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("probs", len(experts)), ("embedding", encoder.spec.dim))
    )
    _set_metadata(model, experts, encoder.spec.max_length)
    model.producer_name, model.producer_version = "zooter-lite", ""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _set_metadata(model: ModelProto, experts: Sequence[str], max_length: int) -> None:
    helper.set_model_props(
        model,
        {
            "zooter.experts": json.dumps(list(experts), ensure_ascii=False),
            "zooter.format_version": str(FORMAT_VERSION),
            "zooter.max_length": str(max_length),
        },
    )


def _head_nodes(head: Head) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes from the encoder's output `unit` to `probs`, as `Head.probs` computes them."""
    nodes: list[NodeProto] = [helper.make_node("Identity", ["unit"], ["embedding"])]
    constants: list[TensorProto] = []

    def constant(name: str, value: NDArray[np.floating]) -> str:
        array = np.ascontiguousarray(value, dtype=np.float32)
        constants.append(numpy_helper.from_array(array, f"head.{name}"))
        return f"head.{name}"

    def add(operator: str, inputs: list[str], **attributes: int) -> str:
        output = f"head.{len(nodes)}.{operator}"
        nodes.append(
            helper.make_node(operator, inputs, [output], None, None, None, None, **attributes)
        )
        return output

    inner = "unit"
    if head.hidden is not None:
        weight = constant("hidden.weight", head.hidden.weight.T)
        product = add("MatMul", [inner, weight])
        shifted = add("Add", [product, constant("hidden.bias", head.hidden.bias)])
        inner = add("Relu", [shifted])
    logits = add("MatMul", [inner, constant("weight", head.weight.T)])
    logits = add("Add", [logits, constant("bias", head.bias)])
    if head.prior is not None:
        near = add("MatMul", ["unit", constant("centroids", SHARPNESS * head.prior.centroids.T)])
        membership = add("Softmax", [near], axis=-1)
        mean_label = add("MatMul", [membership, constant("table", head.prior.table)])
        logits = add("Add", [logits, add("Log", [mean_label])])
    scaled = add("Div", [logits, constant("temperature", np.asarray([head.temperature]))])
    nodes.append(helper.make_node("Softmax", [scaled], ["probs"], axis=-1))
    return nodes, constants


def as_float32(head: Head) -> Head:
    """Return the head as it is stored: every array rounded to float32."""
    return Head.from_tensors(head.tensors(), head.temperature)
