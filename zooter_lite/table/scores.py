"""Scores of single scorers that `score` leaves in a reward table beside the rewards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.table.queries import SUFFIXES, query_id, read_queries
from zooter_lite.table.reward_table import RewardTable

Array = NDArray[np.float64]

_PREFIX = "score:"


def read_scores(source: str, table: RewardTable) -> dict[str, Array]:
    """Read the columns `score:<scorer>:<expert>` of a reward table's file.

    Parameters
    ----------
    source
        The file that `table` was read from; other forms of tables hold no scores.
    table
        Rows and experts to read them for, in this order.

    Returns
    -------
    Per scorer (n_queries, n_experts), NaN where there is no score. A scorer without a
    column for every expert is left out.

    Raises
    ------
    DataError
        A score is not a number.
    """
    if not source.lower().endswith(SUFFIXES):
        return {}
    queries = read_queries(source, "query")
    names = [name for name in queries.columns if name.startswith(_PREFIX)]
    scorers = dict.fromkeys(name.split(":")[1] for name in names)
    whole = [s for s in scorers if all(f"{_PREFIX}{s}:{e}" in names for e in table.experts)]
    if not whole:
        return {}
    row_of = dict(zip(queries.ids, queries.rows, strict=True))
    rows = [
        row_of.get(name) or row_of.get(query_id(text)) or {}
        for name, text in zip(table.query_ids, table.queries, strict=True)
    ]
    return {
        scorer: np.asarray(
            [
                [_number(row, f"{_PREFIX}{scorer}:{e}", source) for e in table.experts]
                for row in rows
            ]
        )
        for scorer in whole
    }


def _number(row: dict[str, object], name: str, source: str) -> float:
    cell = row.get(name)
    if cell is None or cell == "":
        return float("nan")
    try:
        return float(str(cell))
    except ValueError as error:
        raise DataError(f"{source}, column {name!r}: {cell!r} is not a number") from error
