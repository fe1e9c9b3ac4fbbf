"""Ways of reading a prompt that is longer than the encoder's window, and their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from zooter_lite.cores import cores
from zooter_lite.encode.cache import EmbeddingCache
from zooter_lite.encode.encoder import Encoder, cache_key
from zooter_lite.router.session import batches, feed

Ids = NDArray[np.int64]
FloatArray = NDArray[np.float32]
WINDOW = 256  # tokens, the first and the last of which are special


def both_ends(ids: Ids, first: int, last: int) -> list[Ids]:
    """Return one text of the first and the last tokens.

    >>> both_ends(np.arange(9), 3, 2)
    [array([0, 1, 2, 7, 8])]
    """
    return [np.concatenate([ids[:first], ids[-last:]])]


def windows(ids: Ids, length: int = WINDOW) -> list[Ids]:
    """Return the text in pieces, one behind the other, each between the special tokens.

    >>> windows(np.arange(6), 4)
    [array([0, 1, 2, 5]), array([0, 3, 4, 5])]
    """
    inner = ids[1:-1]
    parts = np.split(inner, range(length - 2, len(inner), length - 2))
    return [np.concatenate([ids[:1], part, ids[-1:]]) for part in parts]


READINGS: dict[str, Callable[[Ids], list[Ids]]] = {
    "128 + 128": lambda ids: both_ends(ids, 128, 128),
    "192 + 64": lambda ids: both_ends(ids, 192, 64),
    "first 512": lambda ids: both_ends(ids, min(len(ids), 512) - 1, 1),
    "windows": windows,
}


class Reader:
    """An encoder's graph without its limit of tokens.

    Parameters
    ----------
    encoder
        Its graph must have 512 positions.
    cache
        Folder of embeddings, kept apart for each way of reading.
    """

    def __init__(self, encoder: Encoder, cache: Path) -> None:
        self._encoder, self._cache = encoder, cache
        self._tokenizer = Tokenizer.from_str(encoder.tokenizer)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(encoder.graph, options)
        self._workers = ThreadPoolExecutor(cores())

    def tokens(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, whole, with special tokens."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]

    def embed(self, texts: Sequence[str], name: str) -> FloatArray:
        """(n, dim) unit embeddings of texts by one of `READINGS`.

        Of windows it is the mean, each weighing as much as it has tokens; the first is what
        the encoder reads anyway.
        """
        spec = self._encoder.spec
        kept = EmbeddingCache(self._cache, f"{cache_key(spec)}-{name}", spec.dim)

        def encode(some: Sequence[str]) -> FloatArray:
            pieces = [READINGS[name](ids) for ids in self.tokens(some)]
            sums = np.zeros((len(pieces), spec.dim))
            if name == "windows":
                sums += (WINDOW - 2) * self._encoder.embed(some, self._cache)
                pieces = [own[1:] for own in pieces]
            owner = np.repeat(np.arange(len(pieces)), [len(own) for own in pieces])
            flat = [piece for own in pieces for piece in own]
            weights = np.asarray([len(piece) - 2 for piece in flat], dtype=np.float64)
            np.add.at(sums, owner, weights[:, None] * self._units(flat))
            return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)

        return kept.embed(texts, encode)

    def _units(self, pieces: list[Ids]) -> FloatArray:
        units = np.zeros((len(pieces), self._encoder.spec.dim), dtype=np.float32)

        def work(batch: Ids) -> None:
            inputs = feed([pieces[place] for place in batch])
            units[batch] = self._session.run(["unit"], inputs)[0]

        list(self._workers.map(work, batches(pieces)))
        return units
