"""Reward tables on disk: .parquet, .jsonl, .csv (and .gz), `datasets` folders, hub names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.rows import TEXT_SUFFIXES, RowWriter, atomic_file, atomic_text, open_rows
from zooter_lite.table.arrow import is_response, read_datasets, read_parquet
from zooter_lite.table.reward_table import RewardTable, build_table

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def sample_path() -> str:
    """Path of the bundled sample: prompts answered by pocket experts (recipes/pocket)."""
    return str(resources.files("zooter_lite.table").joinpath("sample.jsonl.gz"))


def read_table(source: str, responses: bool = True) -> RewardTable:
    """Read and validate a reward table.

    Large Parquet files, and what `datasets` reads, are mapped from disk: their queries stay
    there. Text files are read into memory whole.

    Parameters
    ----------
    source
        A .parquet, .jsonl or .csv file (the last two also .gz), a folder saved by
        `datasets`, a folder or hub name that `datasets.load_dataset` reads.
    responses
        Whether the columns "response:<expert>" are read; they outweigh all others.

    Raises
    ------
    DataError
        With the file, row and column, and what was expected there.
    MissingPackageError
        The format needs a package of the `[fit]` extra.
    """
    path = Path(source)
    if source.lower().endswith(TEXT_SUFFIXES):
        return _read_text(source, responses)
    if source.lower().endswith(".parquet"):
        return read_parquet(path, responses)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:  # such as a name that is too long
        raise DataError(f"{source}: {error.strerror}") from error
    if is_folder:
        return read_datasets(source, responses)
    if exists:
        expected = ", ".join((".parquet", *TEXT_SUFFIXES))
        raise DataError(f"{source}: unknown format; expected a name ending in {expected}")
    if _HUB_NAME.fullmatch(source) and not source.startswith("."):
        return read_datasets(source, responses)
    raise DataError(f"{source}: no such file or folder")


def _read_text(source: str, responses: bool) -> RewardTable:
    lines: list[int] = []
    columns: dict[str, list[Any]] = {}
    with open_rows(source) as reader:
        is_csv = reader.columns is not None
        columns = {name: [] for name in reader.columns or [] if responses or not is_response(name)}
        for row in reader.rows:
            for name in row.values:
                if name not in columns and (responses or not is_response(name)):  # a new JSON key
                    columns[name] = [None] * len(lines)
            for name, cells in columns.items():
                cell = row.values.get(name)
                cells.append(None if is_csv and cell == "" else cell)
            lines.append(row.line)
    return build_table(columns, source, lambda row: f"{source}, line {lines[row]}")


def write_table(
    table: RewardTable, path: str, scores: Mapping[str, NDArray[np.floating]] | None = None
) -> None:
    """Write a reward table as .parquet, .jsonl or .csv (the last two also .gz), atomically.

    Parameters
    ----------
    scores
        Further columns of numbers by name, (n_queries,) each; NaN leaves a cell empty.

    Raises
    ------
    DataError
        The folder cannot be written, the format is unknown, or a tag holds the
        ';' that separates tags in CSV.
    """
    if path.lower().endswith(".parquet"):
        _write_parquet(table, path, scores or {})
        return
    names = [*_column_names(table), *(scores or {})]
    is_csv = path.lower().endswith((".csv", ".csv.gz"))
    if not path.lower().endswith(TEXT_SUFFIXES):
        expected = ", ".join((".parquet", *TEXT_SUFFIXES))
        raise DataError(f"{path}: unknown format; expected a name ending in {expected}")
    cell = _column_cells(table, scores or {})
    with atomic_text(path) as stream:
        writer = RowWriter(stream, "csv" if is_csv else "jsonl", names)
        for row in range(len(table)):
            values = {name: cell(name, row) for name in names}
            if is_csv and table.tags is not None:
                if any(";" in tag for tag in table.tags[row]):
                    raise DataError(
                        f"{path}: a tag of row {row + 1} holds ';', which CSV cannot keep"
                    )
                values["tags"] = ";".join(table.tags[row])
            writer.write([values])


def _write_parquet(
    table: RewardTable, path: str, scores: Mapping[str, NDArray[np.floating]]
) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("pyarrow", "fit", f"{path}: writing Parquet") from error
    cell = _column_cells(table, scores)
    arrays: dict[str, Any] = {}
    for name in [*_column_names(table), *scores]:
        cells = [cell(name, row) for row in range(len(table))]
        numeric = name.startswith(("reward:", "cost:")) or name in scores
        listed = name == "tags"
        kind = pa.float32() if numeric else pa.list_(pa.string()) if listed else pa.string()
        try:
            arrays[name] = pa.array(cells, kind)
        except UnicodeEncodeError as error:
            raise DataError(f"{path}: column {name!r} cannot be written ({error})") from error
    with atomic_file(Path(path)) as partial:
        pq.write_table(pa.table(arrays), partial)


def _column_names(table: RewardTable) -> list[str]:
    names = ["query_id", "query", "subset"]
    names += ["split"] if table.splits is not None else []
    names += ["tags"] if table.tags is not None else []
    names += [f"reward:{expert}" for expert in table.experts]
    names += [f"cost:{expert}" for expert in table.experts] if table.costs is not None else []
    names += [f"response:{e}" for e in table.experts] if table.responses is not None else []
    return names


def _column_cells(
    table: RewardTable, scores: Mapping[str, NDArray[np.floating]]
) -> Callable[[str, int], Any]:
    """Return a function from (column name, row) to the cell; None where nothing was observed."""
    place = {expert: i for i, expert in enumerate(table.experts)}
    plain: dict[str, Sequence[Any] | None] = {
        "query_id": table.query_ids,
        "query": table.queries,
        "subset": table.subsets,
        "split": table.splits,
        "tags": table.tags,
    }

    def cell(name: str, row: int) -> Any:
        if name in scores:
            value = scores[name][row]
            return None if np.isnan(value) else float(value)
        prefix, _, expert = name.partition(":")
        if not expert:
            values = plain[name]
            return None if values is None else values[row]
        if prefix == "response":
            return None if table.responses is None else table.responses[row][place[expert]]
        matrix = table.rewards if prefix == "reward" else table.costs
        if matrix is None or np.isnan(matrix[row, place[expert]]):
            return None
        return json.loads(str(matrix[row, place[expert]]))  # the shortest text that reads back

    return cell
