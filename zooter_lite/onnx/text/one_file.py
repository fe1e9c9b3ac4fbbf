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

from zooter_lite.graph.builder import IR_VERSION, MICROSOFT, OPSET, GraphBuilder, serialise
from zooter_lite.onnx.parity import MAX_DIFFERENCE
from zooter_lite.onnx.text.token_nodes import token_nodes
from zooter_lite.onnx.text.wordpiece import TextExportError, WordPiece, read_wordpiece
from zooter_lite.router.directory.config import TextParity
from zooter_lite.router.runtime import OUTPUTS
from zooter_lite.router.session import TextSession

_OPSETS = {"": OPSET, "ai.onnx.ml": 2, MICROSOFT: 1}  # the oldest that have the operators
_INPUTS = ["input_ids", "attention_mask"]
_PREFIX = "router."


def text_graph(graph: bytes, tokenizer: str, max_length: int) -> bytes:
    """Serialise the one-file router: `query` string (batch,) to what `graph` returns.

    The tokens are those of the `tokenizers` library for every text; a tokenizer for which
    that does not hold is refused. (Lone surrogates, which ONNX strings cannot hold, are the
    caller's to replace, with "?" as the router does.)

    `graph` is the content of router.onnx, of any precision, `tokenizer` that of tokenizer.json;
    longer texts are truncated to `max_length` tokens. TextExportError where the tokenizer cannot
    be expressed, or the graph is not a router's.
    """
    router = onnx.load_model_from_string(graph)
    inputs = sorted(value.name for value in router.graph.input)
    if inputs != sorted(_INPUTS) or OUTPUTS[0] not in {v.name for v in router.graph.output}:
        raise TextExportError(f"the graph, with the inputs {inputs}, is not a router's")
    router = compose.add_prefix(router, _PREFIX, rename_functions=False)
    nodes = GraphBuilder("text")
    trips = nodes.add("Squeeze", nodes.add("Shape", "query"))
    body = _body(router.graph, read_wordpiece(tokenizer), max_length, nodes)
    sizes = _sizes(router.graph)
    nodes.nodes.append(helper.make_node("Loop", [trips, ""], [*sizes], body=body))
    nodes.constants.extend(router.graph.initializer)
    model = _model(
        nodes,
        helper.make_tensor_value_info("query", TensorProto.STRING, ["batch"]),
        [_float(name, ["batch", size]) for name, size in sizes.items()],
        {entry.domain: entry.version for entry in router.opset_import},
    )
    model.functions.extend(router.functions)
    model.metadata_props.extend(router.metadata_props)
    return serialise(model)


def token_graph(tokenizer: str, max_length: int) -> bytes:
    """Serialise the tokenizer alone: `query` string (1,) to `input_ids` int64 (n_tokens,)."""
    nodes = GraphBuilder("text")
    ids = _framed(nodes, "query", read_wordpiece(tokenizer), max_length)
    nodes.add("Identity", ids, output=_INPUTS[0])
    query = helper.make_tensor_value_info("query", TensorProto.STRING, [1])
    output = helper.make_tensor_value_info(_INPUTS[0], TensorProto.INT64, ["n_tokens"])
    return serialise(_model(nodes, query, [output], {}))


def checked_text_graph(
    graph: bytes, tokenizer: str, max_length: int, queries: Sequence[str]
) -> tuple[bytes, TextParity]:
    """Make the one-file router (see `text_graph`), and what it changes on these texts.

    TextExportError where one has other tokens, or a probability that differs by more than
    `MAX_DIFFERENCE`.
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
    """Compare a one-file router with router.onnx and the `tokenizers` library, on some texts."""
    session = TextSession(graph, tokenizer, max_length)
    (expected,) = session.run(queries, ["probs"])
    router, tokens = _session(text), _session(token_graph(tokenizer, max_length))
    probs = np.empty_like(expected)
    changed = 0
    for i, (given, wanted) in enumerate(zip(queries, session.tokens.many(queries), strict=True)):
        query = given.encode("utf-8", "replace").decode("utf-8")  # as the router does
        feed = {"query": np.asarray([query], dtype=object)}
        (probs[i : i + 1],), (ids,) = router.run(["probs"], feed), tokens.run(None, feed)
        changed += not np.array_equal(ids, wanted)
    return TextParity(
        queries=float(len(queries)),
        changed_tokens=changed / len(queries),
        changed_decisions=float(np.mean(probs.argmax(axis=1) != expected.argmax(axis=1))),
        max_difference=float(np.abs(probs - expected).max()),
    )


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # texts of a few tokens gain nothing from more
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _model(
    nodes: GraphBuilder,
    query: ValueInfoProto,
    outputs: Sequence[ValueInfoProto],
    versions: dict[str, int],
) -> ModelProto:
    """Make a model of operators of these versions, or the later ones that the tokenizer needs."""
    newest = {name: max(versions.get(name, 0), version) for name, version in _OPSETS.items()}
    return helper.make_model(
        helper.make_graph(nodes.nodes, "text_router", [query], outputs, nodes.constants),
        opset_imports=[helper.make_opsetid(*e) for e in sorted((versions | newest).items())],
        ir_version=IR_VERSION,
        producer_name="zooter-lite",
    )


def _body(
    router: GraphProto, wordpiece: WordPiece, max_length: int, outer: GraphBuilder
) -> GraphProto:
    """One text's tokens, what the template puts around them, and the router.

    The constants, the router's weights among them, stay in the outer graph.
    """
    inner = GraphBuilder("text.body")
    row = helper.make_tensor_value_info("text.body.row", TensorProto.INT64, [])
    going = helper.make_tensor_value_info("text.body.going", TensorProto.BOOL, [])
    axis = inner.value([0])
    text = inner.add("Gather", "query", inner.add("Unsqueeze", row.name, axis))
    ids = _framed(inner, text, wordpiece, max_length)
    ids = inner.add("Unsqueeze", ids, axis, output=_PREFIX + _INPUTS[0])
    inner.add("Expand", inner.value([1]), inner.add("Shape", ids), output=_PREFIX + _INPUTS[1])
    inner.nodes.extend(router.node)
    rows = [
        _float(inner.add("Squeeze", _PREFIX + name, axis), [size])
        for name, size in _sizes(router).items()
    ]
    on = helper.make_tensor_value_info(inner.add("Identity", going.name), TensorProto.BOOL, [])
    outer.constants.extend(inner.constants)
    return helper.make_graph(
        inner.nodes, "text", [row, going], [on, *rows], value_info=router.value_info
    )


def _framed(nodes: GraphBuilder, text: str, wordpiece: WordPiece, max_length: int) -> str:
    """Add the nodes from a text, string (1,), to its ids with those that the template adds."""
    room = max_length - len(wordpiece.prefix) - len(wordpiece.suffix)
    if room < 1:
        raise TextExportError(f"max_length {max_length} leaves no room for the text")
    prefix, suffix = nodes.value(wordpiece.prefix), nodes.value(wordpiece.suffix)
    tokens = token_nodes(nodes, text, wordpiece, room)
    return nodes.add("Concat", prefix, tokens, suffix, axis=0)


def _sizes(router: GraphProto) -> dict[str, int]:
    """Length of a row of each output, in the order of the contract."""
    sizes = {value.name: value.type.tensor_type.shape.dim[1].dim_value for value in router.output}
    return {name: sizes[_PREFIX + name] for name in OUTPUTS if _PREFIX + name in sizes}


def _float(name: str, shape: Sequence[str | int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
