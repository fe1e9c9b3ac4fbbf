"""Read a BERT tokenizer.json: every field that decides a token, or a refusal that names it.

What its normaliser and word splitter do to each single character the `tokenizers` library is
asked, instead of being written again: its tables of Unicode are the ones that count.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from zooter_lite.errors import ZooterError

_BETWEEN = "|"  # comes out of the normalisation of no other character
_LETTER = "a"  # is part of a word
_CHUNK = 256
_SURROGATES = range(0xD800, 0xE000)


class TextExportError(ZooterError):
    """A router cannot be written as one file that takes text, or that file is not exact."""


@dataclass(frozen=True)
class Normaliser:
    """Options of BERT's normaliser, as tokenizer.json names them."""

    clean_text: bool
    handle_chinese_chars: bool
    strip_accents: bool | None
    lowercase: bool


@dataclass(frozen=True)
class WordPiece:
    """What a BERT tokenizer does to a text.

    Attributes
    ----------
    vocabulary
        Token to id; `continuing` is the mark of tokens that do not start a word.
    unknown
        Id of a word that has no tokens.
    max_chars
        Longer words are unknown.
    prefix, suffix
        Ids before and after the tokens of the text, [CLS] and [SEP] among them.
    added
        Tokens that are found in the text as written, such as [SEP]; text to id.
    normaliser
        What is done to the characters first.
    """

    vocabulary: Mapping[str, int]
    continuing: str
    unknown: int
    max_chars: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    added: Mapping[str, int]
    normaliser: Normaliser


def read_wordpiece(tokenizer: str) -> WordPiece:
    """Read the content of a tokenizer.json.

    Raises
    ------
    TextExportError
        It is not WordPiece with BERT's normaliser, word splitter and template, or has an
        added token with an option that only the `tokenizers` library knows.
    """
    try:
        content = json.loads(tokenizer)
        Tokenizer.from_str(tokenizer)  # so that every field below is there
    except Exception as error:  # the tokenizers library raises plain Exception
        raise TextExportError(f"tokenizer.json cannot be read ({error})") from error
    for part, kind in (
        ("model", "WordPiece"),
        ("normalizer", "BertNormalizer"),
        ("pre_tokenizer", "BertPreTokenizer"),
    ):
        found = (content.get(part) or {}).get("type")
        if found != kind:
            raise unsupported(f"its {part} is {found or 'missing'}, expected {kind}")
    model = content["model"]
    unknown = model["vocab"].get(model["unk_token"])
    if unknown is None:
        raise unsupported(f"its unk_token {model['unk_token']!r} is not in the vocabulary")
    prefix, suffix = _template(content.get("post_processor"))
    return WordPiece(
        vocabulary=model["vocab"],
        continuing=model["continuing_subword_prefix"],
        unknown=unknown,
        max_chars=model["max_input_chars_per_word"],
        prefix=prefix,
        suffix=suffix,
        added=dict(map(_added, content.get("added_tokens") or [])),
        normaliser=Normaliser(
            **{key: value for key, value in content["normalizer"].items() if key != "type"}
        ),
    )


def unsupported(reason: str) -> TextExportError:
    """Return the error that says why this tokenizer cannot become part of a graph."""
    return TextExportError(f"tokenizer.json cannot be put into the graph: {reason}")


def _template(processor: Mapping[str, Any] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids before and after the text."""
    if processor is None:  # as of a static encoder
        return (), ()
    kind = processor.get("type")
    if kind == "BertProcessing":
        return (processor["cls"][1],), (processor["sep"][1],)
    if kind != "TemplateProcessing":
        raise unsupported(f"its post_processor is {kind}, expected TemplateProcessing")
    before: list[int] = []
    after: list[int] = []
    texts = 0
    for piece in processor["single"]:
        if "Sequence" in piece:
            texts += 1
        else:
            name = piece["SpecialToken"]["id"]
            (after if texts else before).extend(processor["special_tokens"][name]["ids"])
    if texts != 1:
        raise unsupported("its template does not hold the text once, as [CLS] $A [SEP] does")
    return tuple(before), tuple(after)


def _added(token: Mapping[str, Any]) -> tuple[str, int]:
    """One added token, if it is found as written wherever it stands."""
    options = [name for name in ("single_word", "lstrip", "rstrip", "normalized") if token[name]]
    if options or len(token["content"]) < 2:
        raise unsupported(
            f"its added token {token['content']!r} has the options {options}, or one character"
        )
    return token["content"], token["id"]


@dataclass(frozen=True)
class Characters:
    """Behaviour of every character.

    Attributes
    ----------
    normalised
        What a character becomes; characters that stay as they are, are left out.
    spaces
        Normalised characters that end a word and vanish.
    isolated
        Normalised characters that are a word of their own, such as punctuation.
    """

    normalised: dict[str, str]
    spaces: frozenset[str]
    isolated: frozenset[str]


@functools.cache
def characters(options: Normaliser) -> Characters:
    """Ask about all 1.1 million characters (seconds; kept for the life of the process)."""
    normaliser = BertNormalizer(**asdict(options))
    normalised: dict[str, str] = {}
    spaces: set[str] = set()
    isolated: set[str] = set()
    for first in range(0, 0x110000, _CHUNK):
        if first in _SURROGATES:
            continue
        chunk = "".join(map(chr, range(first, first + _CHUNK)))
        results = _normalise(normaliser, chunk)
        normalised.update((old, new) for old, new in zip(chunk, results, strict=True) if old != new)
        for character in _apart(sorted(set("".join(results)))):
            (spaces if character.isspace() else isolated).add(character)
    return Characters(normalised, frozenset(spaces), frozenset(isolated))


def _normalise(normaliser: BertNormalizer, chunk: str) -> list[str]:
    """Normalise each character of `chunk` by itself."""
    results = normaliser.normalize_str(_BETWEEN.join(chunk)).split(_BETWEEN)
    if len(results) != len(chunk):  # it holds the separator itself
        return [normaliser.normalize_str(character) for character in chunk]
    return results


def _apart(results: Sequence[str]) -> Iterator[str]:
    """Those of the normalised characters that are not part of a word."""
    text = _LETTER + _LETTER.join(results) + _LETTER
    words = BertPreTokenizer().pre_tokenize_str(text)
    if len(words) == 1:
        return
    inside = {i for word, (first, last) in words if len(word) > 1 for i in range(first, last)}
    yield from (text[i] for i in range(1, len(text) - 1, 2) if i not in inside)
