"""Tokenisers: harmless ones work on texts of any length, others are refused."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.helpers import toy_tokenizer
from tests.tiny_encoders import tiny_tokenizer
from zooter_lite.errors import RouterError
from zooter_lite.router.tokens import FIRST_CHARACTERS, TextTokens


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(toy_tokenizer().to_str()) | changes)


def replace(pattern: dict[str, str], content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def split(regex: str) -> dict[str, object]:
    return {
        "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False
    }  # fmt: skip


def sequence(*parts: object) -> dict[str, object]:
    return {"type": "Sequence", "normalizers": list(parts)}


TEMPLATE = json.loads(toy_tokenizer().to_str())["post_processor"]
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
MODEL = json.loads(toy_tokenizer().to_str())["model"]
PIECES = MODEL | {"type": "WordPiece", "continuing_subword_prefix": "##"}
REFUSED = {
    "backtracking": ({"pre_tokenizer": split("(a+)+$")}, r"the pattern '\(a\+\)\+\$'"),
    "growing": (
        {"normalizer": sequence(*[replace({"String": "a"}, "aaaa")] * 6)},
        "more than 1024 times as long",
    ),
    "growing at once": (
        {"normalizer": replace({"String": ""}, "a" * 2000)}, "more than 1024 times as long"
    ),
    "many parts": ({"normalizer": sequence(*[{"type": "NFC"}] * 100)}, "more than 64"),
    "the text twice": (
        {"post_processor": TEMPLATE | {"single": [TEXT, TEXT]}}, "the text more than once"
    ),
    "special tokens beyond the length": (
        {"post_processor": TEMPLATE | {"single": [*TEMPLATE["single"][:1] * 20, TEXT]}},
        "20 special tokens of 16",
    ),
    "long words": (
        {"model": PIECES | {"max_input_chars_per_word": 10**6}}, "words of more than 1000"
    ),
    "a long affix": (
        {"model": PIECES | {"max_input_chars_per_word": 9, "continuing_subword_prefix": "#" * 99}},
        "an affix of more than 64",
    ),
    "dropout": (
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.5}}, "dropout"
    ),
    "a wrong character map": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAP8="}},
        "a character map of 4 bytes in 5",
    ),
    "a large one": ({"added": [[]] * 9_000_000}, "takes more than 640 MiB"),
    "none": ({"model": 1}, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_known_to_be_harmless_is_refused(kind: str) -> None:
    changes, message = REFUSED[kind]
    with pytest.raises(RouterError, match=message) as caught:
        TextTokens(changed(**changes), 16)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", ["", '{"version": "1.0"}', "[" * 100_000], ids=len)
def test_what_is_no_tokeniser_is_refused(content: str) -> None:
    with pytest.raises(RouterError, match=r"tokenizer\.json cannot be read"):
        TextTokens(content, 16)


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": sequence({"type": "NFKC"}, replace({"Regex": " {2,}"}, "▁"))},
        {"pre_tokenizer": split(r"\s+")},
        {"pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True
        }},
        {"pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True
        }},
        {"post_processor": None},
        {"padding": None, "truncation": None},
    ],
)  # fmt: skip
def test_what_known_encoders_have_passes(changes: dict[str, object]) -> None:
    tokens = TextTokens(changed(**changes), 16)
    expected = Tokenizer.from_str(changed(**changes)).encode("one two  three").ids
    assert tokens.one("one two  three").tolist() == expected[:16]


@pytest.mark.parametrize("name", ["qwen2.tokenization_qwen2", "qwen3_5.tokenization_qwen3_5"])
def test_the_patterns_of_known_encoders_pass_as_their_library_writes_them(name: str) -> None:
    pattern = import_module(f"transformers.models.{name}").PRETOKENIZE_REGEX
    text = changed(pre_tokenizer=split(pattern))
    assert (
        TextTokens(text, 16).one("one two").tolist()
        == Tokenizer.from_str(text).encode("one two").ids
    )


def test_a_long_text_has_the_tokens_of_the_whole() -> None:
    for tokenizer in (toy_tokenizer(), tiny_tokenizer()[0]):
        tokenizer.enable_truncation(500)
        tokens = TextTokens(tokenizer.to_str(), 500)
        size = FIRST_CHARACTERS
        for text in (
            "one two, " * size, "a" * 3 * size + " cab", " " * 3 * size + "cab one",
            "x" + "\n" * 100_000 + " two one", "cab " * (size // 4 - 1) + "cabface face",
            "日本" * size,
        ):  # fmt: skip
            assert tokens.one(text).tolist() == tokenizer.encode(text).ids
            assert [ids.tolist() for ids in tokens.many(["one", text])] == [
                tokenizer.encode("one").ids, tokenizer.encode(text).ids
            ]  # fmt: skip


def test_a_panic_of_the_tokeniser_is_one_error(capfd: pytest.CaptureFixture[str]) -> None:
    broken = {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8A"}
    with pytest.raises(RouterError, match=r"tokenizer\.json"):
        TextTokens(changed(normalizer=broken), 16).one("abc")
    capfd.readouterr()  # the panic's own report
