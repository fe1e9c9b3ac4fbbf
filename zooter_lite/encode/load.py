"""From a name to an encoder: found, exported to ONNX once, then read from the cache."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

from tokenizers import Tokenizer

from zooter_lite.encode.cache import keep_files
from zooter_lite.encode.encoder import Encoder, cache_key
from zooter_lite.encode.find import EncoderError, find_encoder, fingerprint, is_static
from zooter_lite.encode.prompt import prompt_of, with_prompt
from zooter_lite.router.directory.config import EncoderSpec

log = logging.getLogger(__name__)


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
    DataError
        The cache cannot be written.
    """
    if is_static(name):
        from zooter_lite.encode.static import load_static  # onnx and torch behind it

        return load_static(name, cache, prompt)
    folder = find_encoder(name, cache)
    spec = EncoderSpec(name, fingerprint(folder), prompt=prompt_of(folder, prompt, name))
    kept = cache / "encoders" / hashlib.sha256(cache_key(spec).encode()).hexdigest()[:32]
    encoder = _kept(kept)
    if encoder is not None:
        return replace(encoder, spec=replace(encoder.spec, name=name))
    log.info("encoder %s: exporting to ONNX (once per encoder)", name)
    encoder = _export(folder, spec)
    described = json.dumps(asdict(encoder.spec), sort_keys=True, indent=1)
    files = {"encoder.onnx": encoder.graph, "tokenizer.json": encoder.tokenizer.encode()}
    keep_files(kept, files | {"encoder.json": described.encode()})
    return encoder


def _kept(folder: Path) -> Encoder | None:
    """Read a kept export; None where it is missing or damaged."""
    try:
        spec = EncoderSpec(**json.loads((folder / "encoder.json").read_text("utf-8")))
        tokenizer = (folder / "tokenizer.json").read_text("utf-8")
        return Encoder(spec, (folder / "encoder.onnx").read_bytes(), tokenizer)
    except (OSError, ValueError, TypeError):
        return None


def _export(folder: Path, spec: EncoderSpec) -> Encoder:
    """Build the graph from the weights where that is possible, else export it by torch."""
    from zooter_lite.encode.reference import export_by_torch
    from zooter_lite.graph.bert import bert_graph, read_bert  # onnx, and torch behind the other

    bert = read_bert(folder)
    if bert is not None:
        spec = replace(spec, dim=bert.dim, max_length=bert.max_length, pooling=bert.pooling)
        encoder = Encoder(spec, bert_graph(bert), bert.tokenizer)
    else:
        encoder = export_by_torch(folder, spec)
    try:
        Tokenizer.from_str(encoder.tokenizer)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise EncoderError(
            f"encoder {spec.name!r}: tokenizer.json cannot be read ({error})"
        ) from error
    tokenizer = Tokenizer.from_str(with_prompt(encoder.tokenizer, spec.prompt, spec.name))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return replace(encoder, tokenizer=str(tokenizer.to_str()))
