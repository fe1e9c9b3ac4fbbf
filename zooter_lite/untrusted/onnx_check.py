"""A graph's bytes, checked before onnxruntime sees them.

The protobuf message is read with a short list of known fields; contents of weights are
stepped over, so a large graph costs milliseconds. What passes holds nothing but tensors
stored in the file itself and plain tensor operators: no external data, no subgraphs and so
no loops, no functions, no sequences or strings, no foreign operators, nothing random. What
such a graph may still do is to compute much from little; `limits` bounds that.
"""

from __future__ import annotations

from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.verified import Content

# Fields of one kind in a message, nodes of a graph among them: an encoder of 24 layers has about
# 2,000, and starting takes their square.
MAX_FIELDS = 5_000
_MAX_RANK = 8
# float32, uint8, int8, int32, int64, bool, float16, double, uint32, uint64, bfloat16
_NUMBERS = {1, 2, 3, 6, 7, 9, 10, 11, 12, 13, 16}
_TENSOR_OPERATORS = {
    "Abs", "Add", "And", "ArgMax", "ArgMin", "Attention", "Cast", "CastLike", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "Conv", "Cos", "CumSum", "DequantizeLinear", "Div",
    "DynamicQuantizeLinear", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten",
    "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax",
    "LpNormalization", "MatMul", "MatMulInteger", "Max", "Mean", "Min", "Mish", "Mod", "Mul",
    "Neg", "NonZero", "Not", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "RMSNormalization",
    "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape",
    "RotaryEmbedding", "Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid",
    "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Swish", "Tanh", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze",
    "Where", "Xor",
}  # fmt: skip
_OPERATORS = {
    "": _TENSOR_OPERATORS,
    "ai.onnx": _TENSOR_OPERATORS,
    "com.microsoft": {"MatMulIntegerToFloat", "MultiHeadAttention"},
}

# Known fields of each message, by their numbers in onnx.proto.
_FIELDS = {
    "the model": {1, 2, 3, 4, 5, 6, 7, 8, 14},
    "metadata": {1, 2},
    "the graph": {1, 2, 5, 10, 11, 12, 13, 16},
    "a node": {1, 2, 3, 4, 5, 6, 7, 9},
    "an attribute": {1, 2, 3, 4, 5, 7, 8, 9, 13, 20},
    "a tensor": {1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 14, 16},
}
Value: TypeAlias = int | memoryview
Message: TypeAlias = dict[int, list[Value]]  # by the number of the field


def check_graph(model: Content) -> dict[str, str]:
    """Refuse what no exported encoder with a head holds.

    Parameters
    ----------
    model
        Serialised ONNX model.

    Returns
    -------
    Its metadata_props.

    Raises
    ------
    RouterError
        With what was found.
    """
    try:
        whole = _read("the model", memoryview(model))
        if len(whole[7]) != 1:
            raise _RefusedError("the model has not one graph")
        graph = _read("the graph", _contents(whole, 7)[0])
        for tensor in _contents(graph, 5):
            _check_tensor(tensor)
        for node in _contents(graph, 1):
            _check_node(_read("a node", node))
        entries = [_read("metadata", entry) for entry in _contents(whole, 14)]
        return {_text(entry, 1): _text(entry, 2) for entry in entries}
    except _RefusedError as error:
        raise RouterError(f"the graph is not one that a router holds ({error})") from error


def constant_of(model: Content, name: str) -> NDArray[np.floating] | None:
    """Return a constant of a checked graph, a matrix of float16 or float32; None for no such."""
    (graph,) = _contents(_read("the model", memoryview(model)), 7)
    for content in _contents(_read("the graph", graph), 5):
        tensor = _read("a tensor", content)
        if _text(tensor, 8) != name or not tensor[9]:
            continue
        shape, data = _shape(tensor), _contents(tensor, 9)[-1]
        dtype = np.dtype({1: "<f4", 10: "<f2"}.get(_kind(tensor), "V1"))
        if dtype.kind == "f" and len(shape) == 2 and len(data) == prod(shape) * dtype.itemsize:
            return np.frombuffer(data, dtype).reshape(shape)
    return None


class _RefusedError(ValueError):
    """What was found."""


def _read(name: str, data: memoryview) -> Message:
    """Read a message that has known fields only."""
    message: Message = {number: [] for number in _FIELDS[name]}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind in (0, 2):
            size, at = _varint(data, at)
        value: Value = size if kind == 0 else data[at : at + size]
        at += 0 if kind == 0 else size
        if kind not in (0, 1, 2, 5) or at > len(data):
            raise _RefusedError(f"{name} ends early, or holds no protobuf")
        if number not in message:
            raise _RefusedError(f"field {number} of {name}: expected none such")
        message[number].append(value)
        if len(message[number]) > MAX_FIELDS:
            raise _RefusedError(f"more than {MAX_FIELDS} fields {number} of {name}")
    return message


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise _RefusedError("it ends early, or within a number")


def _contents(message: Message, number: int) -> list[memoryview]:
    """Contents of a field that is no number."""
    contents = [value for value in message[number] if isinstance(value, memoryview)]
    if len(contents) != len(message[number]):
        raise _RefusedError(f"field {number} is a number, expected content")
    return contents


def _text(message: Message, number: int) -> str:
    """Return the last text of a field, or ""."""
    contents = _contents(message, number)
    return str(contents[-1], "utf-8", "replace") if contents else ""


def _check_node(node: Message) -> None:
    operator, domain = _text(node, 4), _text(node, 7)
    if operator not in _OPERATORS.get(domain, ()):
        where = f" of {domain[:60]!r}" if domain else ""
        raise _RefusedError(f"the operator {operator[:60]!r}{where}")
    for attribute in _contents(node, 5):
        for tensor in _contents(_read("an attribute", attribute), 5):
            _check_tensor(tensor)


def _check_tensor(content: memoryview) -> None:
    """Check that a tensor's shape is no larger than the bytes that it is stored in."""
    tensor = _read("a tensor", content)
    shape = _shape(tensor)
    if any(length >= 2**31 for length in shape) or prod(shape) > len(content):  # or negative
        raise _RefusedError(f"a tensor of shape {shape} in {len(content)} bytes")
    if _kind(tensor) not in _NUMBERS:
        raise _RefusedError(f"a tensor of type {_kind(tensor)}, expected numbers")


def _kind(tensor: Message) -> int:
    kind = tensor[2][-1] if tensor[2] else 0
    return kind if isinstance(kind, int) else 0


def _shape(tensor: Message) -> list[int]:
    """Axes of a tensor, packed or one by one."""
    shape: list[int] = []
    for value in tensor[1]:
        packed, at = value if isinstance(value, memoryview) else memoryview(b""), 0
        shape += [value] if isinstance(value, int) else []
        while at < len(packed) and len(shape) <= _MAX_RANK:
            length, at = _varint(packed, at)
            shape.append(length)
    if len(shape) > _MAX_RANK:
        raise _RefusedError(f"a tensor of more than {_MAX_RANK} axes")
    return shape
