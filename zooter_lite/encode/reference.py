"""The encoder as torch runs it: what exports are made from and compared with."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import EncoderError
from zooter_lite.graph.builder import OPSET
from zooter_lite.router.directory.config import EncoderSpec

_CHUNK = 64
_POSITIONS = ("position_embeddings", "embed_positions", "wpe")  # as transformers names them


def load_torch(folder: Path, name: str, layers: int | None = None) -> Any:
    """Load a SentenceTransformer on the CPU in float32, from local files only.

    Of its layers the first `layers` are kept; None keeps all.

    Raises
    ------
    EncoderError
        sentence-transformers cannot load it, or it has not so many layers in one stack.
    """
    from sentence_transformers import SentenceTransformer

    with quiet():
        try:
            encoder = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                model_kwargs={"attn_implementation": "eager"},
            ).eval()
        except Exception as error:  # whatever a damaged folder makes the library raise
            raise EncoderError(
                f"encoder {name!r}: sentence-transformers cannot load it ({error})"
            ) from error
    if layers:
        _shorten(encoder, name, layers)
    return encoder


def _shorten(encoder: Any, name: str, layers: int) -> None:
    """Drop the layers after the first so many."""
    import torch

    config: Any = getattr(getattr(encoder[0], "auto_model", None), "config", None)
    depth = getattr(config, "num_hidden_layers", 0)
    stacks = [
        module
        for module in encoder.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth
    ]
    check_layers(name, layers, depth if len(stacks) == 1 else 0)
    del stacks[0][layers:]
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):  # one for each, as ModernBERT has it
        config.layer_types = config.layer_types[:layers]


def check_layers(name: str, layers: int, depth: int) -> None:
    """Raise EncoderError for more layers than an encoder has in one stack, `depth`."""
    if layers > depth:
        has = f"it has {depth}" if depth else "it has no one stack of layers"
        raise EncoderError(f"encoder {name!r}: {layers} layers asked for, and {has}")


def torch_embeddings(encoder: Any, queries: Sequence[str], prompt: str) -> NDArray[np.float32]:
    """(n_queries, dim) unit embeddings, computed by torch."""
    embeddings = encoder.encode(
        list(queries),
        prompt=prompt,
        normalize_embeddings=True,
        show_progress_bar=False,
        batch_size=_CHUNK,
    )
    return np.asarray(embeddings, dtype=np.float32)


def export_by_torch(folder: Path, spec: EncoderSpec) -> Encoder:
    """Export token ids to unit embeddings, without traces of this machine in the graph.

    `spec` brings the name, sha256 and prompt; the rest is read from the encoder.

    Raises
    ------
    EncoderError
        It has no fast tokeniser, or torch cannot export it.
    """
    encoder = load_torch(folder, spec.name, spec.layers)
    try:
        tokenizer = str(encoder.tokenizer.backend_tokenizer.to_str())
    except AttributeError as error:
        raise EncoderError(f"encoder {spec.name!r}: it has no fast tokeniser") from error
    pooling = (getattr(module, "pooling_mode", None) for module in encoder)
    spec = replace(
        spec,
        dim=int(encoder.get_embedding_dimension() or 0),
        max_length=longest(encoder, encoder.max_seq_length),
        pooling=next((str(mode) for mode in pooling if mode), "none"),
    )
    with quiet():
        try:
            return Encoder(spec, _to_onnx(encoder), tokenizer)
        except Exception as error:  # torch's exporter raises many unrelated classes
            raise EncoderError(
                f"encoder {spec.name!r}: torch cannot export it ({error})"
            ) from error


def longest(module: Any, *stated: float | None) -> int:
    """Tokens of a text that a torch module can take: no more than is stated, and than fit.

    A table of positions may begin with rows that no token is at: as many as the number of
    the padding token and one (RoBERTa and its kin), or as its own `offset` (BART, OPT).
    Without a table or a statement, 512.
    """
    import torch

    limits = [int(limit) for limit in stated if limit and 0 < limit < 10**6]
    for name, table in module.named_modules():
        if isinstance(table, torch.nn.Embedding) and name.rpartition(".")[2] in _POSITIONS:
            padding = -1 if table.padding_idx is None else table.padding_idx
            limits.append(table.num_embeddings - padding - 1 - int(getattr(table, "offset", 0)))
    return max(1, min(limits, default=512))


def _to_onnx(encoder: Any) -> bytes:
    import torch
    from onnx import compose

    class UnitEmbedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = encoder

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = self.body({"input_ids": input_ids, "attention_mask": attention_mask})
            return torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)

    token_ids = torch.ones((2, 7), dtype=torch.int64)
    mask = torch.ones_like(token_ids)  # one tensor for both inputs would merge them
    axes = {0: "batch", 1: "length"}
    program = torch.onnx.export(
        UnitEmbedding().eval(),
        (token_ids, mask),
        dynamo=True,
        input_names=["input_ids", "attention_mask"],
        output_names=["unit"],
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        opset_version=OPSET,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    proto = program.model_proto
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        value.ClearField("metadata_props")
    # the exporter's own names, "embedding" among them, must not meet the router's
    named = compose.add_prefix(proto, "encoder.", rename_inputs=False, rename_outputs=False)
    return bytes(named.SerializeToString(deterministic=True))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the libraries' warnings and log lines, and their progress bars but on terminals."""
    import transformers

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    stream = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(stream):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
