"""A small builder of ONNX graphs: nodes and constants under one name prefix."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

# An empty `domain` is told to make_node as well: it stands in the bytes of a graph.
MICROSOFT = "com.microsoft"  # onnxruntime's own operators
OPSET = 20
IR_VERSION = 10


class GraphBuilder:
    """Collects the `nodes` and `constants` of a graph, in the order in which they are added."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._prefix = prefix
        self._known: set[str] = set()

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant once per name and return its full name; float64 becomes float32."""
        full = f"{self._prefix}.{name}"
        if full not in self._known:
            self._known.add(full)
            dtype = np.float32 if value.dtype == np.float64 else value.dtype
            array = np.asarray(value, dtype=dtype, order="C")
            self.constants.append(numpy_helper.from_array(array, full))
        return full

    def integers(self, *values: int) -> str:
        """Return a constant vector of int64, such as axes."""
        name = "integers." + ".".join(map(str, values))
        return self.constant(name, np.asarray(values, dtype=np.int64))

    def scalar(self, name: str, value: float) -> str:
        """Return a float32 constant without axes."""
        return self.constant(name, np.asarray(value, dtype=np.float32))

    def value(self, value: ArrayLike, dtype: Any = np.int64) -> str:
        """Add a constant without a name of its own, and return the name it gets."""
        return self.constant(f"constant{len(self.constants)}", np.asarray(value, dtype=dtype))

    def add(
        self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node of one output and return the output's name, `output` if given."""
        output = output or f"{self._prefix}.{len(self.nodes)}.{operator}"
        self.nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def split(self, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a Split node and return the names of its outputs."""
        stem = f"{self._prefix}.{len(self.nodes)}.Split"
        names = [f"{stem}.{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node("Split", inputs, names, domain="", **attributes))
        return names


def encoder_model(builder: GraphBuilder, dim: int) -> ModelProto:
    """Return the model of token ids to `unit` (batch, dim) that the builder's nodes describe."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    unit = helper.make_tensor_value_info("unit", TensorProto.FLOAT, ["batch", dim])
    graph = helper.make_graph(builder.nodes, "encoder", inputs, [unit], builder.constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    )
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "zooter-lite", ""
    return model


def serialise(model: ModelProto) -> bytes:
    """Check the model and return its bytes, the same on every run."""
    content = bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(content)  # of a model it would make bytes once more
    return content
