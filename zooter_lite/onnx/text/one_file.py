"""One file for any app: router.text.onnx takes text where router.onnx takes tokens.

The tokenizer becomes nodes of a stock onnxruntime (token_nodes.py); the router's graph
follows in a Loop over the texts, so a text's result does not depend on its batch by a
single bit, and no time is spent on padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, compose, helper
from tokenizers import Tokenizer

from zooter_lite.graph.builder import GraphBuilder
from zooter_lite.onnx.parity import MAX_DIFFERENCE
from zooter_lite.onnx.text.tables import tables
from zooter_lite.onnx.text.token_nodes import token_nodes
from zooter_lite.onnx.text.wordpiece import TextExportError, WordPiece, read_wordpiece
from zooter_lite.router.directory.config import TextParity
from zooter_lite.router.runtime import OUTPUTS
from zooter_lite.router.session import TextSession

_OPSETS = {"": 18, "ai.onnx.ml": 2, "com.microsoft": 1}  # the oldest that have the operators
_INPUTS = ["input_ids", "attention_mask"]
_PREFIX = "router."


def text_graph(graph: bytes, tokenizer: str, max_length: int) -> bytes:
    """Serialise the one-file router.

    The tokens are those of the `tokenizers` library for every text; a tokenizer for which
    that does not hold is refused. (Lone surrogates, which ONNX strings cannot hold, are the
    caller's to replace, with "?" as the router does. A run of characters that is no token
    is taken for one with a probability below 2**-40.)

    Parameters
    ----------
    graph
        Content of router.onnx, of any precision: inputs input_ids and attention_mask int64
        (batch, length); outputs as `router_graph` names them, float32 (batch, width).
    tokenizer
        Content of tokenizer.json.
    max_length
        Longer texts are truncated to this many tokens.

    Returns
    -------
    bytes
        Graph with the input `query` string (batch,), and the outputs and metadata of `graph`.

    Raises
    ------
    TextExportError
        The tokenizer cannot be expressed, or the graph is not a router's.
    """
    wordpiece = read_wordpiece(tokenizer)
    room = max_length - len(wordpiece.prefix) - len(wordpiece.suffix)
    if room < 1:
        raise TextExportError(f"max_length {max_length} leaves no room for the text")
    router = _renamed(onnx.load_model_from_string(graph))
    nodes = GraphBuilder("text")
    trips = nodes.add("Squeeze", nodes.add("Shape", "query"))
    body = _body(router.graph, wordpiece, room, nodes)
    sizes = _sizes(router.graph)
    names = [name for name, _ in sizes]
    nodes.nodes.append(helper.make_node("Loop", [trips, ""], names, body=body))
    model = helper.make_model(
        helper.make_graph(
            nodes.nodes,
            "text_router",
            [helper.make_tensor_value_info("query", TensorProto.STRING, ["batch"])],
            [_float(name, ["batch", size]) for name, size in sizes],
            [*nodes.constants, *router.graph.initializer],
        ),
        opset_imports=_opsets(router),
        functions=router.functions,
        ir_version=router.ir_version,
        producer_name="zooter-lite",
    )
    helper.set_model_props(model, {prop.key: prop.value for prop in router.metadata_props})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def checked_text_graph(
    graph: bytes, tokenizer: str, max_length: int, queries: Sequence[str]
) -> tuple[bytes, TextParity]:
    """Make the one-file router (see `text_graph`), and what it changes on these texts.

    Raises
    ------
    TextExportError
        A text has other tokens, or a probability differs by more than `MAX_DIFFERENCE`.
    """
    text = text_graph(graph, tokenizer, max_length)
    parity = check_text_parity(text, graph, tokenizer, max_length, queries)
    if parity.changed_tokens or not parity.max_difference <= MAX_DIFFERENCE:
        raise TextExportError(
            f"router.text.onnx has other tokens than router.onnx for {parity.changed_tokens:.2%} "
            f"of {len(queries)} prompts, and differs by {parity.max_difference:.1e} in a "
            f"probability (allowed: none and {MAX_DIFFERENCE:.0e})"
        )
    return text, parity


def check_text_parity(
    text: bytes, graph: bytes, tokenizer: str, max_length: int, queries: Sequence[str]
) -> TextParity:
    """Compare the one-file router with router.onnx and the `tokenizers` library.

    Parameters
    ----------
    text
        What `text_graph` returned for the next three.
    graph, tokenizer, max_length
        As for `text_graph`.
    queries
        Texts to compare on, at least one.
    """
    reference = Tokenizer.from_str(tokenizer)
    reference.no_padding()
    reference.enable_truncation(max_length)
    session = _session_with_tokens(text)
    (expected,) = TextSession(graph, tokenizer, max_length).run(queries, ["probs"])
    probs = np.empty_like(expected)
    changed = 0
    for i, given in enumerate(queries):
        query = given.encode("utf-8", "replace").decode("utf-8")  # as the router does
        feed = {"query": np.asarray([query], dtype=object)}
        probs[i : i + 1], (ids,) = session.run(["probs", _INPUTS[0]], feed)
        changed += ids.flatten().tolist() != reference.encode(query).ids
    return TextParity(
        queries=float(len(queries)),
        changed_tokens=changed / len(queries),
        changed_decisions=float(np.mean(probs.argmax(axis=1) != expected.argmax(axis=1))),
        max_difference=float(np.abs(probs - expected).max()),
    )


def _session_with_tokens(text: bytes) -> onnxruntime.InferenceSession:
    """Start onnxruntime on the graph with the token ids of a single text as a further output."""
    model = onnx.load_model_from_string(text)
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    (body,) = (attribute.g for attribute in loop.attribute if attribute.name == "body")
    ids = helper.make_tensor_value_info(_PREFIX + _INPUTS[0], TensorProto.INT64, [1, "length"])
    body.output.append(ids)
    loop.output.append(_INPUTS[0])
    shape: list[str | int] = ["batch", 1, "length"]
    model.graph.output.append(helper.make_tensor_value_info(_INPUTS[0], TensorProto.INT64, shape))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # texts of a few tokens gain nothing from more
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _renamed(router: ModelProto) -> ModelProto:
    """Put every name of the router's graph behind a prefix, away from those of the tokenizer."""
    inputs = sorted(value.name for value in router.graph.input)
    outputs = sorted(value.name for value in router.graph.output)
    needed = [*OUTPUTS[:2]]
    if inputs != sorted(_INPUTS) or not {*needed} <= {*outputs} <= {*OUTPUTS}:
        raise TextExportError(
            f"the graph has the inputs {inputs} and the outputs {outputs}, "
            f"expected {sorted(_INPUTS)} and {needed}, perhaps {[*OUTPUTS[2:]]}"
        )
    return compose.add_prefix(router, _PREFIX, rename_functions=False)


