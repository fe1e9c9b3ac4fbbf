"""A graph's bytes, checked before onnxruntime sees them.

The protobuf message is read with a short list of known fields; contents of weights are
stepped over, so a large graph costs milliseconds. What passes holds nothing but tensors
stored in the file itself and plain tensor operators: no external data, no subgraphs and so
no loops, no functions, no sequences or strings, no foreign operators, nothing random. What
such a graph may still do is to compute much from little; `limits` bounds that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.verified import Content

MAX_NODES = 5_000  # an encoder of 24 layers has about 2,000; starting takes their square
# Bytes by which weights may count for more than the file, once for each operator that takes
# them: onnxruntime rearranges them once per operator when it starts.
MAX_SHARED = 512 * 2**20
MAX_FIELDS = 50_000  # of one message
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
    "a tensor": {1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 16},
}
Value: TypeAlias = int | slice  # a number, or where the content stands in the file
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
        whole = _read("the model", model, slice(0, len(model)))
        if len(whole[7]) != 1:
            raise _RefusedError("the model has not one graph")
        _check_graph(model, *_places(whole, 7))
        return dict(_metadata(model, place) for place in _places(whole, 14))
    except _RefusedError as error:
        raise RouterError(f"the graph is not one that a router holds ({error})") from error


def constant_of(model: Content, name: str) -> NDArray[np.floating] | None:
    """Return a constant of a checked graph, a matrix of float16 or float32; None for no such."""
    (graph,) = _places(_read("the model", model, slice(0, len(model))), 7)
    for place in _places(_read("the graph", model, graph), 5):
        tensor = _read("a tensor", model, place)
        if _text(model, tensor, 8) != name or not tensor[9]:
            continue
        shape, content = _shape(model, tensor), model[_places(tensor, 9)[-1]]
        dtype = np.dtype({1: "<f4", 10: "<f2"}.get(_kind(tensor), "V1"))
        if dtype.kind == "f" and len(shape) == 2 and len(content) == prod(shape) * dtype.itemsize:
            return np.frombuffer(content, dtype).reshape(shape)
    return None


class _RefusedError(ValueError):
    """What was found."""


def _read(name: str, model: Content, place: slice) -> Message:
    """Read a message that has known fields only."""
    message: Message = {number: [] for number in _FIELDS[name]}
    for count, (number, value) in enumerate(_fields(model, place)):
        if number not in message:
            raise _RefusedError(f"field {number} of {name}: expected none such")
        if count == MAX_FIELDS:
            raise _RefusedError(f"more than {MAX_FIELDS} fields of {name}")
        message[number].append(value)
    return message


def _fields(data: Content, place: slice) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field."""
    at, end = place.start, place.stop
    while at < end:
        key, at = _varint(data, at, end)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at, end)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at, end)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _RefusedError(f"no protobuf field at byte {at}")
        if size > end - at:
            raise _RefusedError(f"it ends early, at byte {end}")
        at += size
        yield key >> 3, slice(at - size, at)


def _varint(data: Content, at: int, end: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _RefusedError(f"no number at byte {at}")


def _places(message: Message, number: int) -> list[slice]:
    """Where the contents of a field stand."""
    places = [value for value in message[number] if isinstance(value, slice)]
    if len(places) != len(message[number]):
        raise _RefusedError(f"field {number} is a number, expected content")
    return places


def _text(model: Content, message: Message, number: int) -> str:
    """Return the last text of a field, or ""."""
    places = _places(message, number)
    return model[places[-1]].decode("utf-8", "replace") if places else ""


def _metadata(model: Content, place: slice) -> tuple[str, str]:
    entry = _read("metadata", model, place)
    if max(map(len, entry.values())) > 1:
        raise _RefusedError("an entry of metadata has more than a key and a value")
    return _text(model, entry, 1), _text(model, entry, 2)


def _check_graph(model: Content, place: slice) -> None:
    graph = _read("the graph", model, place)
    nodes, tensors = _places(graph, 1), _places(graph, 5)
    if len(nodes) > MAX_NODES:
        raise _RefusedError(f"{len(nodes)} nodes, expected at most {MAX_NODES}")
    sizes: dict[bytes, int] = {}  # of the weights
    uses: Counter[bytes] = Counter()
    for where in tensors:
        tensor = _checked_tensor(model, where)
        sizes |= {model[name]: where.stop - where.start for name in _places(tensor, 8)}
    for where in nodes:
        node = _checked_node(model, where)
        uses.update(model[name] for name in _places(node, 1))
        for name in _places(node, 2):  # a Constant node holds its value itself
            sizes.setdefault(model[name], where.stop - where.start)
    if sum(size * uses[name] for name, size in sizes.items()) > len(model) + MAX_SHARED:
        raise _RefusedError("the same weights are used by too many nodes")


def _checked_node(model: Content, place: slice) -> Message:
    node = _read("a node", model, place)
    operator, domain = _text(model, node, 4), _text(model, node, 7)
    if operator not in _OPERATORS.get(domain, ()):
        where = f" of {domain[:60]!r}" if domain else ""
        raise _RefusedError(f"the operator {operator[:60]!r}{where}")
    for attribute in _places(node, 5):
        for tensor in _places(_read("an attribute", model, attribute), 5):
            _checked_tensor(model, tensor)
    return node


def _checked_tensor(model: Content, place: slice) -> Message:
    """Check that a tensor's shape is no larger than the bytes that it is stored in."""
    tensor, size = _read("a tensor", model, place), place.stop - place.start
    if tensor[13] or any(tensor[14]):
        raise _RefusedError("a tensor whose data is in another file")
    shape = _shape(model, tensor)
    if any(length >= 2**31 for length in shape):  # negative ones among them
        raise _RefusedError(f"a tensor of shape {shape}")
    if _kind(tensor) not in _NUMBERS:
        raise _RefusedError(f"a tensor of type {_kind(tensor)}, expected numbers")
    if prod(shape) > size:
        raise _RefusedError(f"a tensor of shape {shape} in {size} bytes")
    return tensor


def _kind(tensor: Message) -> int:
    kind = tensor[2][-1] if tensor[2] else 0
    return kind if isinstance(kind, int) else 0


def _shape(model: Content, tensor: Message) -> list[int]:
    """Axes of a tensor, packed or one by one."""
    shape: list[int] = []
    for value in tensor[1]:
        if isinstance(value, int):
            shape.append(value)
            continue
        at = value.start
        while at < value.stop and len(shape) <= _MAX_RANK:
            length, at = _varint(model, at, value.stop)
            shape.append(length)
    if len(shape) > _MAX_RANK:
        raise _RefusedError(f"a tensor of more than {_MAX_RANK} axes")
    return shape
