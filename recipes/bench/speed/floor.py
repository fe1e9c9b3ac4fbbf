"""The floor: the encoder's matrix products alone, by the fastest means at hand.

No router can answer sooner than its matrix products take, so the distance to the floor
is what engineering could still win. Weights are random and different in each layer, as
many bytes as the real ones; the products' values are not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recipes.bench.speed.protocol import Contestant

KINDS = ("numpy", "torch", "onnxruntime", "onnxruntime u8s8", "onnxruntime u8u8")


@dataclass(frozen=True)
class Body:
    """Sizes of a BERT encoder, from its config.json."""

    layers: int
    width: int
    inner: int
    heads: int

    @classmethod
    def read(cls, encoder: str) -> Body:
        """Read the sizes of the encoder in a folder."""
        config = json.loads((Path(encoder) / "config.json").read_text("utf-8"))
        return cls(
            config["num_hidden_layers"], config["hidden_size"],
            config["intermediate_size"], config["num_attention_heads"],
        )  # fmt: skip

    def weights(self) -> list[tuple[str, int, int]]:
        """Weight products of one layer: name, rows and columns of the weight matrix."""
        return [
            ("qkv", self.width, 3 * self.width),
            ("out", self.width, self.width),
            ("up", self.width, self.inner),
            ("down", self.inner, self.width),
        ]

    def flops(self, length: int) -> int:
        """Multiplications and additions of one query of `length` tokens."""
        dense = sum(rows * columns for _, rows, columns in self.weights())
        return 2 * self.layers * length * (dense + 2 * length * self.width)


def floor(encoder: str, kind: str, threads: str) -> Contestant:
    """Time all products of the encoder, prepared for one length, by one of `KINDS`."""
    body = Body.read(encoder)
    about: dict[str, str] = {}
    if kind == "numpy":
        from threadpoolctl import threadpool_info, threadpool_limits

        threadpool_limits(int(threads))
        about = {lib["internal_api"]: lib.get("architecture", "") for lib in threadpool_info()}
        make: Callable[[Body, int], Callable[[], object]] = _numpy
    elif kind == "torch":
        import torch

        torch.set_num_threads(int(threads))
        make = _torch
    else:
        _, _, integers = kind.partition(" ")

        def make(body: Body, length: int) -> Callable[[], object]:
            return _onnxruntime(body, length, integers, int(threads))

    def prepare(prompts: list[str], length: int) -> list[Callable[[], object]]:
        if length not in made:
            made[length] = make(body, length)
        return [made[length]] * len(prompts)

    made: dict[int, Callable[[], object]] = {}
    return Contestant(decide=lambda product: product(), prepare=prepare, about=about)


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _numpy(body: Body, length: int) -> Callable[[], object]:
    pairs = _pairs(body, length)
    return lambda: [np.matmul(left, right, out=out) for left, right, out in pairs]


def _torch(body: Body, length: int) -> Callable[[], object]:
    import torch

    pairs = [tuple(torch.from_numpy(a) for a in pair) for pair in _pairs(body, length)]

    def products() -> None:
        with torch.inference_mode():
            for left, right, out in pairs:
                torch.matmul(left, right, out=out)

    return products


def _pairs(body: Body, length: int) -> list[tuple[Any, Any, Any]]:
    """Left, right and result of every product: dense layers, then the attention's two."""
    head = body.width // body.heads
    query, keys = _random(body.heads, length, head), _random(body.heads, head, length)
    scores, values = _random(body.heads, length, length), _random(body.heads, length, head)
    pairs = []
    for _ in range(body.layers):
        for _, rows, columns in body.weights():
            left = _random(length, rows)
            pairs.append((left, _random(rows, columns), left @ np.zeros((rows, columns), "f")))
        pairs += [(query, keys, query @ keys), (scores, values, scores @ values)]
    return pairs


def _onnxruntime(body: Body, length: int, integers: str, threads: int) -> Callable[[], object]:
    """One session with a node per product; results stay in onnxruntime's own memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # equal products of several layers would otherwise be merged into one
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    graph, feeds = _graph(body, length, integers)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def _graph(body: Body, length: int, integers: str) -> tuple[bytes, dict[str, Any]]:
    """Build the graph, and what to feed: `integers` is "", "u8s8" or "u8u8"."""
    from onnx import TensorProto, helper, numpy_helper

    head = body.width // body.heads
    left_of = {"width": (length, body.width), "inner": (length, body.inner)}
    feeds: dict[str, Any] = {
        "query": _random(body.heads, length, head),
        "keys": _random(body.heads, head, length),
        "scores": _random(body.heads, length, length),
        "values": _random(body.heads, length, head),
    }
    kind = TensorProto.INT32 if integers else TensorProto.FLOAT
    for name, shape in left_of.items():
        left = _random(*shape)
        feeds[name] = (left * 30 + 128).clip(0, 255).astype(np.uint8) if integers else left
    nodes, weights, outputs = [], [], []
    for layer in range(body.layers):
        for name, rows, columns in body.weights():
            weight, result = f"{name}{layer}", f"{name}{layer}_out"
            array = _random(rows, columns)
            if integers:
                middle, dtype = (128, np.uint8) if integers.endswith("u8") else (0, np.int8)
                array = (array * 20 + middle).clip(middle - 64, middle + 63).astype(dtype)
            weights.append(numpy_helper.from_array(array, weight))
            side = "inner" if rows == body.inner else "width"
            operator = "MatMulInteger" if integers else "MatMul"
            nodes.append(helper.make_node(operator, [side, weight], [result]))
            outputs.append(helper.make_tensor_value_info(result, kind, None))
        for one, two in (("query", "keys"), ("scores", "values")):
            result = f"{one}{layer}_out"
            nodes.append(helper.make_node("MatMul", [one, two], [result]))
            outputs.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, None))
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    graph = helper.make_graph(nodes, "products", inputs, outputs, weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return proto.SerializeToString(), feeds
