"""Reward tables as other projects publish them: what they call our columns.

RouterBench has one row for each query; the others have one for each query and model, which
table/long.py turns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.places import JSON_KINDS
from zooter_lite.files.rows import json_rows
from zooter_lite.table.columns import Column, Columns, taken
from zooter_lite.table.keys import id_of

_NEEDED = ("model", "reward", "query", "subset")
OURS = (*_NEEDED, "cost", "response", "query_id")
SHAPES = (
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
_WIDE = {"": "reward", "|total_cost": "cost", "|model_response": "response"}  # RouterBench
_ADDED = ("split", "tags", "propensity")  # ours, which someone may have added
_INNER = ("evaluation_result", "generated_result")  # RouterArena: objects within a row
_NUMBER = re.compile(r"_\d+$")  # RouterArena: behind the subset in an id
_RUN = re.compile(r"-\d{8}_\d{6}(?=\.json$)")  # LLMRouterBench: the time of a run
_PEEKED = 64  # files of a folder, and rows of each, that tell what it holds


def names_of(names: Sequence[str]) -> dict[str, str]:
    """Return their name of each column to ours; empty where the columns are of no known shape."""
    known = set(names)
    if any(name.startswith("reward:") for name in names):
        return {}
    models = [name for name in names if {f"{name}|total_cost", f"{name}|model_response"} & known]
    if models and "prompt" in known:
        wide = {f"{one}{end}": f"{kind}:{one}" for one in models for end, kind in _WIDE.items()}
        wide |= {"prompt": "query", "eval_name": "subset"}
        return {theirs: ours for theirs, ours in wide.items() if theirs in known}
    for shape in SHAPES:
        if known.issuperset(shape[: len(_NEEDED)]):
            pairs = zip(shape, OURS, strict=True)
            return {theirs: ours for theirs, ours in pairs if theirs in known}
    return {}


def renamed(columns: Columns) -> Columns:
    """Return the columns of a known shape under our names, and any others as they are.

    Of the rows of a query and a model the first with a reward counts.

    Raises
    ------
    DataError
        No row has a reward.
    """
    theirs = names_of(columns.names)
    if not theirs:
        return columns
    cells = {name: columns.cells[name] for name in _ADDED if name in columns.cells}
    for name, ours in theirs.items():
        column = columns.cells.get(name)
        if column is None:  # responses that nobody asked for
            continue
        if name.startswith("global"):
            column = [_NUMBER.sub("", str(cell)) for cell in column]
        elif "eval_name" in theirs and ours.startswith(("query", "response")):
            column = [_joined(cell) for cell in column]
        cells[ours] = column
    if "reward" not in cells:
        return Columns(columns.source, cells, list(cells), columns.where)
    if any(cell is None or not str(cell).strip() for cell in cells.get("query_id", ())):
        del cells["query_id"]  # the queries tell themselves apart
    rows = _first_rewarded(cells)
    if not len(rows):
        raise DataError(f"{columns.source}: no row has a reward; expected one for each answer")
    cells = {name: taken(column, rows) for name, column in cells.items()}
    return Columns(columns.source, cells, list(cells), lambda row: columns.where(int(rows[row])))


def records_of(file: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the rows of a JSON file; of a result file of LLMRouterBench, each of its records.

    Raises
    ------
    DataError
        The file cannot be read, or a record is no object.
    """
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
    if any(names_of(_first_names(file)) for file in files[:_PEEKED]):
        return list({_RUN.sub("", file): file for file in files}.values())
    return []


def _first_names(file: str) -> list[str]:
    names: dict[str, None] = {}
    with suppress(DataError):
        for _, row in islice(records_of(file), _PEEKED):
            names |= dict.fromkeys(row)
    return list(names)


def _joined(cell: object) -> object:
    """Return the text of a list of texts that is written as Python writes it."""
    try:
        listed = isinstance(cell, str) and cell.startswith(("['", '["'))
        parts = ast.literal_eval(str(cell)) if listed else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return cell
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        return "\n\n".join(parts)
    return cell


def _first_rewarded(cells: Mapping[str, Column]) -> NDArray[np.int64]:
    keys, seen, rows = cells.get("query_id", cells["query"]), set(), []
    for row, (reward, model) in enumerate(zip(cells["reward"], cells["model"], strict=True)):
        pair = (id_of(keys[row]), str(model))
        if reward is not None and reward == reward and pair not in seen:
            seen.add(pair)
            rows.append(row)
    return np.asarray(rows, dtype=np.int64)
