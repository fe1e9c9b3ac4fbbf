"""Which texts stand together in a batch, and how they are padded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Feed = dict[str, NDArray[np.int64]]

TOKENS_PER_BATCH = 512  # padding and cache, not arithmetic, decide the speed of a batch
ROWS = 8  # of an exact batch, or a multiple: no operator then treats its last rows apart
_STEPS = ((32, 2), (64, 4), (128, 8))  # up to this many tokens, exact lengths are multiples of
_LAST_STEP = 16


def batches(tokens: Sequence[Ids], budget: int = TOKENS_PER_BATCH) -> list[Ids]:
    """Positions of the texts of each batch, by ascending length; at most `budget` padded tokens."""
    lengths = np.asarray([len(ids) for ids in tokens], dtype=np.int64)
    together: list[Ids] = []
    batch: list[int] = []
    for position in np.argsort(lengths, kind="stable").tolist():
        if batch and lengths[position] * (len(batch) + 1) > budget:
            together.append(np.asarray(batch))
            batch = []
        batch.append(position)
    return [*together, np.asarray(batch)] if batch else together


def exact_batches(tokens: Sequence[Ids], budget: int = TOKENS_PER_BATCH) -> list[Ids]:
    """Positions of the texts of each batch: texts of one exact length, by ascending length."""
    lengths = np.asarray([_exact_length(len(ids)) for ids in tokens], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    starts = np.flatnonzero(np.diff(lengths[order], prepend=0))
    together: list[Ids] = []
    for group in np.split(order, starts[1:]) if len(order) else []:
        length = int(lengths[group[0]])
        size = max(1, budget // length // _rows(length)) * _rows(length)
        together += np.split(group, range(size, len(group), size))
    return together


def feed(tokens: Sequence[Ids]) -> Feed:
    """Pad to the longest; at least one column, since a tokeniser may return no token."""
    if len(tokens) == 1 and len(tokens[0]):  # a request, which needs no padding
        return {"input_ids": tokens[0][None], "attention_mask": np.ones_like(tokens[0][None])}
    return _padded(tokens, len(tokens), max(1, *map(len, tokens)))


def exact_feed(tokens: Sequence[Ids]) -> Feed:
    """Pad to the exact length of the texts, and to whole multiples of its rows."""
    length = _exact_length(len(tokens[0]))
    padded = _padded(tokens, -(-len(tokens) // _rows(length)) * _rows(length), length)
    padded["attention_mask"][len(tokens) :, 0] = 1  # a row without tokens would be divided by zero
    return padded


def _padded(tokens: Sequence[Ids], n_rows: int, length: int) -> Feed:
    lengths = np.zeros(n_rows, dtype=np.int64)
    lengths[: len(tokens)] = [len(ids) for ids in tokens]
    mask = np.arange(length) < lengths[:, None]
    input_ids = np.zeros(mask.shape, dtype=np.int64)
    input_ids[mask] = np.concatenate(tokens)
    return {"input_ids": input_ids, "attention_mask": mask.astype(np.int64)}


def _exact_length(length: int) -> int:
    """Return the padded length of a text in an exact batch.

    >>> [_exact_length(n) for n in (0, 3, 32, 33, 65, 129)]
    [2, 4, 32, 36, 72, 144]
    """
    step = next((step for most, step in _STEPS if length <= most), _LAST_STEP)
    return max(1, -(-length // step)) * step


def _rows(length: int) -> int:
    """Rows of an exact batch of this length, or a multiple: a long text stands alone."""
    return ROWS if length <= TOKENS_PER_BATCH else 1
