"""Static encoders: one vector per token, distilled once from a sentence encoder.

A query's embedding is the sum of its tokens' vectors, scaled to unit length. model2vec
distils: every token of the vocabulary goes through the sentence encoder, a PCA shortens
the vectors, and frequent tokens weigh less (the weights are part of the vectors).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from tokenizers import Tokenizer

from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import EncoderError
from zooter_lite.encode.reference import load_torch, quiet
from zooter_lite.errors import needs
from zooter_lite.graph.builder import GraphBuilder, encoder_model, serialise
from zooter_lite.router.directory.config import STATIC_POOLING, EncoderSpec
from zooter_lite.router.static_session import TABLE
from zooter_lite.untrusted.onnx_check import constant_of

DIM = 256
MAX_LENGTH = 512  # tokens; 0.3% to 2.2% of the queries of four real tables have more
SIF = 1e-4  # of the weight SIF / (SIF + frequency), model2vec's own
MEASURED = (  # by recipes/bench/static.sh; to be changed with that page
    "static encoder: on six real tables it changed the mean reward by -1.7 to +0.3 points and "
    "took 1/85 to 1/31 of all-MiniLM-L6-v2's time for a decision (recipes/bench/static.md)"
)
_POOLINGS = {"cls": "first", "lasttoken": "last"}  # sentence-transformers' names, model2vec's


def settings_now() -> str:
    """Name what decides a static encoder beside its teacher; MissingPackageError without [fit]."""
    with needs("fit", "a static encoder"):
        from model2vec import __version__
    return f"{DIM}-{SIF}-model2vec-{__version__}"


def export_static(folder: Path, name: str) -> Encoder:
    """Distil the encoder of a folder.

    Raises
    ------
    EncoderError
        The teacher cannot be distilled.
    MissingPackageError
        model2vec or skeletoken is not installed.
    """
    table, tokenizer = _distil(folder, name)
    digest = hashlib.sha256(table.tobytes() + tokenizer.encode())
    spec = EncoderSpec(name, digest.hexdigest(), table.shape[1], MAX_LENGTH, STATIC_POOLING)
    return Encoder(spec, static_graph(table, _unknown(tokenizer)), tokenizer)


def static_graph(table: NDArray[np.float16], unknown: int | None) -> bytes:
    """Serialise the graph: input_ids, attention_mask (batch, length) to `unit` (batch, dim).

    `table` is (n_tokens, dim); the token `unknown` counts nothing, as in model2vec. A text
    without a known token has the zero vector.
    """
    table = table.copy()
    if unknown is not None:
        table[unknown] = 0
    graph = GraphBuilder("encoder")
    tokens = graph.add("Gather", graph.constant("table", table), "input_ids")
    tokens = graph.add("Cast", tokens, to=TensorProto.FLOAT)
    present = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    present = graph.add("Unsqueeze", present, graph.integers(1))
    total = graph.add("Squeeze", graph.add("MatMul", present, tokens), graph.integers(1))
    length = graph.add("ReduceL2", total, graph.integers(-1), keepdims=1)
    graph.add("Div", total, graph.add("Max", length, graph.scalar("tiny", 1e-12)), output="unit")
    return serialise(encoder_model(graph, table.shape[1]))


def static_embeddings(encoder: Encoder, queries: Sequence[str]) -> NDArray[np.float32]:
    """(n_queries, dim) unit embeddings, computed by model2vec's own StaticModel in numpy."""
    from model2vec import StaticModel

    table = constant_of(encoder.graph, TABLE)
    if table is None:
        raise EncoderError(f"encoder {encoder.spec.name!r}: its graph has no table of vectors")
    static = StaticModel(
        table.astype(np.float32),
        Tokenizer.from_str(encoder.tokenizer),
        normalize=True,
        max_length=MAX_LENGTH,
    )
    # encode cuts texts at max_length times this many characters before it counts tokens
    static.median_token_length = 1 + max((len(query) for query in queries), default=0)
    texts = [query.encode("utf-8", "replace").decode("utf-8") for query in queries]
    return np.asarray(static.encode(texts, use_multiprocessing=False), dtype=np.float32)


def _distil(folder: Path, name: str) -> tuple[NDArray[np.float16], str]:
    with needs("fit", "a static encoder", "model2vec"):
        import skeletoken  # noqa: F401  # model2vec.distill needs it, and does not name it
        from model2vec.distill import distill_from_model
    teacher = load_torch(folder, name)
    poolings = [str(getattr(module, "pooling_mode", "")) for module in teacher]
    pooling = next(filter(None, reversed(poolings)), "")
    with quiet():
        try:
            static = distill_from_model(
                teacher[0].auto_model,
                teacher.tokenizer,
                device="cpu",
                pca_dims=DIM,
                sif_coefficient=SIF,
                pooling=_POOLINGS.get(pooling, "mean"),
            )
        except Exception as error:  # whatever a foreign architecture makes the libraries raise
            raise EncoderError(f"encoder {name!r}: model2vec cannot distil it ({error})") from error
    tokenizer = static.tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return np.ascontiguousarray(static.embedding, dtype=np.float16), str(tokenizer.to_str())


def _unknown(tokenizer: str) -> int | None:
    """Id of the token for unknown words; None where the tokeniser has none."""
    parts: dict[str, Any] = json.loads(tokenizer)["model"]
    if parts.get("unk_token") is None:
        return parts.get("unk_id")
    return Tokenizer.from_str(tokenizer).token_to_id(parts["unk_token"])
