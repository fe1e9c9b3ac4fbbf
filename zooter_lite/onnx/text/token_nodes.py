"""A WordPiece tokenizer as ONNX nodes: one text in, its token ids out.

Only operators of a stock onnxruntime are used, so no extension library is needed. All words
of the text are split at once: each run of characters, up to the longest token's, is looked up,
the longest hit of each place gives a link to the place after it, and the places that links lead
to from a word's first one are where its tokens start.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from zooter_lite.graph.builder import GraphBuilder
from zooter_lite.onnx.text.wordpiece import WordPiece

_START = "\n"  # before the first character of a word; white space is part of no word
_NOTHING = "\n\n"  # is in no table and no text
_PADDING, _SPACE, _ISOLATED, _LETTER = range(4)  # kinds of characters
_LENGTH = 1 << 32  # a token's value is its length times this, plus its id


def token_nodes(nodes: GraphBuilder, text: str, wordpiece: WordPiece, room: int) -> str:
    """Add the nodes from `text`, string (1,), to its ids.

    Returns the name of the ids, int64 (n_tokens,), at most `room`; without what the template
    puts around them.
    """
    limit, zero, unit = nodes.value(wordpiece.max_chars), nodes.value(0), nodes.value(_LENGTH)
    letters, starts = _letters(nodes, text, wordpiece)
    letters, starts = _cut(nodes, letters, starts, wordpiece.max_chars, room)
    value = _longest_tokens(nodes, letters, starts, wordpiece)
    length = nodes.add("Div", value, unit)
    reached = _reached(nodes, starts, length, wordpiece.max_chars)
    # a word is unknown if it is longer than the limit, or has a place that leads nowhere
    stuck = nodes.add("And", reached, nodes.add("Equal", length, zero))
    weight = nodes.add("Where", stuck, nodes.value(wordpiece.max_chars + 1), nodes.value(1))
    word = _word_numbers(nodes, starts)
    none = nodes.add("Expand", zero, nodes.add("Shape", starts))
    total = nodes.add("ScatterElements", none, word, weight, axis=0, reduction="add")
    unknown = nodes.add("Gather", nodes.add("Greater", total, limit), word)
    known = nodes.add("Mod", value, unit)
    token = nodes.add("Where", unknown, nodes.value(wordpiece.unknown), known)
    shown = nodes.add("And", reached, nodes.add("Or", nodes.add("Not", unknown), starts))
    tokens = nodes.add("Compress", token, shown, axis=0)
    tokens = nodes.add("Slice", tokens, nodes.value([0]), nodes.value([-1]))  # see _letters
    return nodes.add("Slice", tokens, nodes.value([0]), nodes.value([room]))


def _letters(nodes: GraphBuilder, text: str, wordpiece: WordPiece) -> tuple[str, str]:
    """Normalised characters that are no space, and whether each starts a word.

    An added token counts as one character. Last stands a word that is no token, so that no
    array is ever empty and no link leads beyond the end.
    """
    kinds = wordpiece.characters
    given = _split(nodes, text, wordpiece.added)
    normal = _look_up(nodes, given, kinds.normalised, _NOTHING)
    same = nodes.add("Equal", normal, nodes.value(_NOTHING, object))
    letter = _split(nodes, nodes.add("Where", same, given, normal), wordpiece.added)
    letter = nodes.add("Concat", letter, nodes.value([" ", _NOTHING], object), axis=0)
    known = dict.fromkeys(kinds.spaces, _SPACE)
    known |= dict.fromkeys([*kinds.isolated, *wordpiece.added], _ISOLATED) | {"": _PADDING}
    kind = _look_up(nodes, letter, known, _LETTER)
    filled = nodes.add("Greater", kind, nodes.value(_PADDING))
    letter, kind = _where(nodes, filled, letter, kind)
    apart = nodes.add("Less", kind, nodes.value(_LETTER))
    before = nodes.add("Slice", apart, nodes.value([0]), nodes.value([-1]))
    before = nodes.add("Concat", nodes.value([True], np.bool_), before, axis=0)
    starts = nodes.add("Or", apart, before)
    return _where(nodes, nodes.add("Greater", kind, nodes.value(_SPACE)), letter, starts)


def _split(nodes: GraphBuilder, texts: str, added: Mapping[str, int]) -> str:
    """Characters and added tokens of texts, one after the other; among them empty ones."""
    longest_first = sorted(added, key=len, reverse=True)
    escaped = [re.sub(r"([^\w\s])", r"\\\1", t, flags=re.ASCII) for t in longest_first]
    pieces = nodes.add(
        "Tokenizer",
        texts,
        domain="com.microsoft",
        mark=0,
        mincharnum=1,
        pad_value="",
        tokenexp="|".join([*escaped, "(?s:.)"]),
    )
    return nodes.add("Reshape", pieces, nodes.value([-1]))


def _look_up(
    nodes: GraphBuilder,
    texts: str,
    table: Mapping[str, str] | Mapping[str, int],
    default: str | int,
) -> str:
    """Add what a table has for each text, or the default."""
    kind = "string" if isinstance(default, str) else "int64"
    attributes: dict[str, Any] = {
        "keys_strings": list(table),
        f"values_{kind}s": list(table.values()),
        f"default_{kind}": default,
    }
    return nodes.add("LabelEncoder", texts, domain="ai.onnx.ml", **attributes)


def _where(nodes: GraphBuilder, kept: str, first: str, second: str) -> tuple[str, str]:
    """Leave out of two vectors what is not kept."""
    return (
        nodes.add("Compress", first, kept, axis=0),
        nodes.add("Compress", second, kept, axis=0),
    )


def _cut(
    nodes: GraphBuilder, letters: str, starts: str, max_chars: int, room: int
) -> tuple[str, str]:
    """Leave out what cannot change the tokens: words beyond `room`, the ends of long words.

    The last word stays; of a long one, one character more than the limit stays.
    """
    size = nodes.add("Size", starts)
    place = nodes.add("Range", nodes.value(0), size, nodes.value(1))
    word = _word_numbers(nodes, starts)
    first = nodes.add("Compress", place, starts, axis=0)
    inside = nodes.add("Sub", place, nodes.add("Gather", first, word))
    short = nodes.add("LessOrEqual", inside, nodes.value(max_chars))
    early = nodes.add("Less", word, nodes.value(room))
    last = nodes.add("Equal", place, nodes.add("Sub", size, nodes.value(1)))
    kept = nodes.add("Or", last, nodes.add("And", early, short))
    return _where(nodes, kept, letters, starts)


def _word_numbers(nodes: GraphBuilder, starts: str) -> str:
    """Which word each character belongs to, counted from 0."""
    count = nodes.add("CumSum", nodes.add("Cast", starts, to=TensorProto.INT64), nodes.value(0))
    return nodes.add("Sub", count, nodes.value(1))


def _longest_tokens(nodes: GraphBuilder, letters: str, starts: str, wordpiece: WordPiece) -> str:
    """For each character the longest token that begins there: its value, 0 where there is none.

    A run that goes on into the next word holds that word's `_START`, which no token does.
    """
    tokens: dict[int, dict[str, int]] = defaultdict(dict)  # by length: run to value
    for token, token_id in wordpiece.vocabulary.items():
        rest = token.removeprefix(wordpiece.continuing)
        tokens[len(token)][_START + token] = len(token) * _LENGTH + token_id
        if rest != token:
            tokens[len(rest)][rest] = len(rest) * _LENGTH + token_id
    for token, token_id in wordpiece.added.items():
        tokens[1][_START + token] = _LENGTH + token_id
    longest = max(length for length in tokens if length <= wordpiece.max_chars)
    marked = nodes.add("StringConcat", nodes.value(_START, object), letters)
    run = nodes.add("Where", starts, marked, letters)
    padded = nodes.add("Concat", run, nodes.value([""] * longest, object), axis=0)
    value = nodes.add("Expand", nodes.value(0), nodes.add("Shape", starts))
    for length in range(1, longest + 1):
        if length > 1:
            first, end = nodes.value([length - 1]), nodes.value([length - 1 - longest])
            run = nodes.add("StringConcat", run, nodes.add("Slice", padded, first, end))
        if length in tokens:
            value = nodes.add("Max", value, _look_up(nodes, run, tokens[length], 0))
    return value


def _reached(nodes: GraphBuilder, starts: str, length: str, max_chars: int) -> str:
    """Where a token starts: the places that links of these lengths lead to from a word's start.

    A link may lead to the start of the next word, which is a start anyway. Each round
    doubles the length of the links, so log2(max_chars) rounds go through every word.
    """
    reached = nodes.add("Cast", starts, to=TensorProto.INT64)
    zero, one = nodes.value(0), nodes.value(1)
    place = nodes.add("Range", zero, nodes.add("Size", length), one)
    link = nodes.add("Add", place, length)
    rounds = max(1, (max_chars - 1).bit_length())
    for done in range(rounds):
        reached = nodes.add("ScatterElements", reached, link, reached, axis=0, reduction="max")
        if done + 1 < rounds:
            link = nodes.add("Gather", link, link)
    return nodes.add("Cast", reached, to=TensorProto.BOOL)
