"""Hostile edits of a toy router's tokenizer.json, by name."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable
from typing import Any

Edit = Callable[[dict[str, Any]], bytes]


def _with(**changes: Any) -> Edit:
    return lambda content: json.dumps(content | changes).encode()


def _split(pattern: dict[str, str]) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _normalizers(*parts: Any) -> Edit:
    return _with(normalizer={"type": "Sequence", "normalizers": list(parts)})


def _model(**changes: Any) -> Edit:
    return lambda content: json.dumps(content | {"model": content["model"] | changes}).encode()


def _template(**changes: Any) -> Edit:
    def edit(content: dict[str, Any]) -> bytes:
        return json.dumps(
            content | {"post_processor": content["post_processor"] | changes}
        ).encode()

    return edit


def _nested(depth: int) -> Edit:
    def edit(content: dict[str, Any]) -> bytes:
        inner = '{"type":"Sequence","normalizers":[' * depth + "]}" * depth
        whole = json.dumps(content | {"normalizer": "HERE"})
        return whole.replace('"HERE"', inner).encode()

    return edit


def _added(*contents: str, **options: Any) -> Edit:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokens = [
        {"id": i, "content": content, "special": True} | plain | options
        for i, content in enumerate(contents)
    ]
    return _with(added_tokens=tokens)


def _charsmap(content: bytes) -> Edit:
    text = base64.b64encode(content).decode()
    return _with(normalizer={"type": "Precompiled", "precompiled_charsmap": text})


def _mutated(seed: int) -> Edit:
    """Put an odd value at a random place."""

    def edit(content: dict[str, Any]) -> bytes:
        dice = random.Random(seed)
        changed = copy.deepcopy(content)
        place: Any = changed
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = dice.choice(keys)
            if not isinstance(place[key], (dict, list)) or not place[key] or dice.random() < 0.2:
                break
            place = place[key]
        place[key] = dice.choice(
            [None, True, -1, 2**32, 2**64, 0.5, "", "a" * 1000, [], {}, [[]], {"type": "Split"}]
        )
        return json.dumps(changed).encode()

    return edit


REGEXES = (
    "(a+)+$", "(a|a?)+b", "a*a*a*a*a*b", r"(\w+\s?)*!", "(?=(a+))\\1b", "((a{1000}){1000}){1000}",
    "(" * 5000, "[a", "(?<!a+)b", "(?R)", "\\", "", "^", "a{0}", r"\p{L}*\p{L}*\p{L}*\d",
)  # fmt: skip
BIG = "a" * 200_000
TOKENIZERS: dict[str, Edit] = {
    **{f"split {n}": _with(pre_tokenizer=_split({"Regex": r})) for n, r in enumerate(REGEXES)},
    **{
        f"replace {n}": _with(normalizer=_replace({"Regex": r}, "b")) for n, r in enumerate(REGEXES)
    },
    "growing": _normalizers(*[_replace({"String": "e"}, "eeee")] * 40),
    "growing at once": _with(normalizer=_replace({"String": "e"}, BIG)),
    "growing at empty places": _with(normalizer=_replace({"Regex": "a*"}, BIG)),
    "as much as is let pass": _normalizers(*[_replace({"String": "e"}, "e" * 4)] * 5),
    "nested": _nested(100),
    "no text": _template(single=[]),
    "special tokens": _template(single=[{"SpecialToken": {"id": "[CLS]", "type_id": 0}}] * 100_000),
    "padded": _with(padding={
        "strategy": {"Fixed": 2**40}, "direction": "Right", "pad_to_multiple_of": 2**40,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "x",
    }),
    "truncated": _with(truncation={
        "direction": "Left", "max_length": 0, "strategy": "OnlySecond", "stride": 10**6
    }),
    "many added": _added(*(f"{i:08d}" for i in range(30_000)), lstrip=True, rstrip=True),
    "added nothing": _added(""),
    "ids beyond the table": _model(vocab={"[UNK]": 2**31, "one": 2**32 - 1}),
    "no words": _model(vocab={}),
    "unknown unknown": _model(unk_token="nope"),
    "words at the bound": _model(
        type="WordPiece",
        continuing_subword_prefix="",
        max_input_chars_per_word=1000,
        vocab={"[UNK]": 0, "one": 1, "a" * 999: 2},
    ),
    "merges in a circle": _with(
        model={"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [["a", "a"]] * 1000}
    ),
    "unigram without numbers": _with(
        model={"type": "Unigram", "unk_id": 0, "vocab": [["a", 1e308], ["aa", -1e308]]}
    ),
    "fixed length 0": _with(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "unknown part": _with(pre_tokenizer={"type": "Evil", "path": "/etc/passwd"}),
    "metaspace": _with(pre_tokenizer={
        "type": "Metaspace", "replacement": "aa", "prepend_scheme": "always", "split": True
    }),
    "no model": _with(model=None),
    "a list": lambda _: b"[]",
    "nothing": lambda _: b"",
    "brackets": lambda _: b"[" * 1_000_000,
    "short charsmap": _charsmap(b"\x04\0\0\0\xff\xff\xff\x7f"),
    "growing charsmap": _charsmap((4).to_bytes(4, "little") + bytes(4) + BIG.encode()),
    **{f"mutated {seed}": _mutated(seed) for seed in range(16)},
}  # fmt: skip
