"""Long tables: one row for each query and model, turned into one row for each query."""

from __future__ import annotations

from collections.abc import Sequence

from zooter_lite.errors import DataError
from zooter_lite.files.rows import no_column
from zooter_lite.table.columns import Column, Columns
from zooter_lite.table.keys import id_of

MODEL = ("model", "model_name", "expert", "llm")  # as other tools name the columns
REWARD = ("performance", "reward", "score", "quality")
COST = ("cost", "total_cost")
RESPONSE = ("response", "output")
_OF_QUERY = ("query_id", "query", "subset", "split", "tags", "propensity")
NAMES = frozenset((*MODEL, *REWARD, *COST, *RESPONSE))


def is_long(names: Sequence[str], long: Sequence[str] = ()) -> bool:
    """Whether these are columns of a long table; `long` names those of model and reward."""
    if any(name.startswith("reward:") for name in names):
        return False
    return bool(long) or bool(_first(MODEL, names) and _first(REWARD, names))


def widened(columns: Columns, long: Sequence[str] = ()) -> Columns:
    """Turn a long table: a row for each query, with reward:<model> and what stands beside it.

    Rows of one query_id, or where there is none of one text, are one query's. A pair of query
    and model without a row has no reward.

    Parameters
    ----------
    long
        Names of the columns of the model and of the reward; empty takes the usual ones.

    Raises
    ------
    DataError
        A column is missing, a row names no model, or two rows are of one query and model.
    """
    names, cells = columns.names, columns.cells
    model, reward = long or (_first(MODEL, names), _first(REWARD, names))
    for name in (model, reward, "query"):
        if name not in cells:
            raise no_column(columns.source, str(name), names)
    values = {
        prefix: cells[name]
        for prefix, name in (
            ("reward", reward), ("cost", _first(COST, names)), ("response", _first(RESPONSE, names))
        )
        if name is not None
    }  # fmt: skip
    keys = cells.get("query_id", cells["query"])
    rows: dict[str, int] = {}  # of the first row of each query
    models: dict[str, None] = {}
    places: dict[tuple[str, str], int] = {}
    for row, cell in enumerate(cells[str(model)]):
        if cell is None or not str(cell).strip():
            raise DataError(f"{columns.where(row)}, column {model!r}: empty; expected a model")
        key, name = id_of(keys[row]), str(cell)
        rows.setdefault(key, row)
        models.setdefault(name)
        before = places.setdefault((key, name), row)
        if before != row:
            raise DataError(
                f"{columns.where(row)}: a second row of {name!r} for one query; the first is "
                f"{columns.where(before)}"
            )
    firsts = list(rows.values())
    wide: dict[str, Column] = {
        name: [cells[name][row] for row in firsts] for name in _OF_QUERY if name in cells
    }
    for name in models:
        found = [places.get((key, name)) for key in rows]
        for prefix, column in values.items():
            wide[f"{prefix}:{name}"] = [None if row is None else column[row] for row in found]
    return Columns(columns.source, wide, list(wide), lambda row: columns.where(firsts[row]))


def _first(known: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in known if name in names), None)
