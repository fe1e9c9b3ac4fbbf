"""Parquet in pieces: read by row groups, carried as Arrow streams, written as one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from zooter_lite.bulk.block import Block, Cells, Task
from zooter_lite.bulk.rows import Rows
from zooter_lite.errors import DataError, needs
from zooter_lite.files.messages import Prompt, prompt_of
from zooter_lite.files.places import Source, flat, open_source, refusals
from zooter_lite.files.records import Piece, Record
from zooter_lite.files.rows import check_different

ROWS_PER_PIECE = 65_536  # at most; fewer where rows are long
_GROUP_ROWS = 2**17  # of the row groups that are written
_GROUP_BYTES = 2**26
_BUFFER = 2**20  # bytes read at a time of each column, so that row groups may be huge
_UNREADABLE = "not a readable Parquet file"
_TEXTS = ("string", "large_string", "string_view", "null")


def _arrow() -> Any:
    with needs("batch", "Parquet"):
        import pyarrow.ipc
        import pyarrow.parquet
    return pyarrow


@contextmanager
def open_parquet(source: Source) -> Iterator[Any]:
    """Open a Parquet file without reading its rows; DataError for none, or one cut short."""
    pa = _arrow()
    with open_source(source) as stream:
        with refusals(source.name, _UNREADABLE):
            file = pa.parquet.ParquetFile(
                stream, buffer_size=_BUFFER, page_checksum_verification=True
            )
            names = file.schema_arrow.names  # which may be damaged too
        check_different(names, source.name)
        with file:
            yield file


def parquet_pieces(file: Any, task: Task) -> Iterator[Piece]:
    """Yield the rows that are not done, in pieces of about `task.size` bytes; one at least.

    The pieces are the same wherever reading starts, as long as it is where one ended. DataError
    where the file is damaged, or the column of the prompts holds no text.
    """
    pa, start = _arrow(), task.last
    kind = file.schema_arrow.field(task.column).type
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    each = inner.value_type if pa.types.is_list(inner) else inner
    if str(inner) not in _TEXTS and not pa.types.is_struct(each):
        raise DataError(f"{task.source.name}: column {task.column!r} holds {kind}, expected text")
    with refusals(task.source.name, _UNREADABLE):
        rows = _rows_per_piece(file.metadata, task.size)
        place = end = 0
        for group in range(file.metadata.num_row_groups):
            end += file.metadata.row_group(group).num_rows
            if end <= start:
                place = end
                continue
            for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
                place += batch.num_rows
                if place > start:
                    yield Piece(_stream(pa, batch), place - batch.num_rows + 1, place, place)
            if place != end:
                raise ValueError(f"row group {group} ends at row {place} of {end}")
        if end <= start:
            yield Piece(b"", start + 1, start, start)


def _rows_per_piece(metadata: Any, size: int) -> int:
    total: int = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    per_row = max(1, total // max(1, metadata.num_rows))
    return max(1, min(ROWS_PER_PIECE, int(size // per_row)))


def _stream(pa: Any, batch: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


class ParquetRows(Rows):
    """The rows of a block of Parquet; the output is an Arrow stream."""

    def __init__(self, block: Block) -> None:
        self._batch = None
        if block.piece.content:
            self._batch = next(iter(_arrow().ipc.open_stream(block.piece.content)))
        column = () if self._batch is None else self._batch.column(block.task.column)
        super().__init__(block, [_record(row, c) for row, c in enumerate(column, block.piece.line)])

    def _prompt(self, row: int, value: Any) -> Prompt:
        return prompt_of(value, self._task.context)

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows as any format does."""
        pa, batch = _arrow(), self._batch
        if batch is None:
            return b""
        for place, field in enumerate(_added_fields(pa, self._task.added)):
            values = pa.array([row[place] for row in cells], field.type)
            batch = batch.append_column(field, values)
        if self.problems and not keep:
            batch = batch.filter(pa.array([row not in self.problems for row in range(len(cells))]))
        return _stream(pa, batch)


def _record(row: int, cell: Any) -> Record:
    try:
        return Record(row, b"", 0, cell.as_py(), "")
    except UnicodeDecodeError as error:
        raw: bytes = error.object
        return Record(row, raw, 0, None, f"the prompt is not UTF-8 (byte 0x{raw[error.start]:02x})")


def _added_fields(pa: Any, names: Sequence[str]) -> list[Any]:
    return [pa.field(name, pa.float64() if n else pa.string()) for n, name in enumerate(names)]


def write_parquet(task: Task, spool: IO[bytes], target: Path) -> None:
    """Write one Parquet file from Arrow streams that stand one after another in `spool`.

    Its schema is that of the source and the added columns. DataError where Parquet cannot hold
    a type of the columns.
    """
    pa = _arrow()
    with open_parquet(task.source) as file:
        schema = file.schema_arrow
    for field in _added_fields(pa, task.added):
        schema = schema.append(field)
    try:
        with pa.parquet.ParquetWriter(target, schema) as writer:
            for batches in _groups(pa, spool):
                writer.write_table(pa.Table.from_batches(batches, schema))
    except pa.ArrowException as error:
        raise DataError(
            f"{task.source.name}: cannot be written as Parquet ({flat(error)})"
        ) from error


def _groups(pa: Any, spool: IO[bytes]) -> Iterator[list[Any]]:
    waiting: list[Any] = []
    rows = size = 0
    while spool.peek(1):  # type: ignore[attr-defined]
        with pa.ipc.open_stream(spool) as stream:
            for batch in stream:
                waiting.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                    yield waiting
                    waiting, rows, size = [], 0, 0
    if waiting:
        yield waiting
