"""tokenizer.json, checked before the tokenizers library parses it.

What passes works in time and memory proportional to the text: its parts are known ones,
nothing in it multiplies the text many times over, and its regular expressions are those of
known encoders or single characters, so that none backtracks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer

from zooter_lite.errors import RouterError
from zooter_lite.untrusted.typed_json import parse_json, shown

MAX_GROWTH = 1024  # times that a tokeniser may lengthen a text
MAX_MEMORY = 640 * 2**20  # bytes that a tokeniser may take once it is parsed
_COSTS = {",": 60, '"': 60, "[": 60, "{": 300}  # bytes in memory for each such sign

_KNOWN = {  # parts of a tokeniser, the key of a sequence of such, and the kinds that are harmless
    "normalizer": (
        "normalizers",
        {
            "BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt",
            "Precompiled", "Prepend", "Replace", "Strip", "StripAccents",
        },
    ),
    "pre_tokenizer": (
        "pretokenizers",
        {
            "BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength",
            "Metaspace", "Punctuation", "Split", "UnicodeScripts", "Whitespace",
            "WhitespaceSplit",
        },
    ),
    "post_processor": (
        "processors",
        {"BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing"},
    ),
}  # fmt: skip
_MODELS = {"BPE", "Unigram", "WordLevel", "WordPiece"}
_END = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
_OTHER = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
_PATTERNS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",  # CLIP
    _WORDS + _OTHER + _END,  # Qwen 2
    _WORDS.replace(r"\p{L}+|", r"[\p{L}\p{M}]+|")  # Qwen 3.5
    + _OTHER.replace(r"\p{L}", r"\p{L}\p{M}")
    + _END,
    r"\s{2,}|[\n\r\t]",  # DeBERTa 2
    _WORDS + "{1,3}" + _OTHER + _END,  # Llama 3
}
# One character or class, once or repeated: no way to match the same text twice.
_SINGLE = re.compile(
    r"(\\?[^\\()|]|\\[pP]\{\w+\}|\[\^?(\\?[^\\\[\]])+\])([+*?]|\{\d{0,3},?\d{0,3}\})?"
)


def checked_tokenizer(content: str, max_length: int) -> Tokenizer:
    """Parse the content of a tokenizer.json, to truncate at `max_length` tokens.

    Raises
    ------
    RouterError
        The content is no tokeniser, or one that is not known to be harmless.
    """
    memory = 3 * len(content) + sum(cost * content.count(sign) for sign, cost in _COSTS.items())
    if memory > MAX_MEMORY:
        raise RouterError(f"tokenizer.json takes more than {MAX_MEMORY >> 20} MiB of memory")
    try:
        problem = next(_problems(parse_json("tokenizer.json", content.encode())), "")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RouterError(f"tokenizer.json cannot be read ({repr(error)[:200]})") from error
    if not problem:
        try:
            tokenizer = Tokenizer.from_str(content)
            tokenizer.no_padding()
            tokenizer.enable_truncation(max_length)
        except BaseException as error:
            raise clean_error(error, "tokenizer.json cannot be read") from error
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        if special < max_length:
            return tokenizer
        problem = f"{special} special tokens of {max_length}"
    raise RouterError(f"tokenizer.json is not one that a router holds ({problem})")


def clean_error(error: BaseException, what: str) -> BaseException:
    """Make a RouterError of what the tokenizers library raises: Exception, or a panic."""
    if isinstance(error, Exception) or type(error).__name__ == "PanicException":
        return RouterError(f"{what} ({' '.join(str(error).split())[:300]})")
    return error


def _problems(parts: Mapping[str, Any]) -> Iterator[str]:
    """Say what is not known to be harmless; anything may be raised of what is no tokeniser."""
    model = parts["model"]
    if model.get("type") not in _MODELS:
        yield f"the model {shown(model.get('type'))}"
    if model.get("dropout") is not None:
        yield "a model with dropout"
    if model.get("max_input_chars_per_word", 0) > 1000:
        yield "words of more than 1000 characters"
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    if any(len(model.get(name) or "") > 64 for name in affixes):
        yield "an affix of more than 64 characters"
    growth = 1.0
    for part, (sequence, known) in _KNOWN.items():
        pieces = _pieces(parts.get(part), sequence)
        if len(pieces) > 64:
            yield f"more than 64 parts of the {part}"
        for piece in pieces:
            if piece["type"] not in known:
                yield f"the {part} {shown(piece['type'])}"
            pattern = piece.get("pattern", {}).get("Regex", "a")
            if pattern not in _PATTERNS and not _SINGLE.fullmatch(pattern):
                yield f"the pattern {shown(pattern)}"
            if sum("Sequence" in item for item in piece.get("single", ())) > 1:
                yield "a template that holds the text more than once"
            growth *= _growth(piece)
    if growth > MAX_GROWTH:
        yield f"it makes a text more than {MAX_GROWTH} times as long"


def _pieces(part: Any, key: str) -> list[dict[str, Any]]:
    """Return the parts of a normaliser, pre-tokeniser or post-processor, sequences unrolled."""
    pieces = [] if part is None else [part]
    place = 0
    while place < len(pieces) <= 64:
        if pieces[place]["type"] == "Sequence":
            pieces[place : place + 1] = pieces[place][key]
        else:
            place += 1
    return pieces


def _growth(piece: Mapping[str, Any]) -> float:
    """How many times longer a part can make a text."""
    if piece["type"] == "Precompiled":
        blob = base64.b64decode(piece["precompiled_charsmap"], validate=True)
        size = int.from_bytes(blob[:4], "little")
        if len(blob) < 4 or size % 4 or not 0 < size <= len(blob) - 4:  # parsing it would abort
            raise ValueError(f"a character map of {size} bytes in {len(blob)}")
        return float(max(map(len, blob[4 + size :].split(b"\0"))))
    if piece["type"] == "Prepend":
        return 1.0 + len(piece["prepend"])
    if piece["type"] == "Replace":
        content, text = len(piece["content"].encode()), piece["pattern"].get("String", "")
        return max(1.0, content / len(text.encode())) if text else 1.0 + content
    return 1.0
