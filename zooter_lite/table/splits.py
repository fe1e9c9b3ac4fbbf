"""Which rows are learned from and which are evaluated, before a fit."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.table.reward_table import RewardTable

Numbers = TypeVar("Numbers", bound=np.generic)


def with_splits(
    table: RewardTable, hold_out: float, drop_leaks: bool
) -> tuple[RewardTable, list[str]]:
    """Make sure of splits; count, and drop if asked, evaluated rows whose query stands in train.

    A table without splits gets them: the share `hold_out` of its queries is "test". Returned are
    the table, with the rows of each split side by side, and what is to be said about it.
    DataError where no row is of the split "train".
    """
    notes = []
    if table.splits is None:
        table = table.hold_out(hold_out)
        notes.append(f"no column 'split': {hold_out:.0%} of the queries are held out as 'test'")
    if not len(table.rows("train")):
        found = ", ".join(sorted(set(table.splits or [])))
        raise DataError(f"no row has the split 'train'; found {found}")
    leaks = table.leaks()
    if len(leaks):
        done = "dropped" if drop_leaks else "kept; --drop-leaks removes them"
        notes.append(f"{len(leaks)} evaluated rows have a query that also stands in train ({done})")
        if drop_leaks:
            table = table.take(np.setdiff1d(np.arange(len(table)), leaks))
    order = np.argsort(np.asarray(table.splits), kind="stable")
    return table if (np.diff(order) == 1).all() else table.take(order), notes


def part_of(values: NDArray[Numbers], rows: NDArray[np.int64]) -> NDArray[Numbers]:
    """Rows of an array: not copied where they stand side by side."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:  # for rows that ascend
        return values[int(rows[0]) : int(rows[-1]) + 1]
    return values[rows]
