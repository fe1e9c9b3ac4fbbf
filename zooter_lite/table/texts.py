"""A column of text that stays on disk: Arrow's, mapped into memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class ArrowTexts(Sequence[str]):
    """Texts of an Arrow column, each made a Python string when it is asked for.

    Parameters
    ----------
    column
        A `pyarrow.ChunkedArray` of strings.
    rows
        Positions in the column that these texts are; None takes all.
    """

    def __init__(self, column: Any, rows: NDArray[np.int64] | None = None) -> None:
        self._column = column
        self._chunks: list[Any] = column.chunks
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks]).tolist()
        self._rows = rows

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        row = range(len(self))[place]
        if self._rows is not None:
            row = int(self._rows[row])
        chunk = bisect_right(self._ends, row)
        start = self._ends[chunk - 1] if chunk else 0
        text: str = self._chunks[chunk][row - start].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))

    def take(self, rows: NDArray[np.int64]) -> ArrowTexts:
        """Return the texts at these positions, without reading them."""
        return ArrowTexts(self._column, rows if self._rows is None else self._rows[rows])


def taken(texts: Sequence[str], rows: NDArray[np.int64]) -> Sequence[str]:
    """Texts at these positions: on disk where they were, else a list."""
    if isinstance(texts, ArrowTexts):
        return texts.take(rows)
    return [texts[row] for row in rows.tolist()]
