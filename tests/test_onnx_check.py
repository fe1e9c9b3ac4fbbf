"""Graphs by their bytes: what exporters write passes, everything else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.helpers import EXPERTS, toy_encoder, toy_head
from zooter_lite.errors import RouterError
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.untrusted.onnx_check import check_graph

Edit = Callable[[ModelProto], object]


def toy_model() -> ModelProto:
    return onnx.load_model_from_string(router_graph(toy_encoder(), toy_head("prior"), EXPERTS))


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def subgraph(model: ModelProto) -> None:
    loop = helper.make_node("Loop", ["n", ""], ["x"], body=onnx.GraphProto())
    model.graph.node.insert(0, loop)


def hidden_subgraph(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", onnx.GraphProto()))


def operator(name: str, domain: str = "") -> Edit:
    return lambda model: model.graph.node.append(helper.make_node(name, [], ["y"], domain=domain))


def dims(*sizes: int) -> Edit:
    def edit(model: ModelProto) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(sizes)

    return edit


def strings(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(["a"], dtype=object), "text"))


REFUSED: dict[str, tuple[Edit, str]] = {
    "external data": (external, "data is in another file"),
    "a loop": (subgraph, "the operator 'Loop'|field 6"),
    "a subgraph in a known operator": (hidden_subgraph, "field 6 of an attribute"),
    "a foreign operator": (operator("Evil", "my.domain"), "the operator 'Evil' of 'my.domain'"),
    "random numbers": (operator("RandomNormal"), "the operator 'RandomNormal'"),
    "functions": (lambda m: m.functions.add(), "field 25 of the model"),
    "training": (lambda m: m.training_info.add(), "field 20 of the model"),
    "sparse weights": (lambda m: m.graph.sparse_initializer.add(), "field 15 of the graph"),
    "strings": (strings, "field 6 of a tensor"),
    "shapes beyond the data": (dims(2**31, 2**31), "a tensor of shape"),
    "negative shapes": (dims(-1, -1), "a tensor of shape"),
    "many axes": (dims(*[1] * 9), "more than 8 axes"),
    "no graph": (lambda m: m.ClearField("graph"), "not one of each"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_exporter_writes_is_refused(kind: str) -> None:
    edit, message = REFUSED[kind]
    model = toy_model()
    edit(model)
    with pytest.raises(RouterError, match=message) as caught:
        check_graph(model.SerializeToString())
    assert "\n" not in str(caught.value)


def test_values_of_any_field_that_is_known_pass() -> None:
    model = toy_model()
    model.doc_string = "text"
    model.graph.value_info.extend(model.graph.output)
    node = model.graph.node[0]
    node.doc_string, node.name = "text", json.dumps("name")
    node.attribute.extend(
        helper.make_attribute(name, value)
        for name, value in (("i", -1), ("f", 0.5), ("s", "s"), ("ints", [1, 2]), ("fs", [0.5]))
    )
    value = numpy_helper.from_array(np.zeros((2, 3)), "t")
    node.attribute.append(helper.make_attribute("t", value))
    model.graph.initializer.append(helper.make_tensor("typed", TensorProto.INT64, [3], [1, 2, -3]))
    check_graph(model.SerializeToString())


def test_every_cut_and_every_flipped_byte_is_refused_or_walked_to_the_end() -> None:
    content = toy_model().SerializeToString()
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x55
        for attempt in (content[:place], bytes(changed)):
            try:
                check_graph(attempt)
            except RouterError:
                refused += 1
    assert refused > len(content)
