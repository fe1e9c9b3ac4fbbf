"""The one-file text router against the tokenizers library and the router that takes tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from tokenizers import Tokenizer

from tests.helpers import DIM, EXPERTS, WORDS, toy_encoder, toy_head
from zooter_lite.encode.find import find_encoder
from zooter_lite.errors import ZooterError
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.onnx.text.one_file import check_text_parity, text_graph, token_graph
from zooter_lite.onnx.text.wordpiece import TextExportError

MAX_LENGTH = 64
TEXTS = [
    "",
    " ",
    "\t\r\n",
    "What is 17 * 23?",
    "请写一个函数，返回列表中第二大的数。",
    "日本語のテキストを英語に翻訳してください。カタカナ、ﾊﾝｶｸ",
    "한국어 문장을 요약해 주세요",
    "यह वाक्य हिन्दी में है",
    "แปลประโยคนี้เป็นภาษาอังกฤษ",
    "اكتب قصيدة عن البحر",
    "İstanbul'da IĞDIR ve ışık",
    "STRASSE straße STRAẞE",
    "cafe\u0301 café a\u0323\u0301 ŏ\u0315\u0300 \u0301alone",
    "Ὀδυσσεύς ΣΊΣΥΦΟΣ ᾯ",
    "👩‍👩‍👧 👍🏽 🇩🇪 ☃\ufe0f",
    "a\x00b \x07c\x1bd\x7f e\u200bf\u00adg\ufeffh",
    "tab\there\nnew\r\nline\u2028sep\u00a0nbsp\u3000wide",
    "[CLS] a [SEP] b[MASK]c [sep] [ SEP ] [[SEP]] [UNK][PAD]",
    "[SEP",
    "##ing un##able # ##",
    "x" * 100,
    "x" * 101,
    "x" * 100 + "é",
    "x" * 99 + "é",
    "한" * 33 + "a",
    "한" * 34,
    "word " * 200,
    "unaffable " * 40,
    "a" * 10_000,
    "?!" * 5_000,
    " " * 10_000 + "end",
    "\ufffd\ue000\U000f0000\U0010fffd private \U00020000\U000323af\u0378",
    "$1,234.56 e-mail@example.com C++ 10⁻³ ½ ① ﬁ Å",
]


def fuzz(n: int, seed: int) -> list[str]:
    """Random texts: a few blocks of Unicode mixed with English, or all of Unicode."""
    pick = random.Random(seed)
    blocks = [
        range(0x20, 0x7F), range(0, 0x250), range(0x300, 0x370), range(0x370, 0x530),
        range(0x590, 0x700), range(0x900, 0xA00), range(0xE00, 0xE80), range(0x1100, 0x1200),
        range(0x1E00, 0x2000), range(0x2000, 0x2100), range(0x3040, 0x3100),
        range(0x4E00, 0x5200), range(0xAC00, 0xB000), range(0x1F300, 0x1FA00),
        range(0xE000, 0x110000), range(0xD800),
    ]  # fmt: skip
    words = ["the", "and", "unbelievably", "router", "[SEP]", "[mask]", "3.14", "don't", "naïve"]
    texts = []
    for _ in range(n):
        chosen = pick.sample(blocks, 2)
        parts = [
            pick.choice(words) if pick.random() < 0.3 else chr(pick.choice(pick.choice(chosen)))
            for _ in range(pick.choice([1, 5, 20, 100]))
        ]
        texts.append(pick.choice(["", " "]).join(parts))
    return texts


@pytest.fixture(scope="module")
def tokenizer() -> str:
    """The bundled encoder's tokenizer.json."""
    return (find_encoder("all-MiniLM-L6-v2") / "tokenizer.json").read_text("utf-8")


def toy_router_graph(n_words: int) -> bytes:
    """Router's graph that adds up random vectors of `n_words` tokens."""
    model = onnx.load_model_from_string(router_graph(toy_encoder(), toy_head("prior"), EXPERTS))
    vectors = np.random.default_rng(3).normal(size=(n_words, DIM)).astype(np.float32)
    for initializer in model.graph.initializer:
        if initializer.name == "encoder.vectors":
            initializer.CopyFrom(numpy_helper.from_array(vectors, "encoder.vectors"))
    return bytes(model.SerializeToString())


