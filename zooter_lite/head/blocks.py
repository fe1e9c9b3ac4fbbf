"""Work on the rows of a large array block by block, side by side, with results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from zooter_lite.untrusted.limits import cores

ROWS = 8192  # of a block; with the order of the sums, part of what makes equal fits equal
T = TypeVar("T")


def in_blocks(work: Callable[[slice], T], n_rows: int, jobs: int = -1) -> Iterator[T]:
    """Yield what `work` returns for each block of rows, first to last.

    The blocks do not depend on `jobs` (threads; -1 takes every core), so neither does a sum
    over the results.

    Examples
    --------
    >>> list(in_blocks(lambda rows: (rows.start, rows.stop), 10_000))
    [(0, 8192), (8192, 10000)]
    """
    blocks = [slice(start, min(start + ROWS, n_rows)) for start in range(0, n_rows, ROWS)]
    workers = cores() if jobs == -1 else jobs
    with threadpool_limits(1), ThreadPoolExecutor(workers, "zooter-rows") as pool:
        yield from pool.map(work, blocks)


def for_blocks(work: Callable[[slice], None], n_rows: int, jobs: int = -1) -> None:
    """Do `work`, which keeps its own results, for each block of rows."""
    for _ in in_blocks(work, n_rows, jobs):
        pass
