"""Columns made into the parts of a reward table, each cell checked where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.messages import Context, prompt_of
from zooter_lite.files.rows import listed, no_column
from zooter_lite.table.columns import Column, Columns, Where
from zooter_lite.table.keys import id_of

TAG_SIGN = ";"  # between the tags of a text
_NUMBER = re.compile(r"\s*[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf|infinity)\s*", re.I)


def unfit(where: Where, row: int, name: str, what: str) -> DataError:
    """Make the error for a cell that is not what its column needs."""
    return DataError(f"{where(row)}, column {name!r}: {what}")


def experts_of(columns: Columns, fewest: int = 2) -> list[str]:
    """Experts that the columns name; an error where columns are missing or do not fit."""
    source, names = columns.source, columns.names
    if "query" not in names:
        raise no_column(source, "query", names)
    experts = [name.removeprefix("reward:") for name in names if name.startswith("reward:")]
    for name in names:
        prefix, colon, expert = name.partition(":")
        near = get_close_matches(prefix.strip().lower(), ("reward", "cost"), 1, 0.75)
        if colon and near and prefix != near[0]:  # an expert would be left out, unnoticed
            raise DataError(f"{source}: column {name!r}: expected '{near[0]}:{expert}'")
    if "" in experts:
        raise DataError(f"{source}: column 'reward:' names no expert; expected 'reward:<expert>'")
    if len(experts) < fewest:
        raise DataError(
            f"{source}: expected at least {'two columns' if fewest > 1 else 'one column'} named "
            "'reward:<expert>', "
            f"found {len(experts)} among {listed(names)}"
        )
    for name in columns.cells:
        prefix, _, expert = name.partition(":")
        if prefix in ("cost", "response") and expert not in experts:
            raise DataError(f"{source}: column {name!r} has no column 'reward:{expert}' beside it")
    return experts


def matrix(columns: Columns, prefix: str, experts: Sequence[str]) -> NDArray[np.float64]:
    """Numbers of all experts as (n_queries, n_experts), NaN where empty or absent."""
    values = np.full((len(columns), len(experts)), np.nan)
    for place, expert in enumerate(experts):
        name = prefix + expert
        if name in columns.cells:
            values[:, place] = numbers(name, columns.cells[name], columns.where)
            below = np.flatnonzero(values[:, place] < 0).tolist() if prefix == "cost:" else []
            if below:
                what = f"{columns.cells[name][below[0]]} is no cost; expected a number from 0"
                raise unfit(columns.where, below[0], name, what)
    return values


def responses_of(columns: Columns, experts: Sequence[str]) -> list[list[str | None]] | None:
    """Responses of all experts to each query; None where there is no such column."""
    names = [f"response:{expert}" for expert in experts]
    found = {name: columns.cells[name] for name in names if name in columns.cells}
    if not found:
        return None
    for name, cells in found.items():
        check_texts(name, cells, columns.where, empty=True)
    empty = [None] * len(columns)
    return [list(row) for row in zip(*(found.get(name, empty) for name in names), strict=True)]


def scores_of(columns: Columns, experts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Scores by scorer; one without a column for every expert is left out."""
    names = [name for name in columns.cells if name.startswith("score:")]
    scorers = dict.fromkeys(name.split(":")[1] for name in names)
    return {
        scorer: matrix(columns, f"score:{scorer}:", experts)
        for scorer in scorers
        if all(f"score:{scorer}:{expert}" in names for expert in experts)
    }


def numbers(name: str, cells: Column, where: Where) -> NDArray[np.float64]:
    """(n_rows,) numbers, NaN where a cell is empty.

    DataError for a cell that is none, or is not finite in 32 bits.
    """
    values = np.empty(len(cells), dtype=np.float64)
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
        values[:] = cells
    else:
        for row, cell in enumerate(cells):
            try:
                values[row] = _number(cell)
            except ValueError as error:
                what = f"{cell!r} is not a number (leave the cell empty if it was not observed)"
                raise unfit(where, row, name, what) from error
    with np.errstate(over="ignore"):
        infinite = np.flatnonzero(np.isinf(values.astype(np.float32))).tolist()
    if infinite:
        what = f"{cells[infinite[0]]} is not finite in 32 bits; expected a number"
        raise unfit(where, infinite[0], name, what)
    return values


