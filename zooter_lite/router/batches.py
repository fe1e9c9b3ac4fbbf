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


def batches(
    tokens: Sequence[Ids], budget: int = TOKENS_PER_BATCH, *, exact: bool = False
) -> list[Ids]:
    """Positions of the texts of each batch, by ascending length; at most `budget` padded tokens.

    An exact batch holds texts of one exact length, in multiples of `ROWS`.
    """
    lengths = [_exact_length(len(ids)) if exact else len(ids) for ids in tokens]
    together: list[list[int]] = []
    for position in np.argsort(lengths, kind="stable").tolist():
        length = lengths[position]
        rows = _rows(length) if exact else 1
        most = max(1, budget // max(1, length) // rows) * rows
        last = together[-1] if together else None
        if last is None or len(last) >= most or (exact and lengths[last[0]] != length):
            together.append([position])
        else:
            last.append(position)
    return [np.asarray(batch) for batch in together]


def feed(tokens: Sequence[Ids], *, exact: bool = False) -> Feed:
    """Pad the texts of a batch, to the longest or the exact length; at least one column.

    An exact batch is filled up to whole multiples of its rows.
    """
    if len(tokens) == 1 and len(tokens[0]) and not exact:  # a request, which needs no padding
        return {"input_ids": tokens[0][None], "attention_mask": np.ones_like(tokens[0][None])}
    length, n_rows = max(1, *map(len, tokens)), len(tokens)
    if exact:
        length = _exact_length(length)
        n_rows = -(-n_rows // _rows(length)) * _rows(length)
    lengths = np.zeros(n_rows, dtype=np.int64)
    lengths[: len(tokens)] = [len(ids) for ids in tokens]
    mask = np.arange(length) < lengths[:, None]
    input_ids = np.zeros(mask.shape, dtype=np.int64)
    input_ids[mask] = np.concatenate(tokens)
    mask[len(tokens) :, 0] = True  # a row without tokens would be divided by zero
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
