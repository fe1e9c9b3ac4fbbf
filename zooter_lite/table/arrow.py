"""Reward tables that Arrow reads: Parquet files, `datasets` folders and hub names.

Large ones are mapped from disk: the text of the queries stays there (table/texts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from sys import intern
from typing import Any

from numpy.typing import NDArray

from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.table.reward_table import Column, RewardTable, build_table
from zooter_lite.table.texts import ArrowTexts

IN_MEMORY = 64 * 2**20  # bytes of a Parquet file, uncompressed, up to which it is simply read
TEXTS = 16 * 2**20  # bytes of queries up to which they become Python strings


def read_parquet(path: Path, responses: bool = True) -> RewardTable:
    """Read a Parquet file; one of more than `IN_MEMORY` goes through `datasets`.

    That keeps an Arrow copy in its own cache folder ($HF_DATASETS_CACHE), which is mapped.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("pyarrow", "fit", f"{path}: reading Parquet") from error
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected a Parquet file")
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table trips over repeated column names
            names = _wanted(file.schema_arrow.names, responses, str(path))
            if _size(file.metadata, names) > IN_MEMORY:
                return _from_arrow(_mapped(path, names), str(path))
            table = file.read(names).select(names)  # "a" alone would bring "a.b", too
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({_flat(error)})") from error
    return _from_arrow(table, str(path))


def _size(metadata: Any, names: Sequence[str]) -> int:
    """Bytes of these columns without compression."""
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    columns = (group.column(place) for group in groups for place in range(group.num_columns))
    kept = set(names)
    return sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema in kept or column.path_in_schema.partition(".")[0] in kept
    )


def _mapped(path: Path, names: list[str]) -> Any:
    """Arrow table of these columns, in files that are mapped into memory."""
    datasets = _datasets(str(path))
    try:
        loaded = datasets.Dataset.from_parquet(str(path), columns=names)
    except Exception as error:  # its builder raises many unrelated classes
        raise DataError(f"{path}: not a readable Parquet file ({_flat(error)})") from error
    return loaded.with_format("arrow")[:]


def is_response(name: str) -> bool:
    """Whether a column holds an expert's responses."""
    return name.startswith("response:")


def _wanted(names: list[str], responses: bool, source: str) -> list[str]:
    """Columns to read; an error where one stands twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{source}: column {repeated[0]!r} appears more than once")
    return [name for name in names if responses or not is_response(name)]


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())


def _from_arrow(table: Any, source: str) -> RewardTable:
    columns = {
        name: _arrow_column(name, table.column(name), f"{source}, column {name!r}")
        for name in table.column_names
    }
    return build_table(columns, source, lambda row: f"{source}, row {row + 1}")


def _arrow_column(name: str, column: Any, where: str) -> Column:
    import pyarrow as pa

    whole = pa.types.is_integer(column.type) and not column.null_count
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_floating(column.type) or whole:
        numbers: NDArray[Any] = column.to_numpy()
        return numbers
    try:
        if name == "query" and pa.types.is_string(column.type) and column.nbytes > TEXTS:
            column.validate(full=True)
            return ArrowTexts(column)
        if name in ("subset", "split") and pa.types.is_string(column.type):
            return [None if cell is None else intern(cell) for cell in column.to_pylist()]
        cells: list[Any] = column.to_pylist()
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise DataError(f"{where}: text that is not UTF-8") from error
    return cells


def read_datasets(source: str, responses: bool = True) -> RewardTable:
    """Read a saved `datasets` folder, or whatever `load_dataset` finds under a name."""
    datasets = _datasets(source)
    saved = any((Path(source) / name).exists() for name in ("state.json", "dataset_dict.json"))
    try:
        loaded = datasets.load_from_disk(source) if saved else datasets.load_dataset(source)
    except Exception as error:  # the hub client raises many unrelated classes
        kind = "not a saved datasets folder" if saved else "no such file, folder or hub dataset"
        raise DataError(f"{source}: {kind} ({_flat(error)})") from error
    if not isinstance(loaded, dict):
        return _from_arrow(_columns(loaded, responses, source), source)
    import pyarrow as pa

    parts = []
    for split, part in loaded.items():
        table = _columns(part, responses, source)
        if "split" not in table.column_names:
            table = table.append_column("split", pa.array([str(split)] * len(table), pa.string()))
        parts.append(table)
    try:
        table = pa.concat_tables(parts, promote_options="permissive")  # int beside float is float
    except pa.ArrowException as error:
        raise DataError(f"{source}: the splits do not fit together ({_flat(error)})") from error
    return _from_arrow(table, source)


def _columns(part: Any, responses: bool, source: str) -> Any:
    """Arrow table of the wanted columns, mapped where the data set is."""
    names = _wanted(list(part.column_names), responses, source)
    return part.select_columns(names).with_format("arrow")[:]


def _datasets(source: str) -> Any:
    try:
        import datasets
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "datasets", "fit", f"{source}: reading a datasets folder"
        ) from error
    return datasets
