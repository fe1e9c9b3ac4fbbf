"""Read a BERT tokenizer.json: everything that decides a token, or a refusal that says why.

The `tokenizers` library is asked what its parts do to single characters and what it puts around
a text, instead of that being written again: its tables of Unicode are the ones that count.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from tokenizers import models as library_models
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from zooter_lite.errors import ZooterError

_LETTER = "a"  # is part of a word
_BETWEEN = "|"  # comes out of the normalisation of no other character
_CHUNK = 256
_SURROGATES = range(0xD800, 0xE000)
_PARTS: dict[str, type] = {
    "model": library_models.WordPiece,
    "normalizer": BertNormalizer,
    "pre_tokenizer": BertPreTokenizer,
}


class TextExportError(ZooterError):
    """A router cannot be written as one file that takes text, or that file is not exact."""


@dataclass(frozen=True)
class Characters:
    """What a normaliser and a word splitter do to every single character."""

    normalised: Mapping[str, str]  # what becomes of those that do not stay as they are
    spaces: Sequence[str]  # normalised characters that end a word and vanish
    isolated: Sequence[str]  # normalised characters that are a word of their own


@dataclass(frozen=True)
class WordPiece:
    """What a BERT tokenizer does to a text."""

    vocabulary: Mapping[str, int]  # token to id
    continuing: str  # the mark of tokens that do not start a word
    unknown: int  # id of a word that has no tokens
    max_chars: int  # longer words are unknown
    prefix: Sequence[int]  # ids before the tokens of the text, such as [CLS]
    suffix: Sequence[int]  # and after them
    added: Mapping[str, int]  # tokens that are found in the text as written, such as [SEP]
    characters: Characters  # what is done to the characters first


def read_wordpiece(tokenizer: str) -> WordPiece:
    """Read the content of a tokenizer.json.

    TextExportError where it is not WordPiece with BERT's normaliser and word splitter; has an
    added token with an option that only the `tokenizers` library knows; or has marks whose order
    could matter.
    """
    try:
        library = Tokenizer.from_str(tokenizer)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise TextExportError(f"tokenizer.json cannot be read ({error})") from error
    library.no_padding()
    library.no_truncation()
    for name, kind in _PARTS.items():
        part = getattr(library, name)
        if not isinstance(part, kind):
            actual = "missing" if part is None else type(part).__name__
            raise _unsupported(f"its {name} is {actual}, expected {kind.__name__}")
    model: Any = library.model
    vocabulary = dict(sorted(library.get_vocab(with_added_tokens=False).items()))
    if model.unk_token not in vocabulary:
        raise _unsupported(f"its unk_token {model.unk_token!r} is not in the vocabulary")
    prefix, suffix = _template(library)
    settings: Any = library.normalizer
    accents, lower = settings.strip_accents, settings.lowercase
    kinds = characters(settings.clean_text, settings.handle_chinese_chars, accents, lower)
    if lower if accents is None else accents:
        _refuse_ordered_marks({*"".join(vocabulary)} - kinds.normalised.keys())
    return WordPiece(
        vocabulary=vocabulary,
        continuing=model.continuing_subword_prefix,
        unknown=vocabulary[model.unk_token],
        max_chars=model.max_input_chars_per_word,
        prefix=prefix,
        suffix=suffix,
        added=dict(sorted(_added(library))),
        characters=kinds,
    )


def _unsupported(reason: str) -> TextExportError:
    return TextExportError(f"tokenizer.json cannot be put into the graph: {reason}")


def _template(library: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids before and after the text."""
    encoding = library.encode(_LETTER)  # one token, whatever the vocabulary is
    special = encoding.special_tokens_mask
    if special.count(0) != 1:
        raise _unsupported("its template does not hold the text once, as [CLS] $A [SEP] does")
    place = special.index(0)
    return encoding.ids[:place], encoding.ids[place + 1 :]


def _added(library: Tokenizer) -> Iterator[tuple[str, int]]:
    """Text and id of the added tokens, if each is found as written wherever it stands."""
    for token_id, token in library.get_added_tokens_decoder().items():
        names = ("single_word", "lstrip", "rstrip", "normalized")
        options = [name for name in names if getattr(token, name)]
        if options or len(token.content) < 2:
            raise _unsupported(
                f"its added token {token.content!r} has the options {options}, or one character"
            )
        yield token.content, token_id


def _refuse_ordered_marks(letters: set[str]) -> None:
    """Refuse a vocabulary for which the order of combining marks could matter.

    Stripping accents puts the marks that it leaves into canonical order; the graph looks at
    single characters. Marks outside of the vocabulary make a word unknown in any order.
    """
    marks = [f"U+{ord(letter):04X}" for letter in sorted(letters) if unicodedata.combining(letter)]
    if marks:
        raise _unsupported(f"its vocabulary has the combining marks {', '.join(marks)}")


@functools.cache
def characters(
    clean_text: bool, handle_chinese_chars: bool, strip_accents: bool | None, lowercase: bool
) -> Characters:
    """Ask BERT's normaliser about all 1.1 million characters (seconds; kept)."""
    normaliser = BertNormalizer(clean_text, handle_chinese_chars, strip_accents, lowercase)
    normalised: dict[str, str] = {}
    spaces: set[str] = set()
    isolated: set[str] = set()
    for first in range(0, 0x110000, _CHUNK):
        if first in _SURROGATES:
            continue
        chunk = "".join(map(chr, range(first, first + _CHUNK)))
        results = normaliser.normalize_str(_BETWEEN.join(chunk)).split(_BETWEEN)
        if len(results) != len(chunk):  # it holds the separator itself
            results = [normaliser.normalize_str(character) for character in chunk]
        normalised.update((old, new) for old, new in zip(chunk, results, strict=True) if old != new)
        for character in _apart(sorted(set("".join(results)))):
            (spaces if character.isspace() else isolated).add(character)
    return Characters(normalised, sorted(spaces), sorted(isolated))


def _apart(results: Sequence[str]) -> Iterator[str]:
    """Those of the normalised characters that are not part of a word."""
    text = _LETTER + _LETTER.join(results) + _LETTER
    words = BertPreTokenizer().pre_tokenize_str(text)
    if len(words) == 1:
        return
    inside = {i for word, (first, last) in words if len(word) > 1 for i in range(first, last)}
    yield from (text[i] for i in range(1, len(text) - 1, 2) if i not in inside)
