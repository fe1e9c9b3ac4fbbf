"""Sentence encoders: loaded, checked, exported to ONNX once, then used without torch.

The exported graph is what embeds at fit, at evaluation and in the router, so the head
is fitted on exactly the embeddings that it will meet.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from zooter_lite.data.rows import atomic_file
from zooter_lite.learn.cache import EmbeddingCache
from zooter_lite.learn.find import EncoderError, find_encoder, fingerprint
from zooter_lite.router.session import TextSession

OPSET = 18
EXPORT_VERSION = 1  # to be raised with every change of what an export computes or is named
PARITY = 1e-4  # largest allowed |difference| of a coordinate, exported graph against torch

_PROBES = (
    "What is 17 * 23?",
    "Translate to German: the weather is fine today.",
    "请写一个函数，返回列表中第二大的数。",
    "Write a haiku about the sea. " * 40,
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncoderSpec:
    """What config.json says of the encoder (router directory, `encoder`).

    Attributes
    ----------
    name
        As the user gave it, or the folder's name.
    sha256
        Over the names and contents of the encoder's files.
    dim, max_length
        Length of the embedding; tokens after which a query is truncated.
    pooling
        Pooling mode as sentence-transformers names it.
    normalise
        Always true: the graph returns unit vectors.
    """

    name: str
    sha256: str
    dim: int
    max_length: int
    pooling: str
    normalise: bool = True


@dataclass(frozen=True)
class Encoder:
    """An exported encoder: graph (inputs as in the router's contract, output `unit`)."""

    spec: EncoderSpec
    graph: bytes
    tokenizer: str

    def session(self) -> TextSession:
        """Start onnxruntime on the graph."""
        return TextSession(self.graph, self.tokenizer, self.spec.max_length)

    def embed(
        self,
        queries: Sequence[str],
        cache: Path,
        progress: Callable[[int], object] = lambda _: None,
    ) -> NDArray[np.float32]:
        """(n_queries, dim) unit embeddings; those that `cache` holds are not computed again."""
        session = self.session()
        store = EmbeddingCache(cache, f"{self.spec.sha256}-v{EXPORT_VERSION}")
        try:
            return store.embed(
                queries, lambda texts: session.run(texts, ["unit"])[0], self.spec.dim, progress
            )
        finally:
            store.close()


def load_encoder(name: str, cache: Path) -> Encoder:
    """Find the encoder, export it to ONNX unless `cache` holds the export, and return it.

    Parameters
    ----------
    name
        "all-MiniLM-L6-v2" for the bundled encoder (its sha256 is verified), a folder
        that sentence-transformers reads, or a hub name.
    cache
        Folder for exports, keyed by the content of the encoder's files.

    Raises
    ------
    EncoderError
        Not found, no safetensors weights, damaged, or not exportable.
    """
    folder = find_encoder(name)
    key = fingerprint(folder)
    kept = cache / "encoders" / f"{key[:32]}-v{EXPORT_VERSION}"
    spec_file, graph_file, tokenizer_file = (
        kept / part for part in ("encoder.json", "encoder.onnx", "tokenizer.json")
    )
    spec = _kept_spec(spec_file)
    if spec is None or not (graph_file.is_file() and tokenizer_file.is_file()):
        log.info("encoder %s: exporting to ONNX (once per encoder)", name)
        graph, tokenizer, spec = _export(folder, name, key)
        try:
            kept.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EncoderError(f"cache {cache}: cannot be written ({error.strerror})") from error
        contents = (
            (graph_file, graph),
            (tokenizer_file, tokenizer.encode()),
            (spec_file, json.dumps(asdict(spec), sort_keys=True, indent=1).encode()),
        )
        for file, content in contents:
            with atomic_file(file) as partial:
                partial.write_bytes(content)
    return Encoder(
        replace(spec, name=name), graph_file.read_bytes(), tokenizer_file.read_text("utf-8")
    )


def _kept_spec(file: Path) -> EncoderSpec | None:
    """Read the last file of a kept export; None where it is missing or damaged."""
    try:
        return EncoderSpec(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _export(folder: Path, name: str, key: str) -> tuple[bytes, str, EncoderSpec]:
    from sentence_transformers import SentenceTransformer

    with _quiet():
        try:
            encoder = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                model_kwargs={"attn_implementation": "eager"},
            ).eval()
            tokenizer = Tokenizer.from_str(encoder.tokenizer.backend_tokenizer.to_str())
        except Exception as error:  # whatever a damaged folder makes the library raise
            raise EncoderError(
                f"encoder {name!r}: sentence-transformers cannot load it ({error})"
            ) from error
        spec = EncoderSpec(
            name=name,
            sha256=key,
            dim=int(encoder.get_embedding_dimension() or 0),
            max_length=int(encoder.max_seq_length or 512),
            pooling=_pooling(encoder),
        )
        tokenizer.no_padding()
        tokenizer.no_truncation()
        try:
            graph = _to_onnx(encoder)
        except Exception as error:  # torch's exporter raises many unrelated classes
            raise EncoderError(f"encoder {name!r}: torch cannot export it ({error})") from error
    exported = Encoder(spec, graph, tokenizer.to_str())
    _check_parity(encoder, exported)
    return graph, exported.tokenizer, spec


def _pooling(encoder: Any) -> str:
    modes = [getattr(module, "pooling_mode", None) for module in encoder]
    return next((str(mode) for mode in modes if mode), "none")


def _to_onnx(encoder: Any) -> bytes:
    """Export token ids to unit embeddings, without traces of this machine in the graph."""
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


def _check_parity(encoder: Any, exported: Encoder) -> None:
    """Refuse an export whose embeddings differ from torch's."""
    expected = encoder.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False)
    (found,) = exported.session().run(_PROBES, ["unit"])
    worst = float(np.abs(found - expected).max())
    if not worst <= PARITY:
        raise EncoderError(
            f"encoder {exported.spec.name!r}: the exported graph differs from torch by {worst:.1e} "
            f"(at most {PARITY:.0e} is allowed)"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the libraries' progress bars and exporter chatter."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    chatty = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in chatty]
    for logger in chatty:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(chatty, levels, strict=True):
                logger.setLevel(level)
