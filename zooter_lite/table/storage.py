"""Tables on disk: Parquet, CSV and JSON (the last two also .gz), `datasets` folders, the hub.

The one reader and the one writer of reward tables and of files of queries.
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from numbers import Integral, Real
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from zooter_lite.errors import DataError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.files.dialect import separator_of, written_with
from zooter_lite.files.lines import csv_line, json_line
from zooter_lite.files.rows import TEXT_SUFFIXES, csv_rows, is_csv
from zooter_lite.table.arrow import check_parquet, read_datasets, read_parquet, write_parquet
from zooter_lite.table.columns import NUMBERS, TAG_SIGN, Column, Columns, Wanted
from zooter_lite.table.shapes import records_of, result_files

SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
_HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")


def table_name(source: str) -> str:
    """Name of a table by the file it stands in.

    >>> table_name("tables/mine.csv.gz")
    'mine'
    """
    name = Path(source).name
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def read_columns(source: str, wanted: Wanted, separator: str = "") -> Columns:
    """Read the wanted columns of a table, from whatever `RewardTable.read` takes; same errors."""
    if source.lower().endswith(TEXT_SUFFIXES):
        if is_csv(source):
            return _read_csv(source, wanted, separator)
        return _read_json(source, [source], wanted)
    if source.lower().endswith(".parquet"):
        return read_parquet(source, wanted)
    path = Path(source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:  # such as a name that is too long
        raise DataError(f"{source}: {error.strerror}") from error
    if exists and not is_folder:
        raise _unknown(source)
    files = result_files(path) if is_folder else []
    if files:
        return _read_json(source, files, wanted)
    # data/rewards is a mistyped file, not a name of the hub, where there is a folder data
    if is_folder or (_HUB_NAME.fullmatch(source) and not path.parent.exists()):
        return read_datasets(source, wanted)
    raise DataError(f"{source}: no such file or folder")


def _read_csv(source: str, wanted: Wanted, separator: str) -> Columns:
    rows = csv_rows(source, lambda name: name.startswith(NUMBERS), separator)
    _, names = next(rows)
    cells: dict[str, list[Any]] = {name: [] for name in wanted(names)}
    places = [(names.index(name), column) for name, column in cells.items()]
    lines = []
    for line, row in rows:
        lines.append(line)
        for place, column in places:
            column.append(row[place] or None)
    return Columns(source, dict(cells), names, lambda row: f"{source}, line {lines[row]}")


def _read_json(source: str, files: Sequence[str], wanted: Wanted) -> Columns:
    """Read the rows of JSON files, one file after another."""
    names: dict[str, None] = {}
    cells: dict[str, list[Any]] = {}
    lines: list[int] = []
    starts = []  # the first row of each file
    for file in files:
        starts.append(len(lines))
        for line, values in records_of(file):
            if not values.keys() <= names.keys():
                names |= dict.fromkeys(values)
                new = [name for name in wanted(list(names)) if name not in cells]
                cells |= {name: [None] * len(lines) for name in new}
            for name, column in cells.items():
                column.append(values.get(name))
            lines.append(line)
    return Columns(
        source,
        dict(cells),
        list(names),
        lambda row: f"{files[bisect(starts, row) - 1]}, line {lines[row]}",
    )


def write_columns(columns: Mapping[str, Column], path: str) -> None:
    """Write columns of equal length; the file appears whole.

    DataError for an unknown format, one that cannot hold a cell, or a file that cannot be written.
    """
    if path.lower().endswith(".parquet"):
        write_parquet(columns, path)
        return
    if not path.lower().endswith(TEXT_SUFFIXES):
        raise _unknown(path)
    as_csv, separator = is_csv(path), written_with(path)
    rows = zip(*(_written(name, cells, path) for name, cells in columns.items()), strict=True)
    with atomic_text(path) as stream:
        for number, row in enumerate(chain([tuple(columns)], rows)):
            try:
                if as_csv:
                    line = csv_line(row, separator)
                    if not number and separator_of(line)[0] != separator:
                        stream.write(f"sep={separator}\n")  # the names hold more of another sign
                    stream.write(line)
                elif number:
                    stream.write(json_line(dict(zip(columns, row, strict=True))))
            except ValueError as error:  # a NUL, or what is no UTF-8
                what = f"row {number}" if number else "the header"
                raise DataError(f"{path}: {what} cannot be written ({error})") from error


def check_cells(columns: Mapping[str, Column], path: str) -> None:
    """Raise DataError, before any work, for a column that the format of `path` cannot hold."""
    if path.lower().endswith(".parquet"):
        check_parquet(columns, path)
        return
    for name, cells in columns.items():
        for _ in _written(name, cells, path):
            pass


def _written(name: str, cells: Column, path: str) -> Iterator[Any]:
    """Yield the cells of a column as the format of `path` can hold them."""
    convert = csv_cell if is_csv(path) else json_cell
    for cell in cells:
        try:
            # of an array, the shortest number that reads back
            yield convert(float(str(cell)) if isinstance(cells, np.ndarray) else cell)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}: column {name!r} cannot be written ({error}); leave it out of the "
                "input, or write .parquet"
            ) from error


def json_cell(cell: object) -> object:
    """Return a cell as JSON can hold it; None for NaN and infinity, ValueError for bytes.

    >>> json_cell([Decimal("0.10"), date(2024, 5, 1), math.nan])
    ['0.10', '2024-05-01', None]
    """
    if cell is None or isinstance(cell, (str, bool)):
        return cell
    if isinstance(cell, (datetime, date, time)):
        return None if cell != cell else cell.isoformat()  # pandas' NaT equals nothing
    if isinstance(cell, (Decimal, UUID, timedelta)):
        return str(cell)
    if isinstance(cell, Integral):
        return int(cell)
    if isinstance(cell, Real):
        return float(cell) if math.isfinite(cell) else None
    if isinstance(cell, Mapping):
        return {str(key): json_cell(value) for key, value in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [json_cell(part) for part in cell]
    raise ValueError(f"it holds {type(cell).__name__}, which this format has no form for")


def csv_cell(cell: object) -> object:
    """Return a cell as CSV can hold it: of a list of texts, the texts with ; between them.

    ValueError for bytes, a list of something else, or one with ; in a text.
    """
    plain = json_cell(cell)
    parts = plain if isinstance(plain, list) else []
    if isinstance(plain, dict) or any(isinstance(part, (list, dict)) for part in parts):
        raise ValueError("it holds objects, or lists of lists, which CSV has no form for")
    if not isinstance(plain, list):
        return plain
    if any(TAG_SIGN in str(part) for part in plain):
        raise ValueError(f"a text of a list holds {TAG_SIGN!r}, which CSV cannot keep")
    return TAG_SIGN.join("" if part is None else str(part) for part in plain)


def _unknown(path: str) -> DataError:
    return DataError(f"{path}: unknown format; expected a name ending in {', '.join(SUFFIXES)}")
