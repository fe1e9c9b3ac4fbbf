"""Parquet in pieces: read by row groups, carried as Arrow streams, written as one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from zooter_lite.bulk.block import Bad, Block, Cells, Task
from zooter_lite.errors import DataError, needs
from zooter_lite.files.messages import Prompt, prompt_of
from zooter_lite.files.places import Source, flat, open_source, refusals
from zooter_lite.files.records import Piece

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
            file.schema_arrow.names  # noqa: B018 - which may be damaged too
        with file:
            yield file


def parquet_columns(file: Any, source: Source, column: str) -> tuple[str, ...]:
    """Names of the columns; DataError where one stands twice, or `column` holds no text."""
    schema = file.schema_arrow
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise DataError(f"{source.name}: column {repeated[0]!r} appears more than once")
    if column in schema.names:
        kind = schema.field(column).type
        inner = kind.value_type if _arrow().types.is_dictionary(kind) else kind
        each = inner.value_type if _arrow().types.is_list(inner) else inner
        if str(inner) not in _TEXTS and not _arrow().types.is_struct(each):
            raise DataError(f"{source.name}: column {column!r} holds {kind}, expected text")
    return tuple(schema.names)


def parquet_pieces(file: Any, source: Source, size: int, start: int) -> Iterator[Piece]:
    """Yield the rows from `start` on, in pieces of about `size` bytes; at least one piece.

    The pieces are the same wherever reading starts, as long as it is where one ended.

    Raises
    ------
    DataError
        The file is damaged.
    """
    pa = _arrow()
    with refusals(source.name, _UNREADABLE):
        rows = _rows_per_piece(file.metadata, size)
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


class ParquetRows:
    """The rows of a block of Parquet, as `CsvRows` has them; the output is an Arrow stream."""

    def __init__(self, block: Block, refused: Mapping[str, str]) -> None:
        self._pa = _arrow()
        self._added, self._first = block.task.added, block.piece.line
        self._batch = None
        self.bad: list[Bad] = []
        self.prompts: list[str] = []
        self.unread, self._context = 0, block.task.context
        if block.piece.content:
            self._batch = next(iter(self._pa.ipc.open_stream(block.piece.content)))
            self.prompts = self._texts(self._batch.column(block.task.column))
        for row, prompt in enumerate(self.prompts if refused else ()):
            if prompt in refused:
                raw = prompt.encode("utf-8", "replace")
                self.bad.append(Bad(self._first + row, refused[prompt], raw, len(raw)))
                self.prompts[row] = ""

    def _texts(self, column: Any) -> list[str]:
        try:
            cells = column.to_pylist()
        except UnicodeDecodeError:
            cells = [self._cell(row, cell) for row, cell in enumerate(column, self._first)]
        texts = []
        for row, cell in enumerate(cells, self._first):
            try:
                prompt = prompt_of(cell, self._context)
            except ValueError as error:
                self.bad.append(Bad(row, str(error), b"", 0))
                prompt = Prompt("")
            texts.append(prompt.text)
            self.unread += prompt.unread
        return texts

    def _cell(self, row: int, cell: Any) -> Any:
        try:
            return cell.as_py()
        except UnicodeDecodeError as error:
            reason = f"the prompt is not UTF-8 (byte 0x{error.object[error.start]:02x})"
            self.bad.append(Bad(row, reason, error.object, len(error.object)))
            return None

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with the added columns."""
        batch = self._batch
        if batch is None:
            return b""
        for place, field in enumerate(_added_fields(self._pa, self._added)):
            values = self._pa.array([row[place] for row in cells], field.type)
            batch = batch.append_column(field, values)
        if self.bad and not keep:
            lost = {row.line - self._first for row in self.bad}
            batch = batch.filter(self._pa.array([row not in lost for row in range(len(cells))]))
        return _stream(self._pa, batch)


def _added_fields(pa: Any, names: Sequence[str]) -> list[Any]:
    return [pa.field(name, pa.float64() if n else pa.string()) for n, name in enumerate(names)]


def write_parquet(task: Task, spool: IO[bytes], target: Path) -> None:
    """Write one Parquet file from Arrow streams that stand one after another in `spool`.

    Its schema is that of the source and the added columns.

    Raises
    ------
    DataError
        Parquet cannot hold a type of the columns.
    OSError
        The disk refuses.
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
