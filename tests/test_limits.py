"""Bounds of a graph at work: memory, time, and what it may return."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.helpers import toy_tokenizer
from zooter_lite.errors import RouterError
from zooter_lite.router.session import TextSession
from zooter_lite.untrusted import limits
from zooter_lite.untrusted.limits import bound_memory, memory, run_graph

FEED = {"x": np.asarray([[1], [2]], dtype=np.int64)}


def session(
    nodes: list[NodeProto], **constants: NDArray[np.generic]
) -> onnxruntime.InferenceSession:
    """Start a graph of `x` int64 (n, 1) and `f`, the same in float32, to `y`."""
    cast = helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
    graph = helper.make_graph(
        [cast, *nodes],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 1])],
        [helper.make_value_info("y", helper.make_tensor_type_proto(TensorProto.FLOAT, None))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    providers = bound_memory(options, ["CPUExecutionProvider"])
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [helper.make_node("ReduceSum", ["f"], ["y"])],
            r"shape .*\(1, 1\)\), expected float32 and \(2, 1\)",
        ),
        ([helper.make_node("Unsqueeze", ["f", "one"], ["y"])], r"shape .*\(2, 1, 1\)\), expected"),
        ([helper.make_node("Div", ["f", "zero"], ["y"])], "is not finite"),
        ([helper.make_node("Gather", ["f", "far"], ["y"])], "the graph cannot be run"),
    ],
)
def test_what_is_no_finite_row_per_query_is_refused(nodes: list[NodeProto], message: str) -> None:
    odd = session(
        nodes,
        one=np.asarray([1], dtype=np.int64),
        zero=np.asarray(0, dtype=np.float32),
        far=np.asarray([9], dtype=np.int64),
    )
    with pytest.raises(RouterError, match=message) as caught:
        run_graph(odd, {"y": 1}, FEED)
    assert "\n" not in str(caught.value)


def test_the_bound_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOOTER_MEMORY_MB", raising=False)
    assert memory() >= 512 * 2**20
    monkeypatch.setenv("ZOOTER_MEMORY_MB", "4096")
    assert memory() == 2**32
    for text in ("0", "-1", "much", "1e3", "9" * 30, "²"):
        monkeypatch.setenv("ZOOTER_MEMORY_MB", text)
        with pytest.raises(RouterError, match="expected mebibytes"):
            memory()


def test_the_arena_of_a_gpu_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOTER_MEMORY_MB", "64")
    options = onnxruntime.SessionOptions()
    providers = bound_memory(options, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert providers == [
        ("CUDAExecutionProvider", {"gpu_mem_limit": str(64 * 2**20)}),
        "CPUExecutionProvider",
    ]


def text_graph(steps: int, size: int, wide: int) -> bytes:
    """Multiply matrices of `size` rows in `steps`, fill `wide` numbers; to a row of ones."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["ids", "axis"], ["row"]),
        helper.make_node("ConstantOfShape", ["square"], ["s0"]),
        *(helper.make_node("MatMul", [f"s{i}", f"s{i}"], [f"s{i + 1}"]) for i in range(steps)),
        helper.make_node("ReduceMax", [f"s{steps}"], ["none"], keepdims=0),
        helper.make_node("ConstantOfShape", ["line"], ["zeros"]),
        helper.make_node("Add", ["zeros", "none"], ["many"]),
        helper.make_node("ReduceMax", ["many"], ["nothing"], keepdims=0),
        helper.make_node("Mul", ["row", "nothing"], ["zero"]),
        helper.make_node("Exp", ["zero"], ["unit"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("unit", TensorProto.FLOAT, ["batch", 1])
    constants = {"axis": [1], "square": [size, size], "line": [wide]}
    arrays = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, [output], arrays)
    opset = [helper.make_opsetid("", 18)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (text_graph(60, 600, 1), "ran longer than"),
        (text_graph(1, 1, memory() // 4), "takes more than"),
    ],
    ids=["time", "memory"],
)
def test_a_graph_is_stopped_but_for_an_encoder_of_the_users_own(
    monkeypatch: pytest.MonkeyPatch, graph: bytes, message: str
) -> None:
    monkeypatch.setattr(limits, "RUN_SECONDS", 0.01)
    monkeypatch.setattr(limits, "_TICK", 0.005)
    limits._runs.cache_clear()  # a thread of before may sleep for an old tick
    tokenizer = toy_tokenizer().to_str()
    with pytest.raises(RouterError, match=message):
        TextSession(graph, tokenizer, 16, 1).run(["one"], ["unit"])
    own = TextSession(graph, tokenizer, 16, 1, trusted=True)
    assert own.run(["one"], ["unit"])[0].tolist() == [[1.0]]