def small_tokenizer(edit: Callable[[dict[str, Any]], object] = lambda content: None) -> str:
    """Tokenizer.json of a BERT tokenizer that knows `WORDS` only."""
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": WORDS.index(name), "content": name, "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for name in ("[CLS]", "[SEP]")
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: i for i, word in enumerate(WORDS)},
        },
    }
    edit(content)
    return json.dumps(content)


def load(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, texts: list[str]) -> list[NDArray[np.float32]]:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    found: list[NDArray[np.float32]] = session.run(["probs", "embedding"], {"query": array})
    return found


def tokens(tokenizer: str, max_length: int, texts: list[str]) -> list[list[int]]:
    """Ids that the text graph finds."""
    session = load(token_graph(tokenizer, max_length))
    feeds = ({"query": np.asarray([text], dtype=object)} for text in texts)
    return [session.run(None, feed)[0].tolist() for feed in feeds]


def expected_tokens(tokenizer: str, max_length: int, texts: list[str]) -> list[list[int]]:
    """Ids that the tokenizers library finds."""
    library = Tokenizer.from_str(tokenizer)
    library.no_padding()
    library.enable_truncation(max_length)
    return [encoding.ids for encoding in library.encode_batch(texts)]


def test_the_tokens_are_those_of_the_library(tokenizer: str) -> None:
    texts = [*TEXTS, *fuzz(4000, 1)]
    found = tokens(tokenizer, MAX_LENGTH, texts)
    expected = expected_tokens(tokenizer, MAX_LENGTH, texts)
    assert [t for t, a, b in zip(texts, found, expected, strict=True) if a != b] == []


def test_every_character_between_letters(tokenizer: str) -> None:
    points = [*range(0xD800), *range(0xE000, 0x20000), 0xE0001, 0xE0101, 0x10FFFF]
    texts = ["".join(f"a{chr(c)}b " for c in points[i : i + 50]) for i in range(0, len(points), 50)]
    assert tokens(tokenizer, 10_000, texts) == expected_tokens(tokenizer, 10_000, texts)


@pytest.mark.parametrize(
    "options",
    [
        {"lowercase": False},
        {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False},
        {"lowercase": False, "strip_accents": True},
    ],
)
def test_the_normalisers_options_are_honoured(tokenizer: str, options: dict[str, bool]) -> None:
    content = json.loads(tokenizer)
    content["normalizer"] |= options
    changed = json.dumps(content)
    texts = [*TEXTS, *fuzz(300, 2)]
    found = tokens(changed, MAX_LENGTH, texts)
    assert found == expected_tokens(changed, MAX_LENGTH, texts)
    assert found != expected_tokens(tokenizer, MAX_LENGTH, texts)


def test_the_longest_word_and_the_unknown_token_are_honoured() -> None:
    def edit(content: dict[str, Any]) -> None:
        content["model"] |= {"max_input_chars_per_word": 4, "unk_token": "eight"}

    found = tokens(small_tokenizer(edit), 16, ["four three one [SEP] six seven"])
    names = ("[CLS]", "four", "eight", "one", "[SEP]", "six", "eight", "[SEP]")
    assert found == [[WORDS.index(name) for name in names]]


def test_a_prefix_of_the_template_is_honoured() -> None:
    def edit(content: dict[str, Any]) -> None:
        names = {"[CLS]": [2], "query:": [11, 12], "[SEP]": [3]}
        single: list[dict[str, Any]] = [
            {"SpecialToken": {"id": name, "type_id": 0}} for name in names
        ]
        single.insert(2, {"Sequence": {"id": "A", "type_id": 0}})
        content["post_processor"] = {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                name: {"id": name, "ids": ids, "tokens": [name] * len(ids)}
                for name, ids in names.items()
            },
        }

    prefixed = small_tokenizer(edit)
    texts = ["one two", "", "three " * 30]
    graph = toy_router_graph(len(WORDS))
    found = check_text_parity(text_graph(graph, prefixed, 12), graph, prefixed, 12, texts)
    assert found.changed_tokens == 0.0
    assert found.max_difference < 1e-6
    plain = run(load(text_graph(graph, small_tokenizer(), 12)), texts)[0]
    assert np.abs(run(load(text_graph(graph, prefixed, 12)), texts)[0] - plain).min() > 1e-4