def _body(router: GraphProto, wordpiece: WordPiece, room: int, outer: GraphBuilder) -> GraphProto:
    """One text's tokens, what the template puts around them, and the router.

    The constants, the router's weights among them, stay in the outer graph.
    """
    inner = GraphBuilder("text.body")
    row = helper.make_tensor_value_info("text.body.row", TensorProto.INT64, [])
    going = helper.make_tensor_value_info("text.body.going", TensorProto.BOOL, [])
    axis = inner.value([0])
    text = inner.add("Gather", "query", inner.add("Unsqueeze", row.name, axis))
    tokens = token_nodes(inner, text, wordpiece, tables(wordpiece), room)
    prefix, suffix = inner.value(wordpiece.prefix), inner.value(wordpiece.suffix)
    framed = inner.add("Concat", prefix, tokens, suffix, axis=0)
    ids = inner.add("Unsqueeze", framed, axis, output=_PREFIX + _INPUTS[0])
    shape = inner.add("Shape", ids)
    inner.add("Expand", inner.value([1]), shape, output=_PREFIX + _INPUTS[1])
    inner.nodes.extend(router.node)
    rows = [
        _float(inner.add("Squeeze", _PREFIX + name, axis), [size]) for name, size in _sizes(router)
    ]
    on = helper.make_tensor_value_info(inner.add("Identity", going.name), TensorProto.BOOL, [])
    outer.constants.extend(inner.constants)
    return helper.make_graph(
        inner.nodes, "text", [row, going], [on, *rows], value_info=router.value_info
    )


def _sizes(router: GraphProto) -> list[tuple[str, int]]:
    """Length of a row of each output, in the order of the contract."""
    sizes = {value.name: value.type.tensor_type.shape.dim[1].dim_value for value in router.output}
    return [(name, sizes[_PREFIX + name]) for name in OUTPUTS if _PREFIX + name in sizes]


def _float(name: str, shape: Sequence[str | int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _opsets(router: ModelProto) -> list[onnx.OperatorSetIdProto]:
    """Versions of the operators: the router's, and those that the tokenizer adds."""
    versions = {entry.domain: entry.version for entry in router.opset_import}
    if versions.get("", 0) < _OPSETS[""]:
        raise TextExportError(
            f"the graph uses opset {versions.get('')}, expected at least {_OPSETS['']}"
        )
    return [helper.make_opsetid(*entry) for entry in sorted((_OPSETS | versions).items())]
