"""The constants of a WordPiece tokenizer in a graph: characters to symbols, symbols to tokens.

A *symbol* is a small integer that stands for a normalised character. A run of symbols is
looked up by a 63-bit key: the sum of a random number of each symbol times a random number
of its place. That the keys of two tokens differ is checked here; a run that is no token
has a token's key with a probability below 2**-40, always the same runs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.onnx.text.wordpiece import (
    Characters,
    Normaliser,
    WordPiece,
    characters,
    unsupported,
)

IntArray = NDArray[np.int64]

NOTHING, SPACE, OTHER_ISOLATED = range(3)  # the first symbols; then isolated ones, then letters
ID_BITS = 20  # of the value of a token: its length above, its id below
WORD_START = 1 << 38  # added to the number of a symbol that starts a word
_NUMBER, _PLACE = 1 << 38, 1 << 18  # bounds of the random numbers
_LONGEST = 60  # symbols of a token, so that the sums stay below 2**63


@dataclass(frozen=True)
class Tables:
    """Constants of one tokenizer.

    Attributes
    ----------
    pattern
        Regular expression that finds the characters and the added tokens of a text.
    rows
        What was found, to its row of `symbols`; row 0 is that of everything else.
    symbols
        (n_rows, width) int64, filled up with `NOTHING`.
    first_letter
        Symbols from here on are part of longer words; the first is for unknown letters.
    numbers, places
        (n_symbols,) and (longest,) int64: the random numbers.
    start, inside
        Added to the key of a run that starts a word, or does not.
    tokens
        Key to value.
    """

    pattern: str
    rows: Mapping[str, int]
    symbols: IntArray
    first_letter: int
    numbers: IntArray
    places: IntArray
    start: int
    inside: int
    tokens: Mapping[int, int]


def tables(wordpiece: WordPiece) -> Tables:
    """Compute the constants (seconds).

    Raises
    ------
    TextExportError
        The vocabulary is too large, has a token of more than 60 characters, or has marks
        whose order could matter.
    """
    kinds = characters(wordpiece.normaliser)
    pieces = dict(_pieces(wordpiece, kinds))
    known = {character for piece, _ in pieces for character in piece}
    _refuse_ordered_marks(wordpiece.normaliser, kinds, known)
    isolated = [*wordpiece.added, *sorted(known & kinds.isolated)]
    letters = sorted(known - kinds.isolated - kinds.spaces)
    first_letter = OTHER_ISOLATED + 1 + len(isolated)
    symbol_of = {name: OTHER_ISOLATED + 1 + i for i, name in enumerate(isolated)}
    symbol_of |= {letter: first_letter + 1 + i for i, letter in enumerate(letters)}
    rows, symbols, dropped = _rows(wordpiece, kinds, symbol_of, first_letter)
    runs: dict[tuple[tuple[int, ...], bool], int] = {
        ((symbol_of[name],), True): token for name, token in wordpiece.added.items()
    }
    for (piece, starts), token in pieces.items():
        runs[tuple(symbol_of[character] for character in piece), starts] = token
    return Tables(
        pattern=_pattern(wordpiece.added, dropped),
        rows=rows,
        symbols=symbols,
        first_letter=first_letter,
        **_keys(runs, first_letter + 1 + len(letters)),
    )


def _keys(runs: Mapping[tuple[tuple[int, ...], bool], int], n_symbols: int) -> dict[str, Any]:
    """Random numbers, and the value of each token under its key.

    `runs` maps (symbols, starts a word) to the token's id.
    """
    longest = max(len(run) for run, _ in runs)
    if longest > _LONGEST or max(runs.values()) >= 1 << ID_BITS:
        raise unsupported(
            f"its longest token has {longest} characters and its highest id is "
            f"{max(runs.values())}, expected at most {_LONGEST} and {(1 << ID_BITS) - 1}"
        )
    random = np.random.Generator(np.random.PCG64(0))
    numbers = 1 + random.choice(_NUMBER - 1, n_symbols, replace=False)
    places = 1 + random.choice(_PLACE - 1, longest, replace=False)
    start, inside = map(int, random.integers(_NUMBER, size=2))
    tokens = {}
    for (run, starts), token in runs.items():
        key = int(numbers[list(run)] @ places[: len(run)]) + (start if starts else inside)
        tokens[key] = len(run) << ID_BITS | token
    if len(tokens) != len(runs):
        raise unsupported("two of its tokens have the same key")
    # the graph adds WORD_START to the number of the first symbol of a word
    start -= WORD_START * int(places[0])
    return {
        "numbers": numbers, "places": places, "start": start, "inside": inside, "tokens": tokens,
    }  # fmt: skip


def _refuse_ordered_marks(options: Normaliser, kinds: Characters, known: Iterable[str]) -> None:
    """Refuse a vocabulary for which the order of combining marks could matter.

    Stripping accents puts the marks that it leaves into canonical order; the graph looks at
    single characters. Marks outside of the vocabulary make a word unknown in any order.
    """
    strips = options.lowercase if options.strip_accents is None else options.strip_accents
    left = (mark for mark in sorted(known) if kinds.normalised.get(mark, mark) == mark)
    marks = [f"U+{ord(mark):04X}" for mark in left if unicodedata.combining(mark)]
    if strips and marks:
        raise unsupported(f"its vocabulary has the combining marks {', '.join(marks)}")


def _pieces(wordpiece: WordPiece, kinds: Characters) -> Iterator[tuple[tuple[str, bool], int]]:
    """((characters, starts a word), id) of the tokens that a text can have."""
    apart = kinds.isolated | kinds.spaces
    for token, i in wordpiece.vocabulary.items():
        if token and (len(token) == 1 or not apart.intersection(token)):
            yield (token, True), i
        rest = token.removeprefix(wordpiece.continuing)
        if rest and rest != token and not apart.intersection(rest):
            yield (rest, False), i


def _rows(
    wordpiece: WordPiece,
    kinds: Characters,
    symbol_of: Mapping[str, int],
    unknown_letter: int,
) -> tuple[dict[str, int], IntArray, list[str]]:
    """Rows by character, the symbols of each row, and the characters that vanish."""

    def symbol(character: str) -> int:
        if character in kinds.spaces:
            return SPACE
        other = OTHER_ISOLATED if character in kinds.isolated else unknown_letter
        return symbol_of.get(character, other)

    row_of: dict[tuple[int, ...], int] = {(unknown_letter,): 0, (): 1}
    rows = {"": 1}
    dropped = []
    changed = kinds.normalised.items()
    same = ((c, c) for c in {*symbol_of, *kinds.isolated, *kinds.spaces} if len(c) == 1)
    for character, normalised in sorted({**dict(same), **dict(changed)}.items()):
        run = tuple(map(symbol, normalised))
        if not run:
            dropped.append(character)
        elif run != (unknown_letter,):
            rows[character] = row_of.setdefault(run, len(row_of))
    for name in wordpiece.added:
        rows[name] = row_of.setdefault((symbol_of[name],), len(row_of))
    symbols = np.full((len(row_of), max(map(len, row_of))), NOTHING, dtype=np.int64)
    for run, row in row_of.items():
        symbols[row, : len(run)] = run
    return rows, symbols, dropped


def _pattern(added: Iterable[str], dropped: Iterable[str]) -> str:
    """Regular expression: an added token, or any character that does not vanish."""
    escaped = (re.sub(r"([^\w\s])", r"\\\1", token, flags=re.ASCII) for token in added)
    vanishing = "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in _ranges(dropped))
    character = f"[^{vanishing}]" if vanishing else r"(?s:.)"
    return "|".join([*escaped, character])


def _ranges(characters_: Iterable[str]) -> Iterator[tuple[int, int]]:
    """First and last code points of runs of characters."""
    points = sorted(map(ord, characters_))
    first = 0
    for i, point in enumerate(points):
        if i + 1 == len(points) or points[i + 1] != point + 1:
            yield points[first], point
            first = i + 1
