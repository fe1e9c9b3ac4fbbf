"""Parquet in pieces: read by row groups, carried as Arrow streams, written as one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from zooter_lite.bulk.block import Block
from zooter_lite.bulk.parse import Bad
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.records import Piece
from zooter_lite.files.store import Source, flat, open_raw

ROWS_PER_PIECE = 65_536  # at most; fewer where rows are long
_GROUP_ROWS = 2**17  # of the row groups that are written
_GROUP_BYTES = 2**26
_BUFFER = 2**20  # bytes read at a time of each column, so that row groups may be huge
_TEXTS = ("string", "large_string", "string_view", "null")


def arrow(path: str) -> Any:
    """Return the pyarrow package with its Parquet part.

    Raises
    ------
    MissingPackageError
        It is not installed; `path` needs it.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError("pyarrow", "batch", f"{path}: Parquet") from error
    return pyarrow


@contextmanager
def open_parquet(source: Source) -> Iterator[Any]:
    """Open a Parquet file without reading its rows.

    Raises
    ------
    DataError
        It is none, or cut short.
    """
    pa = arrow(source.path)
    with open_raw(source.path) as stream:
        with _readable(pa, source):
            file = pa.parquet.ParquetFile(
                stream, buffer_size=_BUFFER, page_checksum_verification=True
            )
            file.schema_arrow.names  # noqa: B018 - which may be damaged too
        with file:
            yield file


@contextmanager
def _readable(pa: Any, source: Source) -> Iterator[None]:
    """Turn what damaged files raise into a `DataError`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{source.name}: not a readable Parquet file ({flat(error)})") from error


def parquet_columns(file: Any, source: Source, column: str) -> tuple[str, ...]:
    """Names of the columns; the one that holds the prompts must hold text.

    Raises
    ------
    DataError
        It does not, or a name stands twice.
    """
    pa = arrow(source.path)
    schema = file.schema_arrow
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise DataError(f"{source.name}: column {repeated[0]!r} appears more than once")
    if column in schema.names:
        kind = schema.field(column).type
        inner = kind.value_type if pa.types.is_dictionary(kind) else kind
        if str(inner) not in _TEXTS:
            raise DataError(f"{source.name}: column {column!r} holds {kind}, expected text")
    return tuple(schema.names)


def parquet_pieces(file: Any, source: Source, size: int, start: int) -> Iterator[Piece]:
    """Yield the rows from `start` on, in pieces of about `size` bytes.

    The pieces are the same wherever reading starts, as long as it is where one ended.

    Raises
    ------
    DataError
        The file is damaged.
    """
    pa = arrow(source.path)
    with _readable(pa, source):
        rows = _rows_per_piece(file.metadata, size)
        first = 0
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if first + count > start:
                skip = max(0, start - first)
                last = first
                for piece in _group_pieces(pa, file, group, first, skip, rows):
                    last = piece.last
                    yield piece
                if last != first + count:
                    raise ValueError(f"row group {group} ends at row {last} of {first + count}")
            first += count


def _rows_per_piece(metadata: Any, size: int) -> int:
    total: int = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    per_row = max(1, total // max(1, metadata.num_rows))
    return max(1, min(ROWS_PER_PIECE, int(size // per_row)))


def _group_pieces(
    pa: Any, file: Any, group: int, first: int, skip: int, rows: int
) -> Iterator[Piece]:
    place = 0
    for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
        place += batch.num_rows
        if place > skip:
            end = first + place
            yield Piece(_stream(pa, batch), end - batch.num_rows + 1, end, end)


def _stream(pa: Any, batch: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


class ParquetBlock:
    """The rows of a block of Parquet.

    Attributes
    ----------
    prompts
        Text of each row; "" for a null, and for a row that cannot be routed.
    bad
        Rows that cannot be routed.
    """

    def __init__(self, block: Block, column: str) -> None:
        self._arrow = arrow(block.name)
        self._batch = next(iter(self._arrow.ipc.open_stream(block.piece.raw)))
        self._first = block.piece.line
        self.bad: list[Bad] = []
        self.prompts = self._texts(self._batch.column(column))

    def _texts(self, column: Any) -> list[str]:
        try:
            return [text or "" for text in column.to_pylist()]
        except UnicodeDecodeError:
            pass
        texts = []
        for row, cell in enumerate(column):
            try:
                texts.append(cell.as_py() or "")
            except UnicodeDecodeError as error:
                reason = f"the prompt is not UTF-8 (byte 0x{error.object[error.start]:02x})"
                self.bad.append(Bad(self._first + row, reason, error.object, len(error.object)))
                texts.append("")
        return texts

    def with_columns(
        self, names: Sequence[str], cells: Sequence[Sequence[object]], *, left_out: bool
    ) -> bytes:
        """Return the rows with the added columns as an Arrow stream.

        With `left_out`, without the rows that cannot be routed.
        """
        pa = self._arrow
        batch = self._batch
        for place, name in enumerate(names):
            kind = pa.float64() if place else pa.string()
            values = pa.array([row[place] for row in cells], kind)
            batch = batch.append_column(name, values)
        if left_out and self.bad:
            lost = {row.line - self._first for row in self.bad}
            batch = batch.filter(pa.array([row not in lost for row in range(len(cells))]))
        return _stream(pa, batch)


def write_parquet(spool: IO[bytes], target: Path, schema: Any, source: Source) -> None:
    """Write one Parquet file from Arrow streams that stand one after another in `spool`.

    Raises
    ------
    DataError
        Parquet cannot hold a type of the columns.
    OSError
        The disk refuses.
    """
    pa = arrow(source.path)
    try:
        with pa.parquet.ParquetWriter(target, schema) as writer:
            for table in _groups(pa, spool, schema):
                writer.write_table(table)
    except pa.ArrowException as error:
        raise DataError(f"{source.name}: cannot be written as Parquet ({flat(error)})") from error


def _groups(pa: Any, spool: IO[bytes], schema: Any) -> Iterator[Any]:
    waiting: list[Any] = []
    rows = size = 0
    for batch in _batches(pa, spool):
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(waiting, schema)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema)


def _batches(pa: Any, spool: IO[bytes]) -> Iterator[Any]:
    while spool.peek(1):  # type: ignore[attr-defined]
        with pa.ipc.open_stream(spool) as stream:
            yield from stream


def output_schema(file: Any, names: Sequence[str], source: Source) -> Any:
    """Return the schema of the output: that of the file, and the added columns."""
    pa = arrow(source.path)
    schema = file.schema_arrow
    for place, name in enumerate(names):
        schema = schema.append(pa.field(name, pa.float64() if place else pa.string()))
    return schema
