"""Hostile edits of a toy router's graph, by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Edit = Callable[[bytes], bytes]
MOVED = "moved"  # what the output `probs` is renamed to, where a case makes its own


def edited(edit: Callable[[ModelProto], object]) -> Edit:
    """Change the parsed graph."""

    def apply(content: bytes) -> bytes:
        model = onnx.load_model_from_string(content)
        edit(model)
        return bytes(model.SerializeToString())

    return apply


def _constant(name: str, value: NDArray[Any]) -> TensorProto:
    return numpy_helper.from_array(value, name)


def _integers(name: str, *values: int) -> TensorProto:
    return _constant(name, np.asarray(values, dtype=np.int64))


def ending(*nodes: NodeProto, constants: tuple[TensorProto, ...] = ()) -> Edit:
    """Compute `probs` of what it was (MOVED) by these nodes."""

    def edit(model: ModelProto) -> None:
        for node in model.graph.node:
            for place, name in enumerate(node.output):
                if name == "probs":
                    node.output[place] = MOVED
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(constants)

    return edited(edit)


def _bomb(*nodes: NodeProto, constants: tuple[TensorProto, ...] = ()) -> Edit:
    """Make `big` (any shape) by these nodes, and add its largest number to the probabilities."""
    end = [
        helper.make_node("ReduceMax", ["big"], ["largest"], keepdims=0),
        helper.make_node("Add", [MOVED, "largest"], ["probs"]),
    ]
    return ending(*nodes, *end, constants=constants)


def node(operator: str, inputs: str, output: str = "big", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), output.split(), **attributes)


def _chain(operator: str, first: str, count: int) -> list[NodeProto]:
    """Apply an operator over and over: `first` to `big`."""
    names = [first, *(f"step{i}" for i in range(count - 1)), "big"]
    return [
        helper.make_node(operator, [a, a], [b], axis=0)
        if operator == "Concat"
        else helper.make_node(operator, [a] if operator == "Neg" else [a, a], [b])
        for a, b in pairwise(names)
    ]


def _loop(iterations: int) -> NodeProto:
    body = helper.make_graph(
        [node("Identity", "c", "d"), node("Identity", "v", "w")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("d", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    return helper.make_node("Loop", ["count", "", MOVED], ["probs"], body=body)


def _external(location: str) -> Callable[[ModelProto], None]:
    def edit(model: ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "312")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return edit


def _shape(number: int, dims: tuple[int, ...]) -> Callable[[ModelProto], None]:
    def edit(model: ModelProto) -> None:
        tensor = model.graph.initializer[number]
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return edit


def _function(model: ModelProto) -> None:
    call = helper.make_node("Evil", ["a"], ["b"], domain="evil")
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("evil", 1)]
    model.functions.append(helper.make_function("evil", "Evil", ["a"], ["b"], [call], opset))
    model.opset_import.append(opset[1])
    model.graph.node.append(helper.make_node("Evil", ["probs"], ["never"], domain="evil"))


def _attribute(number: int, name: str, value: Any) -> Callable[[ModelProto], None]:
    return lambda m: m.graph.node[number].attribute.append(helper.make_attribute(name, value))


def _metadata(key: str, value: str) -> Callable[[ModelProto], None]:
    def edit(model: ModelProto) -> None:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value

    return edit


def _field(key: bytes, value: bytes) -> bytes:
    """Write a length-delimited field of protobuf."""
    size, rest = b"", len(value)
    while rest >= 128:
        size += bytes([rest & 127 | 128])
        rest >>= 7
    return key + size + bytes([rest]) + value


def _deep(content: bytes) -> bytes:
    """Append a subgraph in a subgraph in a subgraph and so on, three thousand times."""
    inner = b""
    for _ in range(3000):
        for key in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, node
            inner = _field(key, inner)
    return content + _field(b"\x3a", inner)


def _shuffled(seed: int) -> Callable[[ModelProto], None]:
    """Exchange operators, inputs and outputs at random."""

    def edit(model: ModelProto) -> None:
        dice = random.Random(seed)
        names = [n for item in model.graph.node for n in (*item.input, *item.output) if n]
        operators = [item.op_type for item in model.graph.node]
        for item in dice.choices(model.graph.node, k=1 + seed % 4):
            choice = dice.randrange(3)
            if choice == 0:
                item.op_type = dice.choice(
                    [*operators, "Expand", "Tile", "Reshape", "Pad", "Range"]
                )
            elif choice == 1 and item.input:
                item.input[dice.randrange(len(item.input))] = dice.choice(names)
            else:
                item.output[0] = dice.choice(names)

    return edit


VECTOR = _constant("vector", np.ones(50_000, dtype=np.float32))
COLUMN = _constant("column", np.ones((50_000, 1), dtype=np.float32))
SQUARE = _constant("square", np.full((600, 600), 1e-3, dtype=np.float32))
ONE = _constant("one", np.ones(1, dtype=np.float32))
HUGE = _integers("huge", 100_000, 100_000)
GRAPHS: dict[str, Edit] = {
    "crosswise at run time": _bomb(
        node("ReduceMax", MOVED, "m", keepdims=0),
        node("Add", "vector m", "moved_vector"),
        node("Mul", "moved_vector column"),
        constants=(VECTOR, COLUMN),
    ),
    "doubling at run time": _bomb(
        node("ReduceMax", MOVED, "m", keepdims=0),
        node("Add", "vector m", "v"),
        *_chain("Concat", "v", 40),
        constants=(VECTOR,),
    ),
    "expand": _bomb(node("Expand", "one huge"), constants=(ONE, HUGE)),
    "top of many": _bomb(
        node("TopK", "vector huge", "big places"), constants=(VECTOR, _integers("huge", 2**40))
    ),
    "products at run time": _bomb(
        node("ReduceMax", MOVED, "m", keepdims=0),
        node("Add", "square m", "s"),
        *_chain("MatMul", "s", 1500),
        constants=(SQUARE,),
    ),
    "a hundred thousand nodes": _bomb(*_chain("Neg", "vector", 100_000), constants=(VECTOR,)),
    "a loop": ending(_loop(1), constants=(_constant("count", np.asarray(10**12, np.int64)),)),
    "no number": ending(
        node("Log", "below", "never"),
        node("Div", "zero zero", "nan"),
        node("Add", f"{MOVED} nan", "probs"),
        constants=(
            _constant("zero", np.zeros(1, np.float32)),
            _constant("below", -np.ones(1, np.float32)),
        ),
    ),
    "one row": ending(
        node("ReduceMean", f"{MOVED} zero", "probs"), constants=(_integers("zero", 0),)
    ),
    "more rows": ending(helper.make_node("Concat", [MOVED, MOVED], ["probs"], axis=0)),
    "float64": ending(node("Cast", MOVED, "probs", to=TensorProto.DOUBLE)),
    "text": ending(node("Cast", MOVED, "probs", to=TensorProto.STRING)),
    "a function that calls itself": edited(_function),
    "deep": _deep,
    "empty": lambda _: b"",
    "metadata that is none": lambda content: content + b"\x72\x02\x0f\x0f",
    "metadata of many entries": lambda content: content + 20_000 * b"\x72\x00",
    "long metadata": edited(_metadata("zooter.evil", "x" * 3_000_000)),
    "experts twice": edited(_metadata("zooter.experts", "[]")),
    "ir of tomorrow": edited(lambda m: setattr(m, "ir_version", 10**6)),
    "a circle": edited(lambda m: m.graph.node[0].input.append("probs")),
    **{
        f"external {place}": edited(_external(location))
        for place, location in enumerate(
            (
                "/etc/passwd",
                "../canary",
                "tokenizer.json",
                "*/_ORT_MEM_ADDR_/*",
            )
        )
    },
    **{
        f"operator {domain} {name}": ending(
            helper.make_node(name, [MOVED], ["probs"], domain=domain)
        )
        for domain, name in (
            ("evil", "Run"),
            ("com.microsoft", "Tokenizer"),
            ("ai.onnx.contrib", "PyOp"),
            ("", "If"),
            ("", "SequenceConstruct"),
            ("com.microsoft", "EPContext"),
            ("com.microsoft", "MemcpyFromHost"),
            ("x" * 5000, "y" * 5000),
        )
    },
    **{
        f"shape {number} {dims}": edited(_shape(number, dims))
        for number in (0, 3)
        for dims in (
            (2**62, 4),
            (-1, -1),
            (0, -1),
            (0, 2**62),
            (0,),
            (),
            (10**9,),
            (1,) * 200,
        )
    },
    **{
        f"attribute {number} {name}": edited(_attribute(number, name, value))
        for number in (0, 5)
        for name, value in (
            ("axis", 2**62),
            ("p", -1),
            ("axes", [2**62] * 3),
            ("keepdims", 2**40),
            ("evil", onnx.GraphProto()),
            ("body", b"x"),
        )
    },
    **{f"shuffled {seed}": edited(_shuffled(seed)) for seed in range(16)},
}
