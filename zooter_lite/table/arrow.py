"""Columns by way of Arrow: Parquet files, `datasets` folders, hub names, frames in memory.

Large ones are mapped from disk: the text of the queries stays there (`ArrowTexts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from zooter_lite.errors import DataError, needs
from zooter_lite.files.atomic import atomic_file
from zooter_lite.files.places import flat, refusals
from zooter_lite.files.rows import check_different
from zooter_lite.table.columns import NUMBERS, ArrowTexts, Column, Columns, Wanted, objects

IN_MEMORY = 32 * 2**20  # bytes of a Parquet file up to which it is simply read
TEXTS = 16 * 2**20  # bytes of queries up to which they become Python strings


def read_parquet(source: str, wanted: Wanted) -> Columns:
    """Read a Parquet file; one of more than `IN_MEMORY` goes through `datasets`.

    That keeps an Arrow copy in its own cache folder ($HF_DATASETS_CACHE), which is mapped.
    """
    with needs("fit", f"{source}: reading Parquet"):
        import pyarrow.parquet as parquet
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{source}: no such file")
    large = path.stat().st_size > IN_MEMORY
    if large:
        with needs("fit", f"{source}: mapping a large file"):
            import datasets
    with refusals(source, "not a readable Parquet file"), parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names  # read_table trips over repeated ones
        kept = _kept(names, wanted, source)
        if large:
            table = datasets.Dataset.from_parquet(source, columns=kept).with_format("arrow")[:]
        else:
            table = file.read(kept).select(kept)  # "a" alone would bring "a.b", too
    return _columns({name: table.column(name) for name in kept}, names, source)


def read_datasets(source: str, wanted: Wanted) -> Columns:
    """Read a saved `datasets` folder, or whatever `load_dataset` finds under a name."""
    with needs("fit", f"{source}: reading a datasets folder"):
        import datasets
    saved = any((Path(source) / name).exists() for name in ("state.json", "dataset_dict.json"))
    kind = "not a saved datasets folder" if saved else "no such file, folder or hub dataset"
    with refusals(source, kind):
        loaded = datasets.load_from_disk(source) if saved else datasets.load_dataset(source)
    return read_frame(loaded, source, wanted)


def read_frame(frame: Any, source: str, wanted: Wanted) -> Columns:
    """Read a pandas or polars frame, an Arrow table, or a data set of `datasets`.

    The parts of a `DatasetDict` stand one after another, with their names as the column
    'split' where they have none. DataError for anything else, or for a name that comes twice.
    """
    with needs("fit", f"{source}: reading a frame"):
        import pyarrow as pa
    if hasattr(frame, "iloc"):  # pandas, whose columns of objects may hold what Arrow cannot
        names = [str(name) for name in frame.columns]
        kept = _kept(names, wanted, source)
        series = {name: _of_series(name, frame.iloc[:, names.index(name)]) for name in kept}
        return _columns(series, names, source)
    tables, names = [], []
    for split, part in (frame if isinstance(frame, Mapping) else {"": frame}).items():
        table, own = _selected(part, source, wanted)
        if split and "split" not in own:
            table = table.append_column("split", pa.array([str(split)] * len(table), pa.string()))
        names += [*own, *table.column_names]
        tables.append(table)
    try:
        table = pa.concat_tables(tables, promote_options="permissive")  # int beside float is float
    except pa.ArrowException as error:
        raise DataError(f"{source}: the splits do not fit together ({flat(error)})") from error
    cells = {name: table.column(name) for name in table.column_names}
    return _columns(cells, list(dict.fromkeys(names)), source)


def _selected(part: Any, source: str, wanted: Wanted) -> tuple[Any, list[str]]:
    """Arrow table of the wanted columns of a data set or an Arrow table, and all their names."""
    import pyarrow as pa

    dataset = hasattr(part, "with_format") and hasattr(part, "num_rows")  # a stream has no number
    if not dataset:
        if not hasattr(part, "__arrow_c_stream__"):
            raise DataError(
                f"{source}: found {type(part).__name__}; expected a pandas or polars frame, "
                "a datasets.Dataset or an Arrow table"
            )
        part = pa.table(part)
    names = part.column_names
    kept = _kept(names, wanted, source)
    table = part.select_columns(kept).with_format("arrow")[:] if dataset else part.select(kept)
    return table, names


def _of_series(name: str, series: Any) -> Any:
    """Arrow column of a column of pandas; a list where its cells are of several types."""
    import pyarrow as pa

    try:
        return pa.table({name: series}).column(0)
    except (pa.ArrowException, UnicodeEncodeError):
        return list(series.astype(object).where(series.notna(), None))


def _kept(names: Sequence[str], wanted: Wanted, source: str) -> list[str]:
    check_different(names, source)
    kept = set(wanted(names))
    return [name for name in names if name in kept]


def _columns(columns: Mapping[str, Any], names: Sequence[str], source: str) -> Columns:
    """Make columns of Arrow's; a list stays one."""
    cells: dict[str, Column] = {}
    for name, column in columns.items():
        try:
            cells[name] = column if isinstance(column, list) else _column(name, column)
        except ValueError as error:  # of Arrow or of Unicode
            raise DataError(f"{source}, column {name!r}: text that is not UTF-8") from error
    return Columns(source, cells, names, lambda row: f"{source}, row {row + 1}")


def _column(name: str, column: Any) -> Column:
    import pyarrow as pa

    kind = column.type
    if name.startswith(NUMBERS) and (
        pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    ):
        numbers: Column = column.cast(pa.float64(), safe=False).to_numpy()
        return numbers
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if name == "query" and text and column.nbytes > TEXTS:
        column.validate(full=True)
        return ArrowTexts(column)
    cells = _python(column)
    if name in ("subset", "split") and text:
        return [None if cell is None else intern(cell) for cell in cells]
    return cells


def _python(column: Any) -> list[Any]:
    """Cells as Python objects; moments that Python has no objects for as ISO texts."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_time(kind) and kind.unit == "ns":
        return list(column.cast(pa.string()).to_pylist())
    try:
        if not pa.types.is_timestamp(kind) or kind.unit != "ns":  # which become objects of pandas
            return list(column.to_pylist())
    except OverflowError:
        pass
    texts = np.datetime_as_string(column.to_numpy()).tolist()
    return [None if text == "NaT" else text + ("+00:00" if kind.tz else "") for text in texts]


def write_parquet(columns: Mapping[str, Column], path: str) -> None:
    """Write columns as a Parquet file: numbers as float32, a column without any cell as text."""
    arrays = check_parquet(columns, path)
    import pyarrow as pa
    from pyarrow.parquet import write_table

    with atomic_file(Path(path)) as partial:
        write_table(pa.table(arrays), partial)


def check_parquet(columns: Mapping[str, Column], path: str) -> dict[str, Any]:
    """Return the columns as Arrow arrays; DataError for one that Parquet cannot hold."""
    with needs("fit", f"{path}: writing Parquet"):
        import pyarrow as pa
    arrays = {}
    for name, column in columns.items():
        kind = pa.float32() if isinstance(column, np.ndarray) else None
        try:
            array = pa.array(objects(column), kind)
            arrays[name] = array.cast(_named(array.type))
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            raise DataError(f"{path}: column {name!r} cannot be written ({flat(error)})") from error
    return arrays


def _named(kind: Any) -> Any:
    """Return the type, with text in the place of the type of empty cells."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return pa.list_(_named(kind.value_type))
    return pa.string() if pa.types.is_null(kind) else kind
