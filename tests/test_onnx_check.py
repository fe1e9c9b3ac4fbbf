"""Graphs by their bytes: what exporters write passes, everything else is refused."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.helpers import EXPERTS, toy_encoder, toy_head
from tests.hostile_graphs import GRAPHS, MOVED, Edit, edited, ending, node
from zooter_lite.errors import RouterError
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.untrusted.onnx_check import check_graph


def toy_model() -> ModelProto:
    return onnx.load_model_from_string(router_graph(toy_encoder(), toy_head("prior"), EXPERTS))


def strings(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(["a"], dtype=object), "text"))


REFUSED: dict[str, tuple[Edit, str]] = {
    "external data": (GRAPHS["external 0"], "field 13 of a tensor"),
    "a loop": (GRAPHS["a loop"], "the operator 'Loop'|field 6"),
    "many nodes": (GRAPHS["a hundred thousand nodes"], "more than 5000 fields 1 of the graph"),
    "a subgraph in a known operator": (GRAPHS["attribute 0 evil"], "field 6 of an attribute"),
    "a foreign operator": (GRAPHS["operator evil Run"], "the operator 'Run' of 'evil'"),
    "random numbers": (ending(node("RandomNormal", MOVED, "probs")), "operator 'RandomNormal'"),
    "functions": (edited(lambda m: m.functions.add()), "field 25 of the model"),
    "training": (edited(lambda m: m.training_info.add()), "field 20 of the model"),
    "sparse weights": (edited(lambda m: m.graph.sparse_initializer.add()), "field 15 of the graph"),
    "strings": (edited(strings), "field 6 of a tensor"),
    "shapes beyond the data": (GRAPHS[f"shape 0 {(2**62, 4)}"], "a tensor of shape"),
    "shapes beyond the bytes": (GRAPHS["shape 0 (1000000000,)"], "a tensor of shape"),
    "texts in numbers' place": (
        edited(lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.STRING)),
        "a tensor of type 8, expected numbers",
    ),
    "negative shapes": (GRAPHS["shape 0 (-1, -1)"], "a tensor of shape"),
    "many axes": (GRAPHS[f"shape 0 {(1,) * 200}"], "more than 8 axes"),
    "no graph": (edited(lambda m: m.ClearField("graph")), "has not one graph"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_exporter_writes_is_refused(kind: str) -> None:
    edit, message = REFUSED[kind]
    content = edit(toy_model().SerializeToString())
    with pytest.raises(RouterError, match=message) as caught:
        check_graph(content)
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
