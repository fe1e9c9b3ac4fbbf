"""A graph's bytes, checked before onnxruntime sees them.

The protobuf message is walked with a short list of known fields; contents of weights are
stepped over, so a large graph costs milliseconds. What passes holds nothing but tensors
stored in the file itself and plain tensor operators: no external data, no subgraphs and so
no loops, no functions, no sequences or strings, no foreign operators, nothing random. What
such a graph may still do is to compute much from little; `limits` bounds that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
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
MAX_METADATA = 10_000  # entries
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

Value: TypeAlias = int | tuple[int, int]
Rule: TypeAlias = Callable[[Content, int, int], None] | None


def check_graph(model: Content) -> None:
    """Refuse what no exported encoder with a head holds.

    Parameters
    ----------
    model
        Serialised ONNX model.

    Raises
    ------
    RouterError
        With what was found.
    """
    try:
        _walk("the model", _MODEL, model, 0, len(model))
        numbers = Counter(number for number, _ in _fields(model, 0, len(model)))
        if numbers[7] != 1:
            raise _RefusedError("the model has not one of each of the fields [7]")
        if numbers[14] > MAX_METADATA:
            raise _RefusedError(f"{numbers[14]} entries of metadata")
    except _RefusedError as error:
        raise RouterError(f"the graph is not one that a router holds ({error})") from error


def constant_of(model: Content, name: str) -> NDArray[np.floating] | None:
    """Return a constant of a checked graph, a matrix of float16 or float32; None for no such."""
    (graph,) = _parts(model, (0, len(model)), 7)
    for tensor in _parts(model, graph, 5):
        if [model[slice(*place)] for place in _parts(model, tensor, 8)] != [name.encode()]:
            continue
        shape: list[int] = []
        kind: Value = 0
        for number, value in _fields(model, *tensor):
            if number == 1:
                shape += [value] if isinstance(value, int) else _packed(model, *value)
            kind = value if number == 2 else kind
        dtype = np.dtype({1: "<f4", 10: "<f2"}.get(kind, "V1") if isinstance(kind, int) else "V1")
        for place in _parts(model, tensor, 9):
            if dtype.kind == "f" and len(shape) == 2:
                whole = place[1] - place[0] == prod(shape) * dtype.itemsize
                content = model[slice(*place)] if whole else b""
                return np.frombuffer(content, dtype).reshape(shape) if whole else None
    return None


def metadata_of(model: Content) -> dict[str, str]:
    """Return the metadata_props of a checked graph."""
    entries: dict[str, str] = {}
    for place in _parts(model, (0, len(model)), 14):
        texts = {1: b"", 2: b""}
        for number, value in _fields(model, *place):
            if not isinstance(value, int):
                texts[number] = model[slice(*value)]
        key, text = (texts[number].decode("utf-8", "replace") for number in (1, 2))
        entries[key] = text
    return entries


def _parts(data: Content, place: tuple[int, int], number: int) -> list[tuple[int, int]]:
    """Places of the fields of this number within a message."""
    fields = _fields(data, *place)
    return [value for n, value in fields if n == number and not isinstance(value, int)]


class _RefusedError(ValueError):
    """What was found."""


def _fields(data: Content, start: int, end: int) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field; the value of a length-delimited one is its place."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        kind = key & 7
        value: Value
        if kind == 0:
            value, at = _varint(data, at, end)
        elif kind in (1, 5):
            value, at = (at, at + (8 if kind == 1 else 4)), at + (8 if kind == 1 else 4)
        elif kind == 2:
            size, at = _varint(data, at, end)
            value, at = (at, at + size), at + size
        else:
            raise _RefusedError(f"no protobuf field at byte {at}")
        if at > end:
            raise _RefusedError(f"it ends early, at byte {end}")
        yield key >> 3, value


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


def _walk(name: str, known: dict[int, Rule], data: Content, start: int, end: int) -> None:
    """Check that a message has known fields only, and these by their rules."""
    for number, value in _fields(data, start, end):
        if number not in known:
            raise _RefusedError(f"field {number} of {name}: expected none such")
        rule = known[number]
        if rule is not None:
            if isinstance(value, int):
                raise _RefusedError(f"field {number} of {name} is a number")
            rule(data, *value)


def _graph(data: Content, start: int, end: int) -> None:
    nodes = sum(number == 1 for number, _ in _fields(data, start, end))
    if nodes > MAX_NODES:
        raise _RefusedError(f"{nodes} nodes, expected at most {MAX_NODES}")
    _walk("the graph", _GRAPH, data, start, end)
    if _used(data, start, end) > end - start + MAX_SHARED:
        raise _RefusedError("the same weights are used by too many nodes")


def _used(data: Content, start: int, end: int) -> int:
    """Bytes of the weights that the nodes take, counted once per use."""
    sizes: dict[bytes, int] = {}
    uses: dict[bytes, int] = {}
    for number, value in _fields(data, start, end):
        if number not in (1, 5) or isinstance(value, int):
            continue
        inner = [(n, v) for n, v in _fields(data, *value) if not isinstance(v, int)]
        if number == 5:
            sizes |= {data[slice(*v)]: value[1] - value[0] for n, v in inner if n == 8}
            continue
        for n, v in inner:
            if n == 1:
                uses[data[slice(*v)]] = uses.get(data[slice(*v)], 0) + 1
            elif n == 2:  # a Constant node holds its value itself
                sizes.setdefault(data[slice(*v)], value[1] - value[0])
    return sum(size * uses.get(name, 0) for name, size in sizes.items())


def _node(data: Content, start: int, end: int) -> None:
    texts = {4: "", 7: ""}
    for number, value in _fields(data, start, end):
        if number in texts and not isinstance(value, int):
            texts[number] = data[slice(*value)].decode("utf-8", "replace")
        elif number == 5 and not isinstance(value, int):
            _walk("an attribute", _ATTRIBUTE, data, *value)
        elif number not in (1, 2, 3, 6, 9):
            raise _RefusedError(f"field {number} of a node: expected none such")
    operator, domain = texts[4], texts[7]
    if operator not in _OPERATORS.get(domain, ()):
        where = f" of {domain[:60]!r}" if domain else ""
        raise _RefusedError(f"the operator {operator[:60]!r}{where}")


def _tensor(data: Content, start: int, end: int) -> None:
    """Check that a tensor's shape is no larger than the bytes that it is stored in."""
    shape: list[int] = []
    kind: Value = 0
    for number, value in _fields(data, start, end):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1 and not isinstance(value, int):
            shape += _packed(data, *value)
        elif number == 2:
            kind = value
        elif number in (13, 14) and value != 0:
            raise _RefusedError("a tensor whose data is in another file")
        elif number not in (4, 5, 7, 8, 9, 10, 11, 12, 14, 16):
            raise _RefusedError(f"field {number} of a tensor: expected none such")
        if len(shape) > _MAX_RANK:
            raise _RefusedError(f"a tensor of more than {_MAX_RANK} axes")
    if any(size >= 2**31 for size in shape):  # negative ones among them
        raise _RefusedError(f"a tensor of shape {shape}")
    if kind not in _NUMBERS:
        raise _RefusedError(f"a tensor of type {kind}, expected numbers")
    if prod(shape) > end - start:
        raise _RefusedError(f"a tensor of shape {shape} in {end - start} bytes")


def _entry(data: Content, start: int, end: int) -> None:
    """Check that an entry of the metadata has a key and a value, each at most once."""
    for place, (number, value) in enumerate(_fields(data, start, end)):
        if place > 1 or number not in (1, 2) or isinstance(value, int):
            raise _RefusedError(f"field {number} of metadata: expected a key and a value")


def _packed(data: Content, start: int, end: int) -> list[int]:
    values: list[int] = []
    while start < end and len(values) <= _MAX_RANK:
        value, start = _varint(data, start, end)
        values.append(value)
    return values


# Known fields by their numbers in onnx.proto, with the rule for what they hold.
_ATTRIBUTE: dict[int, Rule] = {**dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20)), 5: _tensor}
_GRAPH: dict[int, Rule] = {**dict.fromkeys((2, 10, 11, 12, 13, 16)), 1: _node, 5: _tensor}
_MODEL: dict[int, Rule] = {**dict.fromkeys((1, 2, 3, 4, 5, 6, 8)), 7: _graph, 14: _entry}
