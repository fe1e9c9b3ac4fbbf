"""Other shapes of reward tables: a row for each query and model, and what projects publish.

RouterBench has a row for each query; all others have one for each query and model.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from zooter_lite.errors import DataError
from zooter_lite.files.places import JSON_KINDS
from zooter_lite.files.rows import json_rows, no_column
from zooter_lite.table.columns import Column, Columns
from zooter_lite.table.keys import id_of

OF_QUERY = ("query_id", "query", "subset", "split", "tags", "propensity")
OF_EXPERT = ("reward:", "cost:", "response:", "score:")
LONG = {  # our name of a column of a long table, and what other tools call it
    "model": ("model", "model_name", "expert", "llm"),
    "reward": ("performance", "reward", "score", "quality"),
    "cost": ("cost", "total_cost"),
    "response": ("response", "output"),
}
_OURS = ("model", "reward", "query", "subset", "cost", "response", "query_id")
_NEEDED = 4  # of these have to be there
PUBLISHED = (
    # LLMRouter, routing data
    ("model_name", "performance", "query", "task_name", "", "response", "embedding_id"),
    # LLMRouterBench, records of its result files
    ("model_name", "score", "prompt", "dataset_name", "cost", "raw_output", ""),
    # RouterArena, cached results
    ("llm_selected", "score", "question", "global_index", "inference_cost", "generated_answer", ""),
    # RouterArena, predictions that it has evaluated
    ("prediction", "accuracy", "prompt", "global index", "cost", "generated_answer", ""),
    # RouterBench, raw
    ("model_name", "performance", "prompt", "eval_name", "cost", "model_response", "sample_id"),
)
_WIDE = {"reward": "", "cost": "|total_cost", "response": "|model_response"}  # RouterBench
_INNER = ("evaluation_result", "generated_result")  # RouterArena: objects within a row
_NUMBER = re.compile(r"_\d+$")  # RouterArena: behind the subset in an id
_RUN = re.compile(r"-\d{8}_\d{6}(?=\.json$)")  # LLMRouterBench: the time of a run
_PEEKED = 64  # files of a folder, and rows of each, that tell what it holds


def columns_of(names: Sequence[str], long: Sequence[str] = ()) -> dict[str, str]:
    """Return the columns that a reward table is made of: our name of each, and theirs.

    `long` names the columns of the model and of the reward where they are unusual.
    """
    own = {name: name for name in names if name in OF_QUERY or name.startswith(OF_EXPERT)}
    if not long:
        if any(name.startswith("reward:") for name in names):
            return own
        if published := _published(names):
            added = {name: name for name in ("split", "tags", "propensity") if name in names}
            return added | published
    known = {ours: [name for name in theirs if name in names] for ours, theirs in LONG.items()}
    turned = {ours: theirs[0] for ours, theirs in known.items() if theirs}
    return own | turned | dict(zip(("model", "reward"), long, strict=False))


def _published(names: Sequence[str]) -> dict[str, str]:
    """Return our name and theirs of the columns of a published shape; empty for any other."""
    pairs: list[tuple[str, str]] = []
    beside = [end for end in _WIDE.values() if end]
    models = [name for name in names if any(f"{name}{end}" in names for end in beside)]
    if models and "prompt" in names:
        pairs = [("query", "prompt"), ("subset", "eval_name")]
        pairs += [(f"{ours}:{m}", f"{m}{end}") for m in models for ours, end in _WIDE.items()]
    else:
        shape = next((one for one in PUBLISHED if {*one[:_NEEDED]} <= {*names}), ())
        pairs = list(zip(_OURS, shape, strict=False))
    return {ours: theirs for ours, theirs in pairs if theirs in names}


def in_our_shape(columns: Columns, long: Sequence[str] = ()) -> Columns:
    """Return a row for each query, with reward:<model> and what stands beside it.

    Rows of one query_id, or where there is none of one text, are one query's. A pair of query
    and model without a row has no reward. Of several rows of a pair the first with a reward
    counts in a published shape; in any other they are an error, as is a row without a model.
    """
    theirs = columns_of(columns.names, long)
    published = not long and bool(_published(columns.names))
    turned = {"model", "reward"} <= theirs.keys()
    if not published and not turned:
        return columns
    for ours in ("query", "model", "reward") if turned else ():
        if theirs.get(ours) not in columns.cells:
            raise no_column(columns.source, theirs.get(ours, ours), columns.names)
    cells = {
        ours: _plain(columns.cells[name], name, theirs.get("subset"))
        if published
        else columns.cells[name]
        for ours, name in theirs.items()
        if name in columns.cells  # of responses that nobody asked for nothing was read
    }
    unnamed = any(cell is None or not str(cell).strip() for cell in cells.get("query_id", ()))
    if published and unnamed:
        del cells["query_id"]  # the queries tell themselves apart
    if not turned:
        return Columns(columns.source, cells, list(cells), columns.where)
    return _turned(columns, cells, published=published)


def _turned(columns: Columns, cells: Mapping[str, Column], *, published: bool) -> Columns:
    """Make one row of the rows of each query."""
    keys = cells.get("query_id", cells["query"])
    rows: dict[str, int] = {}  # of the first row of each query
    places: dict[tuple[str, str], int] = {}  # of the row of each query and model
    for row, (model, reward) in enumerate(zip(cells["model"], cells["reward"], strict=True)):
        if published and (reward is None or reward != reward):
            continue
        if model is None or not str(model).strip():
            raise DataError(f"{columns.where(row)}, column 'model': empty; expected a model")
        key = id_of(keys[row])
        before = places.setdefault((key, str(model)), row)
        if before != row and not published:
            raise DataError(
                f"{columns.where(row)}: a second row of {model!r} for one query; the first is "
                f"{columns.where(before)}"
            )
        rows.setdefault(key, row)
    if published and not rows:
        raise DataError(f"{columns.source}: no row has a reward; expected one for each answer")
    firsts = list(rows.values())
    wide: dict[str, Column] = {
        name: [cells[name][row] for row in firsts] for name in OF_QUERY if name in cells
    }
    for model in dict.fromkeys(model for _, model in places):
        of_model = [places.get((key, model)) for key in rows]
        for prefix in ("reward", "cost", "response"):
            if prefix in cells:
                column = cells[prefix]
                cell_of = [None if row is None else column[row] for row in of_model]
                wide[f"{prefix}:{model}"] = cell_of
    return Columns(columns.source, wide, list(wide), lambda row: columns.where(firsts[row]))


def _plain(column: Column, name: str, subset: str | None) -> Column:
    """Return a column of a published shape, told by its column of subsets, as we write it."""
    if name == subset and name.startswith("global"):
        return [_NUMBER.sub("", str(cell)) for cell in column]
    if subset == "eval_name" and (name == "prompt" or name.endswith("model_response")):
        return [_joined(cell) for cell in column]
    return column


def _joined(cell: object) -> object:
    """Return the text of a list of texts that is written as Python writes it (RouterBench)."""
    try:
        listed = isinstance(cell, str) and cell.startswith(("['", '["'))
        parts = ast.literal_eval(str(cell)) if listed else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return cell
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        return "\n\n".join(parts)
    return cell


def records_of(file: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the rows of a JSON file; of a result file of LLMRouterBench, each of its records."""
    for line, values in json_rows(file):
        records = values.get("records")
        if not isinstance(records, list) or "model_name" not in values:
            for name in _INNER:
                inner = values.get(name)
                values |= inner if isinstance(inner, dict) else {}
            yield line, values
            continue
        run = {name: values.get(name) for name in ("model_name", "dataset_name")}
        for record in records if not values.get("demo") else ():
            if not isinstance(record, dict):
                raise DataError(f"{file}, line {line}: expected objects as records")
            yield line, record | run


def result_files(folder: Path) -> list[str]:
    """Return the JSON files under a folder if theirs is a known shape; of each run the latest."""
    ends = tuple(f".{kind}" for kind in JSON_KINDS)
    files = sorted(str(path) for path in folder.rglob("*.*") if path.name.lower().endswith(ends))
    if any(_published(_first_names(file)) for file in files[:_PEEKED]):
        return list({_RUN.sub("", file): file for file in files}.values())
    return []


def _first_names(file: str) -> list[str]:
    names: dict[str, None] = {}
    with suppress(DataError):
        for _, row in islice(records_of(file), _PEEKED):
            names |= dict.fromkeys(row)
    return list(names)