def test_a_batch_gives_the_bits_of_single_texts(tokenizer: str) -> None:
    graph = toy_router_graph(30522)
    session = load(text_graph(graph, tokenizer, MAX_LENGTH))
    together = run(session, TEXTS)
    for i, text in enumerate(TEXTS):
        for batch, single in zip(together, run(session, [text]), strict=True):
            assert np.array_equal(batch[i], single[0])
    none = run(session, [])
    assert [part.shape for part in none] == [(0, len(EXPERTS)), (0, DIM)]


def test_names_types_axes_and_metadata() -> None:
    graph = toy_router_graph(len(WORDS))
    text = text_graph(graph, small_tokenizer(), 16)
    session = load(text)
    assert [(n.name, n.type, n.shape) for n in session.get_inputs()] == [
        ("query", "tensor(string)", ["batch"])
    ]
    assert [(n.name, n.type, n.shape) for n in session.get_outputs()] == [
        ("probs", "tensor(float)", ["batch", len(EXPERTS)]),
        ("embedding", "tensor(float)", ["batch", DIM]),
    ]
    found = session.get_modelmeta().custom_metadata_map
    assert found == load(graph).get_modelmeta().custom_metadata_map
    assert json.loads(found["zooter.experts"]) == EXPERTS
    assert text == text_graph(graph, small_tokenizer(), 16)


def test_parity_says_what_differs() -> None:
    graph, other = toy_router_graph(len(WORDS)), small_tokenizer()
    text = text_graph(graph, small_tokenizer(), 16)
    same = check_text_parity(text, graph, other, 16, ["one", "two", "\ud83d"])
    assert same.queries == 3
    assert same.changed_tokens == same.changed_decisions == 0.0
    assert same.max_difference < 1e-6
    swapped = other.replace('"one": 5', '"one": 6').replace('"two": 6', '"two": 5')
    assert swapped != other
    changed = check_text_parity(text, graph, swapped, 16, ["one", "two", "", "three"])
    assert changed.max_difference > 1e-3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["model"].update(type="WordLevel"), "model is WordLevel, expected WordPiece"),
        (lambda c: c.update(normalizer=None), "normalizer is missing"),
        (
            lambda c: c.update(
                post_processor={
                    "type": "TemplateProcessing",
                    "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 2,
                    "pair": [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"],
                    "special_tokens": {},
                }
            ),
            "does not hold the text once",
        ),
        (lambda c: c["model"].update(unk_token="[NONE]"), r"unk_token '\[NONE\]' is not in"),
        (lambda c: c["added_tokens"][0].update(lstrip=True), r"'\[CLS\]' has the options \['lstr"),
        (lambda c: c["model"]["vocab"].update({"a\u0898": 3}), "combining marks U.0898"),
    ],
)
def test_a_tokenizer_that_cannot_be_expressed_is_refused(
    edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(TextExportError, match=message) as caught:
        text_graph(toy_router_graph(len(WORDS)), small_tokenizer(edit), 16)
    assert isinstance(caught.value, ZooterError)
    assert "\n" not in str(caught.value)


def test_other_refusals() -> None:
    graph = toy_router_graph(len(WORDS))
    with pytest.raises(TextExportError, match="max_length 2 leaves no room"):
        text_graph(graph, small_tokenizer(), 2)
    with pytest.raises(TextExportError, match="cannot be read"):
        text_graph(graph, "{", 16)
    with pytest.raises(TextExportError, match="is not a router's"):
        text_graph(toy_encoder().graph, small_tokenizer(), 16)


def test_the_fitted_router_in_one_file(router_path: Path) -> None:
    graph = (router_path / "router.onnx").read_bytes()
    tokenizer = (router_path / "tokenizer.json").read_text("utf-8")
    text = text_graph(graph, tokenizer, 256)
    assert len(text) < len(graph) + 4_000_000
    found = check_text_parity(text, graph, tokenizer, 256, TEXTS[:24])
    assert found.changed_tokens == found.changed_decisions == 0.0
    assert found.max_difference < 1e-5
