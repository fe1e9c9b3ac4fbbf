"""The int8 copy: against a numpy twin, against fp32, and whatever the batch."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from zooter_lite.graph import quantise
from zooter_lite.graph.quantise import activation_ranges, to_int8

WORDS, DIM = 600, 16
Float = NDArray[np.float32]


def arrays() -> tuple[Float, Float]:
    random = np.random.default_rng(3)
    table = random.normal(size=(WORDS, DIM)).astype(np.float32)
    table[:, 5] *= 40  # an outlier channel, as real encoders have
    return table, random.normal(size=(DIM, DIM)).astype(np.float32)


def graph() -> bytes:
    """Look up, multiply, add up: unit = sum over tokens of table[ids] @ weight."""
    table, weight = arrays()
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("MatMul", ["words", "weight"], ["product"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["product", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["unit"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.asarray([2], dtype=np.int64), "last"),
        numpy_helper.from_array(np.asarray([1], dtype=np.int64), "one"),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("unit", TensorProto.FLOAT, ["batch", DIM])
    body = helper.make_graph(nodes, "g", inputs, [output], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def feed(*rows: list[int]) -> dict[str, NDArray[np.int64]]:
    length = max(map(len, rows))
    ids = np.asarray([row + [0] * (length - len(row)) for row in rows], dtype=np.int64)
    mask = np.asarray([[1] * len(row) + [0] * (length - len(row)) for row in rows], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": mask}


IDS = st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=9)
IDS_OF_ROWS = np.random.default_rng(4).integers(0, WORDS, (40, 9)).tolist()
CALIBRATION = feed(*IDS_OF_ROWS)


@pytest.fixture(scope="module")
def quantised() -> bytes:
    return to_int8(graph(), activation_ranges(graph(), [CALIBRATION]))


def run(model: bytes, inputs: dict[str, NDArray[np.int64]]) -> Float:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["unit"], inputs)[0])


def twin(ids: list[int]) -> NDArray[np.float64]:
    """What the int8 graph computes for one row, in numpy integers."""
    table, weight = arrays()
    scales = np.abs(table).max(axis=1, keepdims=True) / np.float32(127)
    words = (np.round(table / scales) * scales)[ids]
    largest = np.abs(words_of_calibration()).max(axis=0)
    divisor = np.sqrt(largest / np.abs(weight).max(axis=1))
    divisor = (divisor / np.exp(np.log(divisor).mean())).astype(np.float32)
    even, folded = words / divisor, weight * divisor[:, None]
    row_max = np.abs(even).max(axis=1, keepdims=True)
    column = np.abs(folded).max(axis=0) / 64
    levels = np.round(even / row_max * 127).astype(np.int64)
    integers = np.round(folded / column).astype(np.int64)
    return np.asarray(((levels @ integers) * row_max / 127 * column).sum(axis=0))


def words_of_calibration() -> Float:
    return arrays()[0][CALIBRATION["input_ids"].ravel()]


def test_the_graph_computes_what_its_numpy_twin_does(quantised: bytes) -> None:
    for ids in ([1, 2, 3], [599], [7] * 12):
        found = run(quantised, feed(ids))[0]
        np.testing.assert_allclose(found, twin(ids), atol=2e-2 * np.abs(found).max())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=9), min_size=2, max_size=6)
)
def test_a_row_does_not_depend_on_its_batch(quantised: bytes, rows: list[list[int]]) -> None:
    together = run(quantised, feed(*rows))
    for row, ids in zip(together, rows, strict=True):
        np.testing.assert_allclose(run(quantised, feed(ids))[0], row, rtol=1e-5, atol=1e-4)


def test_ranges_are_those_of_all_batches() -> None:
    (whole,) = activation_ranges(graph(), [CALIBRATION]).values()
    halves = [feed(*IDS_OF_ROWS[:20]), feed(*IDS_OF_ROWS[20:])]
    (parts,) = activation_ranges(graph(), halves).values()
    words = words_of_calibration()
    np.testing.assert_array_equal(whole, [words.min(axis=0), words.max(axis=0)])
    np.testing.assert_array_equal(parts, whole)


def test_an_all_zero_row_is_no_nan() -> None:
    table, _ = arrays()
    model = onnx.load_model_from_string(graph())
    table[0] = 0
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(table, "table"))
    content = model.SerializeToString()
    small = to_int8(content, activation_ranges(content, [CALIBRATION]))
    np.testing.assert_array_equal(run(small, feed([0, 0])), np.zeros((1, DIM)))


def bounded_graph() -> bytes:
    """The same with a layer norm before the product and a bias after it."""
    model = onnx.load_model_from_string(graph())
    scale, shift = np.linspace(0.5, 2, DIM), np.linspace(4, 6, DIM)  # nearly all above 0
    for name, value in (("norm", scale), ("shift", shift), ("bias", shift[::-1])):
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    lookup, product, *rest = model.graph.node
    product.input[0], product.output[0] = "normal", "bare"
    nodes = [
        lookup,
        helper.make_node("LayerNormalization", ["words", "norm", "shift"], ["normal"], axis=-1),
        product,
        helper.make_node("Add", ["bare", "bias"], ["product"]),
        *rest,
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def test_after_a_layer_norm_one_scale_holds_for_all_rows() -> None:
    ranges = activation_ranges(bounded_graph(), [CALIBRATION])
    small = onnx.load_model_from_string(to_int8(bounded_graph(), ranges))
    operators = [node.op_type for node in small.graph.node]
    assert operators[3:8] == [
        "Mul", "LayerNormalization", "Mul", "QuantizeLinear", "MatMulIntegerToFloat",
    ]  # fmt: skip
    assert "Add" not in operators  # the product adds the bias itself
    assert "ReduceMax" not in operators
    exact = run(bounded_graph(), CALIBRATION)
    found = run(small.SerializeToString(), CALIBRATION)
    assert 1e-4 < np.abs(found - exact).max() / np.abs(exact).max() < 0.03
    single = np.stack([run(small.SerializeToString(), feed(row))[0] for row in IDS_OF_ROWS])
    np.testing.assert_allclose(single, found, rtol=0, atol=1e-6 * np.abs(found).max())


def test_a_spared_product_stays_as_it_is() -> None:
    ranges = activation_ranges(bounded_graph(), [CALIBRATION])
    small = onnx.load_model_from_string(to_int8(bounded_graph(), ranges, [0]))
    operators = [node.op_type for node in small.graph.node]
    assert "MatMul" in operators
    assert "Add" in operators
    assert "MatMulIntegerToFloat" not in operators


def test_values_beyond_the_calibration_are_cut_not_wrapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quantise, "HEADROOM", 0.5)  # as if half of the values were beyond
    small = to_int8(bounded_graph(), activation_ranges(bounded_graph(), [CALIBRATION]))
    exact, found = run(bounded_graph(), CALIBRATION), run(small, CALIBRATION)
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.9
