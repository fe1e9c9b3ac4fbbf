"""Texts of any length to token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.messages import Context, prompt_of
from zooter_lite.untrusted.tokenizer_check import checked_tokenizer, clean_error

Ids = NDArray[np.int64]

# Texts are read so far first: more than any text needs whose tokens are words.
FIRST_CHARACTERS = 16_384
LAST_CHARACTERS = 2_000_000
TOGETHER = 1024  # texts whose tokens fit the processor's cache


class TextTokens:
    """A tokeniser whose texts end at `max_length` tokens; safe to share between threads.

    `content` is that of a tokenizer.json; RouterError where it is no tokeniser, or one that is
    not known to be harmless.
    """

    def __init__(self, content: str, max_length: int) -> None:
        self._tokenizer: Any = checked_tokenizer(content, max_length)
        self._max_length = max_length
        self.cut = 0  # texts so far that were longer than `max_length` tokens
        self._least = max_length - len(self.one(""))  # bytes, a token each, that just fit

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(n,) tokens of each text, cut at `max_length`."""
        return np.asarray([len(ids) for ids in self.many(texts)], dtype=np.int64)

    def longer(self, texts: Sequence[str]) -> int:
        """Count the texts that are longer than `max_length` tokens; no other thread may read."""
        before = self.cut
        self.many([text for text in texts if len(text.encode("utf-8", "replace")) > self._least])
        return self.cut - before

    def one(self, text: str) -> Ids:
        """Token ids of a text, with special tokens, truncated.

        A text of more than `FIRST_CHARACTERS` is read no further than to the space after
        which its tokens are enough, or to `LAST_CHARACTERS`. Tokens are the same as of the
        whole text where the tokeniser never looks past a space.
        """
        size = FIRST_CHARACTERS
        while True:
            space = text.rfind(" ", size // 2, size) if size < len(text) else -1
            part = text[: space if space > 0 else size]
            ids = np.asarray(self._encode([part])[0].ids, dtype=np.int64)
            size *= 2
            if len(ids) >= self._max_length or len(part) == len(text) or size > LAST_CHARACTERS:
                return ids
            normalizer = self._tokenizer.normalizer
            if normalizer and len(normalizer.normalize_str(_encodable(part))) > 4 * len(part):
                return ids  # a text that grows is read no further

    def whole(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(n,) tokens of each text, not cut; beyond `LAST_CHARACTERS` as many as they suggest."""
        lengths = self.lengths(texts)
        long = np.flatnonzero(lengths >= self._max_length).tolist()
        if not long:
            return lengths
        counter = type(self._tokenizer).from_str(self._tokenizer.to_str())
        counter.no_truncation()
        for place in long:
            text = texts[place]
            part = text[:LAST_CHARACTERS]
            count = len(_encoded(counter, [part])[0])
            lengths[place] = count * len(text) // len(part)
        return lengths

    def many(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, as `one` gives them."""
        if any(len(text) > FIRST_CHARACTERS for text in texts):
            return [self.one(text) for text in texts]
        ids = [
            encoding.ids
            for start in range(0, len(texts), TOGETHER)
            for encoding in self._encode(list(texts[start : start + TOGETHER]))
        ]
        ends = np.cumsum([0, *map(len, ids)]).tolist()
        together = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=ends[-1])
        return [together[start:end] for start, end in pairwise(ends)]

    def _encode(self, texts: list[str]) -> list[Any]:
        encodings = _encoded(self._tokenizer, texts)
        full = [one for one in encodings if len(one) >= self._max_length]
        if full:
            self.cut += sum(bool(one.overflowing) for one in full)
        return encodings


def _encoded(tokenizer: Any, texts: list[str]) -> list[Any]:
    try:
        try:  # without the places of the tokens, which take a tenth of the time
            encodings: list[Any] = tokenizer.encode_batch_fast(texts)
        except (TypeError, UnicodeEncodeError):  # of lone surrogates, which are rare
            encodings = tokenizer.encode_batch_fast([_encodable(text) for text in texts])
    except BaseException as error:
        raise clean_error(error, "tokenizer.json: a text cannot be tokenised") from error
    return encodings


def texts_of(prompts: Sequence[Any], context: Context) -> list[str]:
    """Return what is routed of each prompt, text or chat; DataError for anything else."""
    if isinstance(prompts, str):
        raise DataError("expected a list of prompts, found one text; put it in a list")
    if not set(map(type, prompts)) - {str}:
        return list(prompts)
    if all(isinstance(one, Mapping) and ("role" in one or "from" in one) for one in prompts):
        raise DataError("expected a list of prompts, found messages; a chat is one prompt")
    texts = []
    for place, prompt in enumerate(prompts):
        if prompt is None:
            raise DataError(f"prompt {place}: expected text or a list of messages, found None")
        try:
            texts.append(prompt_of(prompt, context).text)
        except ValueError as error:
            raise DataError(f"prompt {place}: {error}") from error
    return texts


def cut_prompts(n_cut: int, n_prompts: int, max_length: int) -> str:
    """Say how many prompts are longer than the encoder reads.

    >>> cut_prompts(312, 20_000, 256)
    '312 of 20,000 prompts are longer than 256 tokens; what is beyond is not read'
    """
    verb = "is" if n_cut == 1 else "are"
    return (
        f"{n_cut:,} of {n_prompts:,} prompts {verb} longer than {max_length} tokens; "
        "what is beyond is not read"
    )


def _encodable(text: str) -> str:
    """Replace lone surrogates, which the tokeniser cannot take."""
    return text.encode("utf-8", "replace").decode("utf-8")
