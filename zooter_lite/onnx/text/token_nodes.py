"""A WordPiece tokenizer as ONNX nodes: one text in, its token ids out.

Only operators of a stock onnxruntime are used, so no extension library is needed. All words
of the text are split at once: each run of up to `longest` symbols is looked up, the longest
hit of each place gives a link to the place after it, and the places that links lead to from
a word's first one are where its tokens start.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from zooter_lite.graph.builder import GraphBuilder
from zooter_lite.onnx.text.tables import ID_BITS, NOTHING, SPACE, WORD_START, Tables
from zooter_lite.onnx.text.wordpiece import WordPiece


def token_nodes(
    nodes: GraphBuilder, text: str, wordpiece: WordPiece, tables: Tables, room: int
) -> str:
    """Add the nodes from `text`, string (1,), to its ids.

    Returns the name of the ids, int64 (n_tokens,), at most `room`; without what the template
    puts around them.
    """
    limit, zero = nodes.value(wordpiece.max_chars), nodes.value(0)
    symbol, starts = _letters(nodes, _symbols(nodes, text, tables), tables.first_letter)
    symbol, starts = _cut(nodes, symbol, starts, wordpiece.max_chars, room)
    value = _longest_tokens(nodes, symbol, starts, tables)
    unit = nodes.value(1 << ID_BITS)
    hit = nodes.add("Div", value, unit)
    reached = _reached(nodes, starts, hit, wordpiece.max_chars)
    # a word is unknown if it has more symbols than the limit, or one that leads nowhere
    stuck = nodes.add("And", reached, nodes.add("Equal", hit, zero))
    weight = nodes.add("Where", stuck, nodes.value(wordpiece.max_chars + 1), nodes.value(1))
    word = _word_numbers(nodes, starts)
    none = nodes.add("Expand", zero, nodes.add("Shape", symbol))
    total = nodes.add("ScatterElements", none, word, weight, axis=0, reduction="add")
    unknown = nodes.add("Gather", nodes.add("Greater", total, limit), word)
    token = nodes.add(
        "Where", unknown, nodes.value(wordpiece.unknown), nodes.add("Mod", value, unit)
    )
    shown = nodes.add("And", reached, nodes.add("Or", nodes.add("Not", unknown), starts))
    tokens = nodes.add("Compress", token, shown, axis=0)
    tokens = nodes.add("Slice", tokens, nodes.value([0]), nodes.value([-1]))
    return nodes.add("Slice", tokens, nodes.value([0]), nodes.value([room]))


def _symbols(nodes: GraphBuilder, text: str, tables: Tables) -> str:
    """Symbols of the text; last a word of an unknown letter, so that no array is ever empty."""
    found = nodes.add(
        "Tokenizer",
        text,
        domain="com.microsoft",
        mark=0,
        mincharnum=1,
        pad_value="",
        tokenexp=tables.pattern,
    )
    row = nodes.add(
        "LabelEncoder",
        found,
        domain="ai.onnx.ml",
        keys_strings=list(tables.rows),
        values_int64s=list(tables.rows.values()),
        default_int64=0,
    )
    wide = nodes.add("Gather", nodes.value(tables.symbols), row, axis=0)
    flat = nodes.add("Reshape", wide, nodes.value([-1]))
    end = nodes.value([SPACE, tables.first_letter])
    flat = nodes.add("Concat", flat, end, axis=0)
    filled = nodes.add("Greater", flat, nodes.value(NOTHING))
    return nodes.add("Compress", flat, filled, axis=0)


def _letters(nodes: GraphBuilder, symbol: str, first_letter: int) -> tuple[str, str]:
    """Leave the spaces out; the other symbols, and whether each starts a word."""
    apart = nodes.add("Less", symbol, nodes.value(first_letter))
    before = nodes.add(
        "Concat",
        nodes.value([True], np.bool_),
        nodes.add("Slice", apart, nodes.value([0]), nodes.value([-1])),
        axis=0,
    )
    starts = nodes.add("Or", apart, before)
    kept = nodes.add("Greater", symbol, nodes.value(SPACE))
    return (
        nodes.add("Compress", symbol, kept, axis=0),
        nodes.add("Compress", starts, kept, axis=0),
    )


def _cut(
    nodes: GraphBuilder, symbol: str, starts: str, max_chars: int, room: int
) -> tuple[str, str]:
    """Leave out what cannot change the tokens: words beyond `room`, the ends of long words.

    The last word stays; of a long one, one symbol more than the limit stays.
    """
    size = nodes.add("Size", symbol)
    place = nodes.add("Range", nodes.value(0), size, nodes.value(1))
    word = _word_numbers(nodes, starts)
    first = nodes.add("Compress", place, starts, axis=0)
    inside = nodes.add("Sub", place, nodes.add("Gather", first, word))
    short = nodes.add("LessOrEqual", inside, nodes.value(max_chars))
    early = nodes.add("Less", word, nodes.value(room))
    last = nodes.add("Equal", place, nodes.add("Sub", size, nodes.value(1)))
    kept = nodes.add("Or", last, nodes.add("And", early, short))
    return (
        nodes.add("Compress", symbol, kept, axis=0),
        nodes.add("Compress", starts, kept, axis=0),
    )


def _word_numbers(nodes: GraphBuilder, starts: str) -> str:
    """Which word each symbol belongs to, counted from 0."""
    count = nodes.add("CumSum", nodes.add("Cast", starts, to=TensorProto.INT64), nodes.value(0))
    return nodes.add("Sub", count, nodes.value(1))


def _longest_tokens(nodes: GraphBuilder, symbol: str, starts: str, tables: Tables) -> str:
    """For each symbol the longest token that begins there: its value, 0 where there is none."""
    zero, one = nodes.value(0), nodes.value(1)
    number = nodes.add("Gather", nodes.value(tables.numbers), symbol)
    mark = nodes.add("Where", starts, nodes.value(WORD_START), zero)
    number = nodes.add("Add", number, mark)  # so that no run goes on into the next word
    size = nodes.add("Size", symbol)
    place = nodes.add("Unsqueeze", nodes.add("Range", zero, size, one), one)
    place = nodes.add("Add", place, nodes.value(np.arange(len(tables.places))))
    place = nodes.add("Min", place, nodes.add("Sub", size, one))
    runs = nodes.add("Mul", nodes.add("Gather", number, place), nodes.value(tables.places))
    key = nodes.add("CumSum", runs, one)
    salt = nodes.add("Where", starts, nodes.value(tables.start), nodes.value(tables.inside))
    value = nodes.add(
        "LabelEncoder",
        nodes.add("Add", key, nodes.add("Unsqueeze", salt, one)),
        domain="ai.onnx.ml",
        keys_int64s=list(tables.tokens),
        values_int64s=list(tables.tokens.values()),
        default_int64=0,
    )
    return nodes.add("ReduceMax", value, nodes.value([1]), keepdims=0)


def _reached(nodes: GraphBuilder, starts: str, hit: str, max_chars: int) -> str:
    """Symbols where a token starts: those that links of length `hit` lead to from a start.

    A link may lead to the start of the next word, which is a start anyway. Each round
    doubles the length of the links, so log2(max_chars) rounds go through every word.
    """
    reached = nodes.add("Cast", starts, to=TensorProto.INT64)
    zero, one = nodes.value(0), nodes.value(1)
    place = nodes.add("Range", zero, nodes.add("Size", hit), one)
    link = nodes.add("Add", place, hit)
    rounds = max(1, (max_chars - 1).bit_length())
    for done in range(rounds):
        reached = nodes.add("ScatterElements", reached, link, reached, axis=0, reduction="max")
        if done + 1 < rounds:
            link = nodes.add("Gather", link, link)
    return nodes.add("Cast", reached, to=TensorProto.BOOL)
