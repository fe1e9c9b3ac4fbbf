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
from zooter_lite.files.places import flat
from zooter_lite.files.rows import check_different
from zooter_lite.table.columns import NUMBERS, ArrowTexts, Column, Columns, Wanted, objects

IN_MEMORY = 32 * 2**20  # bytes of a Parquet file up to which it is simply read
TEXTS = 16 * 2**20  # bytes of queries up to which they become Python strings


def read_parquet(source: str, wanted: Wanted) -> Columns:
    """Read a Parquet file; one of more than `IN_MEMORY` goes through `datasets`.

    That keeps an Arrow copy in its own cache folder ($HF_DATASETS_CACHE), which is mapped.
    """
    with needs("fit", f"{source}: reading Parquet"):
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{source}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{source}: the file is empty; expected a Parquet file")
    try:
        with ParquetFile(path) as file:  # read_table trips over repeated names
            names = file.schema_arrow.names
            kept = _kept(names, wanted, source)
            if path.stat().st_size > IN_MEMORY:
                table = _mapped(source, kept)
            else:
                table = file.read(kept).select(kept)  # "a" alone would bring "a.b", too
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: not a readable Parquet file ({flat(error)})") from error
    return _columns(table, names, source)


def _mapped(source: str, names: list[str]) -> Any:
    """Arrow table of these columns, in files that are mapped into memory."""
    with needs("fit", f"{source}: mapping a large file"):
        import datasets
    try:
        loaded = datasets.Dataset.from_parquet(source, columns=names)
    except Exception as error:  # its builder raises many unrelated classes
        raise DataError(f"{source}: not a readable Parquet file ({flat(error)})") from error
    return loaded.with_format("arrow")[:]


def read_datasets(source: str, wanted: Wanted) -> Columns:
    """Read a saved `datasets` folder, or whatever `load_dataset` finds under a name."""
    with needs("fit", f"{source}: reading a datasets folder"):
        import datasets
    saved = any((Path(source) / name).exists() for name in ("state.json", "dataset_dict.json"))
    try:
        loaded = datasets.load_from_disk(source) if saved else datasets.load_dataset(source)
    except Exception as error:  # the hub client raises many unrelated classes
        kind = "not a saved datasets folder" if saved else "no such file, folder or hub dataset"
        raise DataError(f"{source}: {kind} ({flat(error)})") from error
    return read_frame(loaded, source, wanted)


def read_frame(frame: Any, source: str, wanted: Wanted) -> Columns:
    """Read a pandas or polars frame, an Arrow table, or a data set of `datasets`.

    The parts of a `DatasetDict` stand one after another, with their names as the column
    'split' where they have none.

    Raises
    ------
    DataError
        It is nothing of that kind, or names a column twice.
    """
    with needs("fit", f"{source}: reading a frame"):
        import pyarrow as pa
    if isinstance(frame, Mapping) and frame and all(map(_is_dataset, frame.values())):
        return _joined(frame, source, wanted)
    if hasattr(frame, "iloc"):  # pandas, whose columns of objects may hold what Arrow cannot
        names = [str(name) for name in frame.columns]
        kept = _kept(names, wanted, source)
        series = {name: frame.iloc[:, names.index(name)] for name in kept}
        cells = {name: _of_series(name, one, source) for name, one in series.items()}
        return Columns(source, cells, names, lambda row: f"{source}, row {row + 1}")
    if not _is_dataset(frame):
        if not hasattr(frame, "__arrow_c_stream__"):
            raise DataError(
                f"{source}: found {type(frame).__name__}; expected a pandas or polars frame, "
                "a datasets.Dataset or an Arrow table"
            )
        frame = pa.table(frame)
    return _columns(_picked(frame, wanted, source), frame.column_names, source)


def _is_dataset(frame: object) -> bool:
    return hasattr(frame, "with_format") and hasattr(frame, "num_rows")  # one that streams has none


def _joined(parts: Mapping[str, Any], source: str, wanted: Wanted) -> Columns:
    import pyarrow as pa

    tables, names = [], dict[str, None]()
    for split, part in parts.items():
        table = _picked(part, wanted, source)
        if "split" not in table.column_names:
            table = table.append_column("split", pa.array([str(split)] * len(table), pa.string()))
        tables.append(table)
        names |= dict.fromkeys([*part.column_names, "split"])
    try:
        table = pa.concat_tables(tables, promote_options="permissive")  # int beside float is float
    except pa.ArrowException as error:
        raise DataError(f"{source}: the splits do not fit together ({flat(error)})") from error
    return _columns(table, list(names), source)


def _of_series(name: str, series: Any, source: str) -> Column:
    import pyarrow as pa

    try:
        column = pa.table({name: series}).column(0)
    except (pa.ArrowException, UnicodeEncodeError):  # cells of several types
        return list(series.astype(object).where(series.notna(), None))
    return _column(name, column, source)


def _kept(names: Sequence[str], wanted: Wanted, source: str) -> list[str]:
    check_different(names, source)
    kept = set(wanted(names))
    return [name for name in names if name in kept]


def _picked(frame: Any, wanted: Wanted, source: str) -> Any:
    """Arrow table of the wanted columns of a data set or an Arrow table."""
    kept = _kept(frame.column_names, wanted, source)
    return (
        frame.select_columns(kept).with_format("arrow")[:]
        if _is_dataset(frame)
        else frame.select(kept)
    )


def _columns(table: Any, names: Sequence[str], source: str) -> Columns:
    kept = table.column_names
    cells = {name: _column(name, table.column(name), source) for name in kept}
    return Columns(source, cells, names, lambda row: f"{source}, row {row + 1}")


def _column(name: str, column: Any, source: str) -> Column:
    import pyarrow as pa

    kind = column.type
    if name.startswith(NUMBERS):
        if pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        if pa.types.is_floating(column.type) or (
            pa.types.is_integer(kind) and not column.null_count
        ):
            numbers: Column = column.to_numpy()
            return numbers
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    try:
        if name == "query" and text and column.nbytes > TEXTS:
            column.validate(full=True)
            return ArrowTexts(column)
        cells: list[Any] = _python(column)
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise DataError(f"{source}, column {name!r}: text that is not UTF-8") from error
    if name in ("subset", "split") and text:
        return [None if cell is None else intern(cell) for cell in cells]
    return cells


def _python(column: Any) -> list[Any]:
    """Cells as Python objects; moments that Python has no objects for as ISO texts."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_time(kind) and kind.unit == "ns":
        return list(column.cast(pa.string()).to_pylist())
    if not pa.types.is_timestamp(kind):
        return list(column.to_pylist())
    try:
        if kind.unit != "ns":  # which become objects of pandas
            return list(column.to_pylist())
    except OverflowError:
        pass
    moments, zone = column.to_numpy(), "+00:00" if kind.tz else ""
    texts = np.datetime_as_string(moments).tolist()
    return [None if text == "NaT" else text + zone for text in texts]


def write_parquet(columns: Mapping[str, Column], path: str) -> None:
    """Write columns as a Parquet file: numbers as float32, a column without any cell as text.

    Raises
    ------
    DataError
        A column holds cells of several types, or the file cannot be written.
    """
    arrays = check_parquet(columns, path)
    with needs("fit", f"{path}: writing Parquet"):
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
