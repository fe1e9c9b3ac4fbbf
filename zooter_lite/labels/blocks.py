"""Work on the rows of a large array block by block, side by side, with results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zooter_lite.cores import cores

ROWS = 8192  # of a block; with the order of the sums, part of what makes equal fits equal
T = TypeVar("T")


class RowsOf:
    """Some rows of a matrix, such as one mapped from disk; a slice copies its rows alone."""

    def __init__(self, matrix: NDArray[np.floating], rows: NDArray[np.int64]) -> None:
        self.matrix, self.rows = matrix, rows
        self.shape, self.dtype = (len(rows), matrix.shape[1]), matrix.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> NDArray[Any]:
        return self.matrix[self.rows[part]]


Matrix = NDArray[np.floating] | RowsOf


def in_blocks(work: Callable[[slice], T], n_rows: int, jobs: int = -1) -> Iterator[T]:
    """Yield what `work` returns for each block of rows, first to last.

    The blocks do not depend on `jobs` (threads; -1 takes every core), so neither does a sum
    over the results. A single block, or a single job, is done in the caller's thread. Libraries
    that would use threads of their own are for the caller to limit.
    """
    blocks = [slice(start, min(start + ROWS, n_rows)) for start in range(0, n_rows, ROWS)]
    workers = cores() if jobs == -1 else jobs
    if workers == 1 or len(blocks) < 2:
        yield from map(work, blocks)
        return
    with ThreadPoolExecutor(workers, "zooter-rows") as pool:
        yield from pool.map(work, blocks)


def for_blocks(work: Callable[[slice], None], n_rows: int, jobs: int = -1) -> None:
    """Do `work`, which keeps its own results, for each block of rows."""
    for _ in in_blocks(work, n_rows, jobs):
        pass
