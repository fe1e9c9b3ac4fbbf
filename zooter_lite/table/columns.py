"""Columns of a table as they were read, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError

Column = Sequence[Any] | NDArray[Any]
Wanted = Callable[[Sequence[str]], Collection[str]]  # which columns of these names are read
T = TypeVar("T")

NUMBERS = ("reward:", "cost:", "score:")  # names of columns of numbers begin so


@dataclass(frozen=True)
class Columns:
    """Columns of a file or frame; numbers may be arrays, with NaN where they are empty."""

    source: str  # what messages call it
    cells: dict[str, Column]  # of the wanted columns, all of one length; None where empty
    names: Sequence[str]  # of all columns
    where: Callable[[int], str]  # words that locate a row, such as "prompts.csv, line 14"

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()), ()))

    def unfit(self, row: int, name: str, what: object) -> DataError:
        """Make the error for a cell that is not what its column needs."""
        return DataError(f"{self.where(row)}, column {name!r}: {what}")

    def converted(self, name: str, convert: Callable[[Any], T]) -> list[T]:
        """Convert the cells of a column; where that raises ValueError, DataError locates it."""
        values = []
        for row, cell in enumerate(self.cells[name]):
            try:
                values.append(convert(cell))
            except ValueError as error:
                raise self.unfit(row, name, error) from error
        return values


def objects(column: Column) -> Sequence[Any]:
    """Cells as Python objects, None where a number is missing."""
    if not isinstance(column, np.ndarray):
        return column
    return [None if cell != cell else cell for cell in column.tolist()]


class ArrowTexts(Sequence[str]):
    """Texts that stay in an Arrow column, mostly mapped from disk, until they are asked for.

    Parameters
    ----------
    column
        A `pyarrow.ChunkedArray` of strings.
    rows
        Positions in the column that these texts are; None takes all.
    """

    def __init__(self, column: Any, rows: NDArray[np.int64] | None = None) -> None:
        self.column = column
        self.rows = np.arange(len(column)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:  # a text, or the list of a slice
        rows = self.rows[place]
        if isinstance(place, slice):
            return [self.column[row].as_py() for row in rows.tolist()]
        return self.column[int(rows)].as_py()


def taken(cells: Column | None, rows: NDArray[np.int64]) -> Any:
    """Cells at these positions: texts on disk where they were, an array as one, else a list."""
    if isinstance(cells, ArrowTexts):
        return ArrowTexts(cells.column, cells.rows[rows])
    if cells is None or isinstance(cells, np.ndarray):
        return None if cells is None else cells[rows]
    return [cells[row] for row in rows.tolist()]
