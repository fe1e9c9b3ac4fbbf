"""An int8 copy of an encoder's graph whose answers do not depend on the batch.

Every product of tokens with a constant matrix runs in integers: one scale per row of the
activations (a token), one per column of the weights (an output channel). Before that,
SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, equation 4) moves the outliers of the
activations into the weights. Rows of the word table have a scale each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from zooter_lite.graph.builder import MICROSOFT, GraphBuilder, serialise

FloatArray = NDArray[np.float32]
Feed = Mapping[str, NDArray[np.int64]]

ALPHA = 0.5  # SmoothQuant's migration strength
# Two products of 8 by 7 bits fit the 16 bits in which AVX2 adds them; 8 by 8 would saturate,
# and the answers would depend on the processor.
WEIGHT_MAX = 64
_ACTIVATION_MAX = 127.0
_ZERO_POINT = 128
_TABLE_ROWS = 512  # smaller tables, such as positions, stay in float
_EPSILON = 1e-6


@dataclass(frozen=True)
class _Linear:
    """A product of activations (name) with a constant matrix (n_in, n_out)."""

    output: str
    inputs: str
    weight: str
    matrix: FloatArray


def to_int8(graph: bytes, feeds: Iterable[Feed], spared: int = 0) -> bytes:
    """Return the graph with integer products and an integer word table.

    Parameters
    ----------
    graph
        Encoder: input_ids, attention_mask to `unit`.
    feeds
        Batches of calibration queries, a few hundred in all.
    spared
        So many products, counted from the last, stay in float32; fewer than `n_products`.
    """
    model = onnx.load_model_from_string(graph)
    linears = _linears(model)
    linears = linears[: len(linears) - spared]
    largest = _channel_maxima(model, sorted({linear.inputs for linear in linears}), feeds)
    builder = GraphBuilder("int8")
    quantised = _quantised(builder, linears, largest)
    # A rewritten node takes the place of its original, so the order stays topological.
    nodes = []
    for node in model.graph.node:
        nodes += quantised.get(node.output[0]) or _table_nodes(builder, model, node) or [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(builder.constants)
    _drop_unused(model)
    if MICROSOFT not in {opset.domain for opset in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return serialise(model)


def n_products(graph: bytes) -> int:
    """Return how many products of tokens with a constant matrix the encoder has."""
    return len(_linears(onnx.load_model_from_string(graph)))


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _linears(model: ModelProto) -> list[_Linear]:
    constants = _constants(model)
    found = []
    for node in model.graph.node:
        tensor = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if tensor is None or len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT:
            continue
        matrix = numpy_helper.to_array(tensor)
        found.append(_Linear(node.output[0], node.input[0], tensor.name, matrix))
    return found


def _channel_maxima(
    model: ModelProto, names: list[str], feeds: Iterable[Feed]
) -> dict[str, FloatArray]:
    """Largest |activation| of each channel over the feeds, by activation."""
    probe = ModelProto()
    probe.CopyFrom(model)
    # the last axis is the channel, whatever the rank
    builder = GraphBuilder("calibration")
    for name in names:
        flat = builder.add("Flatten", builder.add("Abs", name), axis=-1)
        builder.place("ReduceMax", [flat, builder.integers(0)], [f"largest.{name}"], keepdims=0)
        probe.graph.output.append(
            helper.make_tensor_value_info(f"largest.{name}", TensorProto.FLOAT, None)
        )
    probe.graph.node.extend(builder.nodes)
    probe.graph.initializer.extend(builder.constants)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = [f"largest.{name}" for name in names]
    maxima = zip(*(session.run(wanted, dict(feed)) for feed in feeds), strict=True)
    return {name: np.max(rows, axis=0) for name, rows in zip(names, maxima, strict=True)}


def _smoothing(activations: FloatArray, matrices: list[FloatArray]) -> FloatArray:
    """Divisor of each input channel: |x|max^alpha / |w|max^(1 - alpha), geometric mean 1."""
    weights = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
    ratio = ALPHA * np.log(np.maximum(activations, 1e-5))
    ratio -= (1 - ALPHA) * np.log(np.maximum(weights, 1e-5))
    return np.asarray(np.exp(ratio - ratio.mean()), dtype=np.float32)


def _quantise_columns(matrix: FloatArray, largest: int) -> tuple[NDArray[np.int8], FloatArray]:
    """Round a matrix to integers up to `largest`, with one float32 scale per column."""
    scales = np.maximum(np.abs(matrix).max(axis=0), 1e-12).astype(np.float32) / largest
    return np.round(matrix / scales).astype(np.int8), scales.astype(np.float32)


def _quantised(
    builder: GraphBuilder, linears: list[_Linear], largest: dict[str, FloatArray]
) -> dict[str, list[onnx.NodeProto]]:
    """Nodes that replace each product, by the name of its output.

    Activations become unsigned bytes around 128, as shares of the largest |value| of their row.
    """
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for name in dict.fromkeys(linear.inputs for linear in linears):
        takers = [linear for linear in linears if linear.inputs == name]
        divisor = _smoothing(largest[name], [linear.matrix for linear in takers])
        start = len(builder.nodes)
        even = builder.add("Mul", name, builder.constant(f"smooth.{name}", 1 / divisor))
        row_max = builder.add(
            "ReduceMax", builder.add("Abs", even), builder.integers(-1), keepdims=1
        )
        row_max = builder.add("Max", row_max, builder.scalar("epsilon", _EPSILON))
        share = builder.add("Div", even, row_max)
        step = builder.scalar("step", 1 / _ACTIVATION_MAX)
        zero_point = builder.constant("zero_point", np.asarray(_ZERO_POINT, dtype=np.uint8))
        levels = builder.add("QuantizeLinear", share, step, zero_point)
        for linear in takers:  # the first taker brings the nodes that all share
            integers, scales = _quantise_columns(linear.matrix * divisor[:, None], WEIGHT_MAX)
            weight = builder.constant(f"weight.{linear.weight}", integers)
            scale = builder.constant(f"scale.{linear.weight}", scales)
            factors = [levels, weight, step, scale, zero_point]
            product = builder.add("MatMulIntegerToFloat", *factors, domain=MICROSOFT)
            builder.place("Mul", [product, row_max], [linear.output])
            replaced[linear.output] = builder.nodes[start:]
            start = len(builder.nodes)
    return replaced


def _table_nodes(
    builder: GraphBuilder, model: ModelProto, node: onnx.NodeProto
) -> list[onnx.NodeProto]:
    """Nodes that look up a large float table in integers; none for any other node."""
    tensor = _constants(model).get(node.input[0]) if node.op_type == "Gather" else None
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if tensor is None or len(tensor.dims) != 2 or axis != 0:
        return []
    if tensor.data_type != TensorProto.FLOAT or tensor.dims[0] < _TABLE_ROWS:
        return []
    integers, scales = _quantise_columns(numpy_helper.to_array(tensor).T, int(_ACTIVATION_MAX))
    table = builder.constant(f"weight.{tensor.name}", integers.T)
    scale = builder.constant(f"scale.{tensor.name}", scales[:, None])
    start = len(builder.nodes)
    words = builder.add("Gather", table, node.input[1])
    words = builder.add("Cast", words, to=TensorProto.FLOAT)
    lengths = builder.add("Gather", scale, node.input[1])
    builder.place("Mul", [words, lengths], [node.output[0]])
    return builder.nodes[start:]


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
