"""From a name to an encoder: found, exported to ONNX once, then read from the cache.

A prompt that the encoder wants before each text ("query: ") becomes part of tokenizer.json, so
every application that reads it honours the prompt, in any language.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zooter_lite.encode.cache import keep_files
from zooter_lite.encode.encoder import Encoder, cache_key
from zooter_lite.encode.find import EncoderError, find_encoder, fingerprint, is_static, teacher_of
from zooter_lite.router.directory.config import EncoderSpec

log = logging.getLogger(__name__)

_PROBES = ("", "What is 17 * 23?", "  two spaces", "请写一个函数", "(brackets) and [SEP]", "été")


def load_encoder(
    name: str, cache: Path, prompt: str | None = None, layers: int | None = None
) -> Encoder:
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
    layers
        The first so many layers of the encoder, whose output is pooled; None takes all.

    Raises
    ------
    EncoderError
        Not found, no safetensors weights, damaged, not exportable, or of fewer layers.
    DataError
        The cache cannot be written.
    """
    settings, teacher = "", name
    if is_static(name):
        from zooter_lite.encode.static import settings_now  # onnx behind it

        if prompt:
            raise EncoderError(
                f"encoder {name!r}: a static encoder takes no prompt, found {prompt!r}: "
                "it would add the same vector to every query"
            )
        if layers:
            raise EncoderError(f"encoder {name!r}: a static encoder has no layers to keep")
        settings, teacher, prompt = settings_now(), teacher_of(name), ""
    folder = find_encoder(teacher, cache)
    prompt = prompt_of(folder, prompt, name)
    spec = EncoderSpec(name, fingerprint(folder), prompt=prompt, layers=layers)
    key = hashlib.sha256(f"{cache_key(spec)}{settings}".encode()).hexdigest()
    kept = cache / "encoders" / key[:32]
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
    """Build the graph from the weights where that is possible, else by torch or model2vec."""
    from zooter_lite.encode.reference import check_layers, export_by_torch
    from zooter_lite.graph.bert import bert_graph, read_bert  # onnx, and torch behind the other

    if is_static(spec.name):
        from zooter_lite.encode.static import export_static

        encoder = export_static(folder, spec.name)
    elif (bert := read_bert(folder)) is not None:
        spec = replace(spec, dim=bert.dim, max_length=bert.max_length, pooling=bert.pooling)
        if spec.layers:
            check_layers(spec.name, spec.layers, bert.layers)
            bert = replace(bert, layers=spec.layers)
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


def prompt_of(folder: Path, asked: str | None, name: str) -> str:
    """Return the prompt asked for or, for None, the one that sentence-transformers would take.

    Raises
    ------
    EncoderError
        The encoder's pooling leaves the prompt's tokens out.
    """
    prompt = asked
    if prompt is None:
        config = _object(folder / "config_sentence_transformers.json")
        prompts = config.get("prompts") or {}
        prompt = str(prompts.get(config.get("default_prompt_name"), ""))
    for file in folder.glob("*/config.json"):
        if prompt and _object(file).get("include_prompt") is False:
            raise EncoderError(
                f"encoder {name!r}: its pooling leaves out the prompt {prompt!r}, "
                "which an exported graph cannot do; --prompt '' routes without it"
            )
    return prompt


def _object(file: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where the file is missing or something else."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def with_prompt(tokenizer: str, prompt: str, name: str) -> str:
    """Return tokenizer.json with the tokens of the prompt, if it has any, before every text.

    Raises
    ------
    EncoderError
        The prompt does not tokenise apart from the text, or the tokeniser has no
        template that could hold it.
    """
    if not prompt:
        return tokenizer
    plain = Tokenizer.from_str(tokenizer)
    plain.no_padding()  # padded to one length, every prompt would seem to melt into its text
    plain.no_truncation()
    content = json.loads(plain.to_str())
    template = _template(content.get("post_processor"))
    if template is None:
        kind = content["post_processor"].get("type")
        raise EncoderError(f"encoder {name!r}: a prompt cannot be put into its {kind} tokeniser")
    encoding = plain.encode(prompt, add_special_tokens=False)
    pieces = list(zip(encoding.tokens, encoding.ids, strict=True))
    text = next(place for place, item in enumerate(template["single"]) if "Sequence" in item)
    items = [{"SpecialToken": {"id": token, "type_id": 0}} for token, _ in pieces]
    template["single"] = [*template["single"][:text], *items, *template["single"][text:]]
    template["special_tokens"] |= _special(pieces)
    prompted = json.dumps(content | {"post_processor": template}, ensure_ascii=False)
    changed = Tokenizer.from_str(prompted)
    for probe in _PROBES:
        if changed.encode(probe).ids != plain.encode(prompt + probe).ids:
            raise EncoderError(
                f"encoder {name!r}: the prompt {prompt!r} does not tokenise apart from {probe!r}; "
                "expected one that ends like 'query: '"
            )
    return prompted


def _template(processor: Any) -> dict[str, Any] | None:
    """Return the post-processor as a template, or None where it has no such form."""
    if processor is not None and processor["type"] == "TemplateProcessing":
        return dict(processor)
    if processor is not None and processor["type"] not in ("BertProcessing", "RobertaProcessing"):
        return None
    around = [processor["cls"], processor["sep"]] if processor else []
    ends = [{"SpecialToken": {"id": token, "type_id": 0}} for token, _ in around]
    first, second = ({"Sequence": {"id": which, "type_id": 0}} for which in "AB")
    single = [*ends[:1], first, *ends[1:]]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, second, *ends[1:]],
        "special_tokens": _special(around),
    }


def _special(tokens: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """Tokens and their ids, as a template lists them."""
    return {token: {"id": token, "ids": [i], "tokens": [token]} for token, i in tokens}
