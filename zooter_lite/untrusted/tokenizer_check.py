"""tokenizer.json, checked before and after it is parsed.

What passes works in time and memory proportional to the text: its parts are known ones,
nothing in it multiplies the text many times over, and its regular expressions are those of
known encoders or single characters, so that none backtracks.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

from zooter_lite.errors import RouterError

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
# A key of JSON can also be written in escapes; no honest file does, and none is let pass.
_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\u00[2-7]")
_CHARSMAP = re.compile(r'"precompiled_charsmap"\s*:\s*"([^"]*)"')


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
    problem = _charsmap_problem(content)
    if not problem:
        try:
            tokenizer = Tokenizer.from_str(content)
            problem = next(_problems(tokenizer, max_length), "")
            tokenizer.no_padding()
            tokenizer.enable_truncation(max_length)
        except BaseException as error:
            raise clean_error(error, "tokenizer.json cannot be read") from error
    if problem:
        raise RouterError(f"tokenizer.json is not one that a router holds ({problem})")
    return tokenizer


def clean_error(error: BaseException, what: str) -> BaseException:
    """Make a RouterError of what the tokenizers library raises: Exception, or a panic."""
    if isinstance(error, Exception) or type(error).__name__ == "PanicException":
        return RouterError(f"{what} ({' '.join(str(error).split())[:300]})")
    return error


def _charsmap_problem(content: str) -> str:
    """Say what is wrong with the character maps, before they are parsed: a wrong size aborts."""
    if "\\u00" in content and _ESCAPED.search(content):
        return "letters written as \\u00.."
    for found in _CHARSMAP.finditer(content):
        try:
            blob = base64.b64decode(found[1], validate=True)
        except ValueError:
            return "a character map that is no base64"
        size = int.from_bytes(blob[:4], "little")
        if len(blob) < 4 or size % 4 or not 0 < size <= len(blob) - 4:
            return f"a character map of {size} bytes in {len(blob)}"
    return ""


def _problems(tokenizer: Any, max_length: int) -> Iterator[str]:
    """Say what is not known to be harmless."""
    model = tokenizer.model
    if type(model).__name__ not in _MODELS:
        yield f"the model {type(model).__name__[:60]!r}"
    if getattr(model, "dropout", None) is not None:
        yield "a model with dropout"
    if getattr(model, "max_input_chars_per_word", 0) > 1000:
        yield "words of more than 1000 characters"
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    if any(len(getattr(model, name, None) or "") > 64 for name in affixes):
        yield "an affix of more than 64 characters"
    growth = 1.0
    for part, (sequence, known) in _KNOWN.items():
        for piece in _pieces(getattr(tokenizer, part), sequence):
            kind = piece.get("type")
            if kind not in known:
                yield f"the {part} {str(kind)[:60]!r}"
            pattern, text = _pattern(piece)
            if pattern == "Regex" and text not in _PATTERNS and not _SINGLE.fullmatch(text):
                yield f"the pattern {text[:60]!r}"
            single = piece.get("single")
            if isinstance(single, list) and sum("Sequence" in item for item in single) > 1:
                yield "a template that holds the text more than once"
            growth *= _growth(piece)
    if growth > MAX_GROWTH:
        yield f"it makes a text more than {MAX_GROWTH} times as long"
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    if special >= max_length:
        yield f"{special} special tokens of {max_length}"


def _pieces(part: Any, key: str) -> list[dict[str, Any]]:
    """Return the parts of a normaliser, pre-tokeniser or post-processor, sequences unrolled."""
    if part is None:
        return []
    state = part.__getstate__()
    found, waiting = [], [json.loads(state) if len(state) <= 2**22 else {"type": "too large"}]
    while waiting:
        piece = waiting.pop()
        if piece.get("type") == "Sequence":
            waiting += piece.get(key, [])
        else:
            found.append(piece)
        if len(found) + len(waiting) > 64:
            return [{"type": "Sequence of more than 64"}]
    return found


def _pattern(piece: dict[str, Any]) -> tuple[str, str]:
    """Return kind and text of the pattern of a Replace or Split; empty where it has none."""
    pattern = piece.get("pattern")
    kinds = list(pattern.items()) if isinstance(pattern, dict) else []
    return kinds[0] if len(kinds) == 1 else ("", "")


def _growth(piece: dict[str, Any]) -> float:
    """How many times longer a part can make a text."""
    if piece.get("type") == "Precompiled":
        blob = base64.b64decode(piece["precompiled_charsmap"])
        size = int.from_bytes(blob[:4], "little")
        return float(max(map(len, blob[4 + size :].split(b"\0"))))
    if piece.get("type") == "Prepend":
        return 1.0 + len(piece["prepend"])
    if piece.get("type") == "Replace":
        kind, text = _pattern(piece)
        found = len(text.encode()) if kind == "String" else 1
        content = len(piece["content"].encode())
        return max(1.0, content / found) if kind == "String" and found else 1.0 + content
    return 1.0
