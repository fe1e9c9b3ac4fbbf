"""Prompts that an encoder wants before each text ("query: "), made part of tokenizer.json.

So every application that reads tokenizer.json honours them, in any language.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zooter_lite.encode.find import EncoderError

_PROBES = ("", "What is 17 * 23?", "  two spaces", "请写一个函数", "(brackets) and [SEP]", "été")


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
