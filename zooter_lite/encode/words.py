"""The words of a prompt beside its meaning: an embedding of two halves, where that pays.

The layers of a sentence encoder wear away how a prompt is worded, and on some tables that
tells which expert answers it best: a benchmark's phrasing, a format that is asked for. Such
an embedding is the encoder's own, of unit length, and beside it the mean of the input word
vectors of the prompt's tokens, less their mean over ordinary prompts and of unit length too;
both scaled by the square root of a half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.load import load_encoder
from zooter_lite.errors import DataError
from zooter_lite.graph.builder import GraphBuilder, serialise
from zooter_lite.router.directory.config import STATIC_POOLING, EncoderSpec
from zooter_lite.router.tokens import TextTokens
from zooter_lite.table import RewardTable, sample_path

FloatArray = NDArray[np.float32]

HALF = np.float32(0.5**0.5)
_TINY = 1e-12


class Words:
    """The word vectors of an encoder, and what is usual of them.

    Attributes
    ----------
    usual
        (width,) mean over ordinary prompts, the training prompts of the bundled sample.
    """

    def __init__(self, encoder: Encoder, table: FloatArray) -> None:
        sample = RewardTable.read(sample_path())
        self._encoder, self._table = encoder, table
        self.usual = self._means(sample.take(sample.rows("train")).queries).mean(axis=0)

    @classmethod
    def of(cls, encoder: Encoder) -> Words | None:
        """Find the table that the encoder's graph looks its tokens up in; None without one."""
        if encoder.spec.pooling == STATIC_POOLING:
            return None
        graph = onnx.load_from_string(encoder.graph).graph
        name = next((name for name, _ in _lookups(graph)), None)
        tables = [numpy_helper.to_array(t) for t in graph.initializer if t.name == name]
        return cls(encoder, tables[0]) if tables else None

    def beside(self, sentences: FloatArray, queries: Sequence[str]) -> FloatArray:
        """(n, dim + width) unit embeddings, from the encoder's own (n, dim) of these queries."""
        own = self._means(queries) - self.usual
        own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), _TINY)
        return np.concatenate([sentences, own], axis=1) * HALF

    def encoder(self) -> Encoder:
        """Return the encoder with this computed by its graph and stated in its `spec`."""
        model = onnx.load_from_string(self._encoder.graph)
        width = self._table.shape[1]
        spec = replace(self._encoder.spec, dim=self._encoder.spec.dim + width, words=width)
        for node in model.graph.node:
            node.output[:] = ["sentence" if name == "unit" else name for name in node.output]
        nodes = GraphBuilder("words")
        present = nodes.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        count = nodes.add("ReduceSum", present, nodes.integers(1), keepdims=1)
        count = nodes.add("Max", count, nodes.scalar("one", 1.0))
        row = nodes.add("Unsqueeze", present, nodes.integers(1))
        vectors = next(output for _, output in _lookups(model.graph))
        total = nodes.add("Squeeze", nodes.add("MatMul", row, vectors), nodes.integers(1))
        own = nodes.add("Sub", nodes.add("Div", total, count), nodes.constant("usual", self.usual))
        length = nodes.add("ReduceL2", own, nodes.integers(-1), keepdims=1)
        own = nodes.add("Div", own, nodes.add("Max", length, nodes.scalar("tiny", _TINY)))
        both = nodes.add("Concat", "sentence", own, axis=1)
        nodes.add("Mul", both, nodes.scalar("half", float(HALF)), output="unit")
        model.graph.node.extend(nodes.nodes)
        model.graph.initializer.extend(nodes.constants)
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = spec.dim
        return replace(self._encoder, spec=spec, graph=serialise(model))

    def _means(self, queries: Sequence[str]) -> FloatArray:
        """(n, width) mean word vector of each query's tokens."""
        tokens = TextTokens(self._encoder.tokenizer, self._encoder.spec.max_length)
        found = tokens.many(queries)  # an empty prompt may have no token at all
        return np.stack([self._table[ids].sum(axis=0) / max(len(ids), 1) for ids in found])


def _lookups(graph: onnx.GraphProto) -> list[tuple[str, str]]:
    """Name the tables that the token ids are looked up in, each with the node's output."""
    return [
        (node.input[0], node.output[0])
        for node in graph.node
        if node.op_type == "Gather" and node.input[1] == "input_ids"
    ]


def encoder_of(spec: EncoderSpec, cache: Path, name: str | None = None) -> Encoder:
    """Load the encoder of a router again, from `name` or where the router's own is found.

    Raises
    ------
    DataError
        Its files are not those that the router was fitted on.
    """
    name = name or spec.name
    encoder = load_encoder(name, cache, spec.prompt, spec.layers)
    if encoder.spec.sha256 != spec.sha256:
        raise DataError(f"encoder {name!r} has other files than the one the router was fitted on")
    words = Words.of(encoder) if spec.words else None
    return encoder if words is None else words.encoder()
