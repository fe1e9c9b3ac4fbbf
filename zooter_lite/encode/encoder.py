"""Sentence encoders: exported to ONNX once, then used without torch.

The exported graph is what embeds at fit, at evaluation and in the router, so the head
is fitted on exactly the embeddings that it will meet.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from zooter_lite.encode.cache import EmbeddingCache
from zooter_lite.encode.find import EncoderError, find_encoder, fingerprint, is_static
from zooter_lite.encode.prompt import check_pooled, declared_prompt, with_prompt
from zooter_lite.files.atomic import atomic_file
from zooter_lite.router.session import TextSession

EXPORT_VERSION = 2  # to be raised with every change of what an export computes or is named

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
        Pooling mode as sentence-transformers names it; "static" for a static encoder.
    normalise
        Always true: the graph returns unit vectors.
    prompt
        Text before every query, such as "query: "; tokenizer.json adds it.
    """

    name: str
    sha256: str
    dim: int
    max_length: int
    pooling: str
    normalise: bool = True
    prompt: str = ""

    @property
    def cache_key(self) -> str:
        """Names what decides an embedding beside its text."""
        prompt = hashlib.sha256(self.prompt.encode()).hexdigest()[:16] if self.prompt else ""
        return f"{self.sha256}{prompt}-v{EXPORT_VERSION}"


@dataclass(frozen=True)
class Encoder:
    """An exported encoder: graph (inputs as in the router's contract, output `unit`)."""

    spec: EncoderSpec
    graph: bytes
    tokenizer: str

    def session(self) -> TextSession:
        """Start onnxruntime on the graph, one thread for each batch."""
        return TextSession(
            self.graph, self.tokenizer, self.spec.max_length, threads=1, trusted=True
        )

    def embed(
        self,
        queries: Sequence[str],
        cache: Path,
        progress: Callable[[int], object] = lambda _: None,
    ) -> NDArray[np.float32]:
        """(n_queries, dim) unit embeddings; those that `cache` holds are not computed again.

        Large ones are mapped from disk.
        """
        session = self.session()
        store = EmbeddingCache(cache, self.spec.cache_key, self.spec.dim)
        return store.embed(queries, lambda texts: session.run(texts, ["unit"])[0], progress)


def load_encoder(name: str, cache: Path, prompt: str | None = None) -> Encoder:
    """Find the encoder, export it to ONNX unless `cache` holds the export, and return it.

    Parameters
    ----------
    name
        "all-MiniLM-L6-v2" for the bundled encoder (its sha256 is verified), a folder
        that sentence-transformers reads, or a hub name; "static" or "static:NAME" for
        a static encoder distilled from the default one or from NAME.
    cache
        Folder for exports, keyed by the content of the encoder's files.
    prompt
        Text before every query; None takes what the encoder's folder declares.

    Raises
    ------
    EncoderError
        Not found, no safetensors weights, damaged, or not exportable.
    """
    if is_static(name):
        from zooter_lite.encode.static import load_static  # it needs this module

        return load_static(name, cache, prompt)
    folder = find_encoder(name, cache)
    if prompt is None:
        prompt = declared_prompt(folder)
    check_pooled(folder, prompt, name)
    spec = EncoderSpec(name, fingerprint(folder), 0, 0, "", prompt=prompt)
    kept = cache / "encoders" / hashlib.sha256(spec.cache_key.encode()).hexdigest()[:32]
    spec_file, graph_file, tokenizer_file = (
        kept / part for part in ("encoder.json", "encoder.onnx", "tokenizer.json")
    )
    known = _kept_spec(spec_file)
    if known is not None and graph_file.is_file() and tokenizer_file.is_file():
        return Encoder(
            replace(known, name=name), graph_file.read_bytes(), tokenizer_file.read_text("utf-8")
        )
    log.info("encoder %s: exporting to ONNX (once per encoder)", name)
    encoder = _export(folder, name, spec.sha256, prompt)
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EncoderError(f"cache {cache}: cannot be written ({error.strerror})") from error
    contents = (
        (graph_file, encoder.graph),
        (tokenizer_file, encoder.tokenizer.encode()),
        (spec_file, json.dumps(asdict(encoder.spec), sort_keys=True, indent=1).encode()),
    )
    for file, content in contents:
        with atomic_file(file) as partial:
            partial.write_bytes(content)
    return encoder


def _kept_spec(file: Path) -> EncoderSpec | None:
    """Read the last file of a kept export; None where it is missing or damaged."""
    try:
        return EncoderSpec(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _export(folder: Path, name: str, key: str, prompt: str) -> Encoder:
    """Build the graph from the weights where that is possible, else export it by torch."""
    from zooter_lite.encode.reference import load_torch, torch_graph
    from zooter_lite.graph.bert import bert_graph, read_bert  # onnx, and torch behind the next

    bert = read_bert(folder)
    if bert is not None:
        spec = EncoderSpec(name, key, bert.dim, bert.max_length, bert.pooling, prompt=prompt)
        return Encoder(spec, bert_graph(bert), _bare(bert.tokenizer, prompt, name))
    encoder = load_torch(folder, name)
    try:
        tokenizer = encoder.tokenizer.backend_tokenizer.to_str()
    except AttributeError as error:
        raise EncoderError(f"encoder {name!r}: it has no fast tokeniser") from error
    spec = EncoderSpec(
        name=name,
        sha256=key,
        dim=int(encoder.get_embedding_dimension() or 0),
        max_length=int(encoder.max_seq_length or 512),
        pooling=_pooling(encoder),
        prompt=prompt,
    )
    return Encoder(spec, torch_graph(encoder, name), _bare(tokenizer, prompt, name))


def _bare(tokenizer: str, prompt: str, name: str) -> str:
    """Return tokenizer.json with the prompt, without padding and truncation."""
    try:
        parsed = Tokenizer.from_str(with_prompt(tokenizer, prompt, name))
    except EncoderError:
        raise
    except Exception as error:  # the tokenizers library raises plain Exception
        raise EncoderError(f"encoder {name!r}: tokenizer.json cannot be read ({error})") from error
    parsed.no_padding()
    parsed.no_truncation()
    return str(parsed.to_str())


def _pooling(encoder: Any) -> str:
    modes = [getattr(module, "pooling_mode", None) for module in encoder]
    return next((str(mode) for mode in modes if mode), "none")