def propensities(columns: Columns, rewards: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n_queries,) chances of the choices, NaN where unknown or beside several rewards.

    DataError for a cell that is no number from above 0 to 1.
    """
    values = numbers("propensity", columns.cells["propensity"], columns.where)
    wrong = np.flatnonzero((values <= 0) | (values > 1)).tolist()
    if wrong:
        what = f"{values[wrong[0]]:g}; expected the chance of the choice, above 0 and at most 1"
        raise unfit(columns.where, wrong[0], "propensity", what)
    return np.where((~np.isnan(rewards)).sum(axis=1) == 1, values, np.nan)


def _number(cell: object) -> float:
    """Return the cell's value, NaN for an empty cell; raise ValueError for what is no number."""
    if cell is None or cell == "":
        return float("nan")
    if isinstance(cell, bool) or not isinstance(cell, (str, int, float)):
        raise ValueError(cell)
    if isinstance(cell, str) and not _NUMBER.fullmatch(cell):
        raise ValueError(cell)
    try:
        return float(cell)
    except OverflowError:  # an integer beyond the largest float
        return float("inf")


def check_texts(name: str, cells: Column, where: Where, *, empty: bool) -> None:
    """Raise DataError where a cell is no text, or, unless `empty` is right, has none."""
    for row, cell in enumerate(cells):
        if cell is not None and not isinstance(cell, str):
            raise unfit(where, row, name, f"expected text, found {type(cell).__name__}")
        if not empty and (cell is None or not cell.strip()):
            raise unfit(where, row, name, "empty; expected text")


def prompts(name: str, cells: Column, where: Where, context: Context) -> list[str]:
    """Return what is routed of each prompt; DataError for one without text, or no chat."""
    texts = []
    for row, cell in enumerate(cells):
        try:
            text = prompt_of(cell, context).text
        except ValueError as error:
            raise unfit(where, row, name, str(error)) from error
        if not text.strip():
            raise unfit(where, row, name, "empty; expected text")
        texts.append(text)
    return texts


def tag_lists(cells: Column, where: Where) -> list[list[str]]:
    """Tags of each row, whose cell is a list of texts, or a text with ; between them."""
    lists = []
    for row, cell in enumerate(cells):
        parts = [] if cell is None else cell.split(TAG_SIGN) if isinstance(cell, str) else cell
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise unfit(where, row, "tags", f"expected a list of texts, found {cell!r}")
        lists.append(list(dict.fromkeys(part.strip() for part in parts if part.strip())))
    return lists


def row_ids(columns: Columns, queries: Column, unnamed: Callable[[int], str]) -> list[str]:
    """Names of the rows: the column query_id, and `unnamed` of the row where a cell is empty.

    DataError for a name that is no text or number, or stands at two different queries.
    """
    if "query_id" not in columns.cells:
        return [unnamed(row) for row in range(len(queries))]
    names, first = [], dict[str, int]()
    for row, cell in enumerate(columns.cells["query_id"]):
        if isinstance(cell, (list, dict)):
            raise DataError(
                f"{columns.where(row)}: query_id is {cell!r:.40}, expected a text or a number"
            )
        if cell is None or cell == "":
            names.append(unnamed(row))
            continue
        names.append(id_of(cell))
        before = first.setdefault(names[row], row)
        if before != row and queries[before] != queries[row]:
            raise DataError(
                f"{columns.where(row)}: query_id {names[row]!r} stands at two different queries; "
                f"the other is {columns.where(before)}"
            )
    return names
