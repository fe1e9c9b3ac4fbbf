"""Reward tables as other projects publish them: what they call our columns.

RouterBench has one row for each query; the others have one for each query and model, which
table/long.py turns. A dotted name stands for a key within a key.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from zooter_lite.errors import DataError
from zooter_lite.files.messages import nested
from zooter_lite.files.rows import JSON_KINDS, json_rows
from zooter_lite.table.columns import Column, Columns, taken
from zooter_lite.table.keys import id_of

SHAPES: tuple[Mapping[str, str], ...] = (
    {  # LLMRouter, routing data
        "model": "model_name", "reward": "performance", "query": "query",
        "query_id": "embedding_id", "subset": "task_name", "response": "response",
    },
    {  # LLMRouterBench, the records of its result files
        "model": "model_name", "reward": "score", "query": "prompt", "subset": "dataset_name",
        "cost": "cost", "response": "raw_output",
    },
    {  # RouterArena, cached results
        "model": "llm_selected", "reward": "evaluation_result.score", "query": "question",
        "subset": "global_index", "cost": "evaluation_result.inference_cost",
        "response": "generated_answer",
    },
    {  # RouterArena, predictions that it has evaluated
        "model": "prediction", "reward": "accuracy", "query": "prompt", "subset": "global index",
        "cost": "cost", "response": "generated_result.generated_answer",
    },
    {  # RouterBench, raw
        "model": "model_name", "reward": "performance", "query": "prompt",
        "query_id": "sample_id", "subset": "eval_name", "cost": "cost",
        "response": "model_response",
    },
)  # fmt: skip
_OPTIONAL = ("cost", "response")
_OURS = ("split", "tags", "propensity")  # columns that someone may have added
_WIDE = {"": "reward", "|total_cost": "cost", "|model_response": "response"}  # RouterBench
_NUMBER = re.compile(r"_\d+$")  # behind the subset in RouterArena's ids
_RUN = re.compile(r"-\d{8}_\d{6}(?=\.json$)")  # LLMRouterBench: the time of a run
_PEEKED = 8  # files of a folder that are looked at


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
        there = {ours for ours, theirs in shape.items() if _top(theirs, known) in known}
        if there >= shape.keys() - set(_OPTIONAL):
            return {theirs: ours for ours, theirs in shape.items() if ours in there}
    return {}


def columns_of(names: Sequence[str], *, responses: bool) -> set[str]:
    """Return which columns of a known shape are to be read."""
    known = set(names)
    wanted = names_of(names).items()
    return {_top(theirs, known) for theirs, ours in wanted if responses or "response" not in ours}


def renamed(columns: Columns) -> Columns:
    """Return the columns of a known shape under our names, and any others as they are.

    Of the rows of a query and a model the first with a reward counts.

    Raises
    ------
    DataError
        No row has a reward.
    """
    theirs, known = names_of(columns.names), set(columns.names)
    if not theirs:
        return columns
    cells = {name: columns.cells[name] for name in _OURS if name in columns.cells}
    for path, name in theirs.items():
        top = _top(path, known)
        if top not in columns.cells:  # responses that nobody asked for
            continue
        column = columns.cells[top]
        cells[name] = column if top == path else [_inner(cell, path) for cell in column]
        if path.startswith("global"):
            cells[name] = [_NUMBER.sub("", str(cell)) for cell in column]
        elif "eval_name" in theirs and name.partition(":")[0] in ("query", "response"):
            cells[name] = [_joined(cell) for cell in column]
    if "reward" not in cells:
        return Columns(columns.source, cells, list(cells), columns.where)
    rows = _first_rewarded(cells)
    if not len(rows):
        path = next(path for path, name in theirs.items() if name == "reward")
        raise DataError(f"{columns.source}: no row has {path!r}; expected a score of each answer")
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
            yield line, values
        elif not values.get("demo"):
            run = {name: values[name] for name in ("model_name", "dataset_name") if name in values}
            for record in records:
                if not isinstance(record, dict):
                    kind = type(record).__name__
                    raise DataError(f"{file}, line {line}: expected records, found {kind}")
                yield line, record | run


def result_files(folder: Path) -> list[str]:
    """Return the JSON files under a folder if theirs is a known shape; of each run the latest."""
    ends = tuple(f".{kind}" for kind in JSON_KINDS)
    files = sorted(str(path) for path in folder.rglob("*.*") if path.name.lower().endswith(ends))
    if any(names_of(list(row)) for file in files[:_PEEKED] for row in _peek(file)):
        return list({_RUN.sub("", file): file for file in files}.values())
    return []


def _peek(file: str) -> list[dict[str, object]]:
    try:
        return [row for _, row in islice(records_of(file), 1)]
    except DataError:
        return []


def _top(path: str, names: set[str]) -> str:
    return path if path in names else path.partition(".")[0]


def _inner(cell: object, path: str) -> object:
    try:
        return nested(cell, path.partition(".")[2]) if isinstance(cell, Mapping) else None
    except KeyError:
        return None


def _joined(cell: object) -> object:
    """Return the text of a list of texts that is written as Python writes it."""
    try:
        parts = ast.literal_eval(cell) if isinstance(cell, str) and cell[:1] == "[" else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell
    whole = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
    return "\n\n".join(parts) if whole else cell


def _first_rewarded(cells: Mapping[str, Column]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    keys, seen, rows = cells.get("query_id", cells["query"]), set(), []
    for row, (reward, model) in enumerate(zip(cells["reward"], cells["model"], strict=True)):
        pair = (id_of(keys[row]), str(model))
        if reward is not None and reward == reward and pair not in seen:
            seen.add(pair)
            rows.append(row)
    return np.asarray(rows, dtype=np.int64)
