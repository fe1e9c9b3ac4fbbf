"""An int8 copy of an encoder's graph whose answers do not depend on the batch.

Every product of tokens with a constant matrix runs in integers: one scale per column of the
weights (an output channel), and for the activations one scale per row (a token), or one for
all tokens where the values are bounded: after a layer norm and after attention. Before that,
SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, equation 4) moves the outliers of the
activations into the weights. Rows of the word table have a scale each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zooter_lite.cores import cores
from zooter_lite.graph.builder import MICROSOFT, GraphBuilder, serialise

FloatArray = NDArray[np.float32]
Feed = Mapping[str, NDArray[np.int64]]
Ranges = dict[str, tuple[FloatArray, FloatArray]]  # least and largest of each channel, by name

ALPHA = 0.5  # SmoothQuant's migration strength
# Two products of 8 by 7 bits fit the 16 bits in which AVX2 adds them; 8 by 8 would saturate,
# and the answers would depend on the processor.
WEIGHT_MAX = 64
BOUNDED = ("LayerNormalization", "MultiHeadAttention")  # what they return has one scale for all
HEADROOM = 1.1  # of that scale, beyond the calibration's range
_ACTIVATION_MAX = 127.0
_ZERO_POINT = 128
_TABLE_ROWS = 512  # smaller tables, such as positions, stay in float
_EPSILON = 1e-6


@dataclass(frozen=True)
class _Linear:
    """A product of activations (name) with a constant matrix (n_in, n_out).

    `bounded` where the activations come from one of `BOUNDED`. `bias` and `sum` are the constant
    that is added to the product and the name of that sum; "" where there is none.
    """

    output: str
    inputs: str
    weight: str
    matrix: FloatArray
    bounded: bool
    bias: str
    sum: str


def to_int8(graph: bytes, ranges: Ranges, spared: Collection[int] = ()) -> bytes:
    """Return an encoder's graph with integer products and an integer word table.

    `ranges` is what `activation_ranges` found on calibration queries; the products at the
    positions `spared`, from 0 to below `n_products`, stay in float32.
    """
    model = onnx.load_model_from_string(graph)
    linears = [one for place, one in enumerate(_linears(model)) if place not in spared]
    builder = GraphBuilder("int8")
    quantised = _quantised(builder, linears, ranges)
    added = {linear.sum for linear in linears if linear.bounded and linear.bias}
    # A rewritten node takes the place of its original, so the order stays topological.
    nodes = []
    for node in model.graph.node:
        if node.output[0] not in added:
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


def activation_ranges(graph: bytes, feeds: Iterable[Feed]) -> Ranges:
    """Least and largest value of each channel of an encoder's products' inputs.

    `feeds` are batches of calibration queries, a few hundred in all.
    """
    probe = onnx.load_model_from_string(graph)
    names = sorted({linear.inputs for linear in _linears(probe)})
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # batches side by side keep the cores busier
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def ends(feed: Feed) -> list[FloatArray]:
        outputs = session.run(names, dict(feed))
        rows = [values.reshape(-1, values.shape[-1]) for values in outputs]  # channels come last
        return [np.stack([own.min(axis=0), own.max(axis=0)]) for own in rows]

    with ThreadPoolExecutor(cores()) as workers:
        batches = map(np.stack, zip(*workers.map(ends, feeds), strict=True))
    pairs = zip(names, batches, strict=True)
    return {name: (own[:, 0].min(axis=0), own[:, 1].max(axis=0)) for name, own in pairs}


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _linears(model: ModelProto) -> list[_Linear]:
    constants = _constants(model)
    makers = {name: node for node in model.graph.node for name in node.output}
    takers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    linears = []
    for node in model.graph.node:
        tensor = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if tensor is None or len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT:
            continue
        maker, (taker, *others) = makers.get(node.input[0]), takers.get(node.output[0], [node])
        bias = constants.get(taker.input[1]) if taker.op_type == "Add" and not others else None
        fits = bias is not None and bias.dims == tensor.dims[1:]
        linears.append(
            _Linear(
                *(node.output[0], node.input[0], tensor.name, numpy_helper.to_array(tensor)),
                bounded=maker is not None and maker.op_type in BOUNDED,
                bias=taker.input[1] if fits else "",
                sum=taker.output[0] if fits else "",
            )
        )
    return linears


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
    builder: GraphBuilder, linears: list[_Linear], ranges: Ranges
) -> dict[str, list[NodeProto]]:
    """Nodes that replace each product, by the name of its output."""
    replaced: dict[str, list[NodeProto]] = {}
    for name in dict.fromkeys(linear.inputs for linear in linears):
        takers = [linear for linear in linears if linear.inputs == name]
        least, largest = ranges[name]
        divisor = _smoothing(np.maximum(-least, largest), [linear.matrix for linear in takers])
        start = len(builder.nodes)
        if takers[0].bounded:
            factors = _bounded_levels(builder, name, divisor, ranges[name])
            row_max = ""
        else:
            factors, row_max = _row_levels(builder, name, divisor)
        for linear in takers:  # the first taker brings the nodes that all share
            integers, scales = _quantise_columns(linear.matrix * divisor[:, None], WEIGHT_MAX)
            weight = builder.constant(f"weight.{linear.weight}", integers)
            scale = builder.constant(f"scale.{linear.weight}", scales)
            levels, step, zero_point = factors
            inputs = [levels, weight, step, scale, zero_point]
            if row_max:
                product = builder.add("MatMulIntegerToFloat", *inputs, domain=MICROSOFT)
                builder.add("Mul", product, row_max, output=linear.output)
            else:
                inputs += ["", linear.bias] if linear.bias else []
                output = linear.sum or linear.output
                builder.add("MatMulIntegerToFloat", *inputs, output=output, domain=MICROSOFT)
            replaced[linear.output] = builder.nodes[start:]
            start = len(builder.nodes)
    return replaced


def _bounded_levels(
    builder: GraphBuilder, name: str, divisor: FloatArray, found: tuple[FloatArray, FloatArray]
) -> list[str]:
    """Quantise activations as shares of the calibration's range: bytes, scale, zero point."""
    low = min(0.0, HEADROOM * float((found[0] / divisor).min()))
    high = max(0.0, HEADROOM * float((found[1] / divisor).max()))
    scale = max(high - low, _EPSILON) / 255
    even = builder.add("Mul", name, builder.constant(f"smooth.{name}", 1 / divisor / scale))
    middle = np.asarray(round(-low / scale), dtype=np.uint8)
    zero_point = builder.constant(f"zero_point.{name}", middle)
    levels = builder.add("QuantizeLinear", even, builder.scalar("one", 1.0), zero_point)
    return [levels, builder.scalar(f"step.{name}", scale), zero_point]


def _row_levels(builder: GraphBuilder, name: str, divisor: FloatArray) -> tuple[list[str], str]:
    """Quantise activations around 128, as shares of the largest |value| of their row.

    Bytes, scale and zero point; then the largest of each row.
    """
    even = builder.add("Mul", name, builder.constant(f"smooth.{name}", 1 / divisor))
    row_max = builder.add("ReduceMax", builder.add("Abs", even), builder.integers(-1), keepdims=1)
    row_max = builder.add("Max", row_max, builder.scalar("epsilon", _EPSILON))
    share = builder.add("Div", even, row_max)
    step = builder.scalar("step", 1 / _ACTIVATION_MAX)
    zero_point = builder.constant("zero_point", np.asarray(_ZERO_POINT, dtype=np.uint8))
    return [builder.add("QuantizeLinear", share, step, zero_point), step, zero_point], row_max


def _table_nodes(builder: GraphBuilder, model: ModelProto, node: onnx.NodeProto) -> list[NodeProto]:
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
    builder.add("Mul", words, lengths, output=node.output[0])
    return builder.nodes[start:]


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
