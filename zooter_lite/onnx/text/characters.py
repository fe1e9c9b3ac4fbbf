"""What BERT's normaliser and word splitter do to each single character.

The `tokenizers` library is asked, character by character, instead of being written again:
the tables of Unicode that it was built with are the ones that count.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

_BETWEEN = "|"  # comes out of the normalisation of no other character
_LETTER = "a"  # is part of a word
_CHUNK = 256
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class Normaliser:
    """Options of BERT's normaliser, as tokenizer.json names them."""

    clean_text: bool
    handle_chinese_chars: bool
    strip_accents: bool | None
    lowercase: bool


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
