"""Columns of a table as they were read, whatever the format, and what their cells become."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.messages import Context, prompt_of
from zooter_lite.files.rows import listed, no_column
from zooter_lite.table.keys import id_of

Column = Sequence[Any] | NDArray[Any]
Wanted = Callable[[Sequence[str]], Collection[str]]  # which columns of these names are read
T = TypeVar("T")

TAG_SIGN = ";"  # between the tags of a text
_NUMBER = re.compile(r"\s*[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf|infinity)\s*", re.I)
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

    def experts(self, fewest: int = 2) -> list[str]:
        """Experts that the columns name; an error where columns are missing or do not fit."""
        source, names = self.source, self.names
        if "query" not in names:
            raise no_column(source, "query", names)
        experts = [name.removeprefix("reward:") for name in names if name.startswith("reward:")]
        for name in names:
            prefix, colon, expert = name.partition(":")
            near = get_close_matches(prefix.strip().lower(), ("reward", "cost"), 1, 0.75)
            if colon and near and prefix != near[0]:  # an expert would be left out, unnoticed
                raise DataError(f"{source}: column {name!r}: expected '{near[0]}:{expert}'")
            beside = colon and name in self.cells and prefix in ("cost", "response")
            if beside and expert not in experts:
                raise DataError(f"{source}: column {name!r} has no 'reward:{expert}' beside it")
        if "" in experts:
            raise DataError(f"{source}: column 'reward:' names no expert")
        if len(experts) < fewest:
            least = "two columns" if fewest > 1 else "one column"
            raise DataError(
                f"{source}: expected at least {least} named 'reward:<expert>', "
                f"found {len(experts)} among {listed(names)}"
            )
        return experts

    def matrix(self, prefix: str, experts: Sequence[str]) -> NDArray[np.float64]:
        """Numbers of all experts as (n_queries, n_experts), NaN where empty or absent."""
        values = np.full((len(self), len(experts)), np.nan)
        for place, expert in enumerate(experts):
            if prefix + expert in self.cells:
                values[:, place] = self.numbers(prefix + expert)
        return values

    def responses(self, experts: Sequence[str]) -> list[list[str | None]] | None:
        """Responses of all experts to each query; None where there is no such column."""
        names = [f"response:{expert}" for expert in experts]
        found = {name: self.converted(name, text) for name in names if name in self.cells}
        empty = [None] * len(self)
        rows = zip(*(found.get(name, empty) for name in names), strict=True)
        return [list(row) for row in rows] if found else None

    def scores(self, experts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Scores by scorer; one without a column for every expert is left out."""
        names = [name for name in self.cells if name.startswith("score:")]
        scorers = dict.fromkeys(name.split(":")[1] for name in names)
        return {
            scorer: self.matrix(f"score:{scorer}:", experts)
            for scorer in scorers
            if all(f"score:{scorer}:{expert}" in names for expert in experts)
        }

    def numbers(self, name: str) -> NDArray[np.float64]:
        """(n_rows,) numbers of a column, NaN where a cell is empty.

        DataError for a cell that is none, is not finite in 32 bits, or is no cost or chance where
        the column holds those.
        """
        cells = self.cells[name]
        if not isinstance(cells, np.ndarray):
            cells = self.converted(name, _number)
        values = np.asarray(cells, dtype=np.float64)
        with np.errstate(over="ignore"):
            wrong, what = np.isinf(values.astype(np.float32)), "is not finite in 32 bits"
        if name.startswith("cost:") and not wrong.any():
            wrong, what = values < 0, "is no cost; expected a number from 0"
        if name == "propensity" and not wrong.any():
            wrong = (values <= 0) | (values > 1)
            what = "is no chance; expected above 0 and at most 1"
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self.unfit(row, name, f"{self.cells[name][row]} {what}")
        return values

    def prompts(self, name: str, context: Context) -> list[str]:
        """Return what is routed of each prompt; DataError for one without text, or no chat."""
        return self.converted(name, lambda cell: filled_text(prompt_of(cell, context).text))

    def row_ids(self, queries: Sequence[str], unnamed: Callable[[int], str]) -> list[str]:
        """Names of the rows: the column query_id, and `unnamed` of the row where a cell is empty.

        DataError for a name that is no text or number, or stands at two different queries.
        """
        if "query_id" not in self.cells:
            return [unnamed(row) for row in range(len(queries))]
        names = self.converted("query_id", _id)
        first: dict[str, int] = {}
        for row, name in enumerate(names):
            before = first.setdefault(name, row) if name else row
            if before != row and queries[before] != queries[row]:
                raise DataError(
                    f"{self.where(row)}: query_id {name!r} stands at two different queries; "
                    f"the other is {self.where(before)}"
                )
        return [name or unnamed(row) for row, name in enumerate(names)]


def objects(column: Column) -> Sequence[Any]:
    """Cells as Python objects, None where a number is missing."""
    if not isinstance(column, np.ndarray):
        return column
    return [None if cell != cell else cell for cell in column.tolist()]


class ArrowTexts(Sequence[str]):
    """Texts that stay in an Arrow column, mostly mapped from disk, until they are asked for.

    `column` is a `pyarrow.ChunkedArray` of strings; `rows` are the positions in it that these
    texts are, None for all.
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


def _number(cell: object) -> float:
    """Return the cell's value, NaN for an empty cell; raise ValueError for what is no number."""
    if cell is None or cell == "":
        return float("nan")
    plain = isinstance(cell, (int, float)) and not isinstance(cell, bool)
    if not plain and not (isinstance(cell, str) and _NUMBER.fullmatch(cell)):
        raise ValueError(f"{cell!r} is not a number (leave the cell empty if it was not observed)")
    try:
        return float(cell)  # type: ignore[arg-type]
    except OverflowError:  # an integer beyond the largest float
        return float("inf")


def text(cell: object) -> str | None:
    """Return a text or None; raise ValueError for anything else."""
    if cell is not None and not isinstance(cell, str):
        raise ValueError(f"expected text, found {type(cell).__name__}")
    return cell


def subset_in(cell: object) -> str:
    """Return the name of a subset, "(none)" where the cell is empty."""
    found = text(cell) or ""
    return found if found.strip() else "(none)"


def filled_text(cell: object) -> str:
    """Return a text that is not empty; raise ValueError for anything else."""
    found = text(cell)
    if not found or not found.strip():
        raise ValueError("empty; expected text")
    return found


def tags_in(cell: object) -> list[str]:
    """Tags of a row, whose cell is a list of texts, or a text with ; between them."""
    parts = [] if cell is None else cell.split(TAG_SIGN) if isinstance(cell, str) else cell
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"expected a list of texts, found {cell!r}")
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _id(cell: object) -> str:
    if isinstance(cell, (list, dict)):
        raise ValueError(f"expected a text or a number, found {cell!r:.40}")
    return "" if cell is None else id_of(cell)
