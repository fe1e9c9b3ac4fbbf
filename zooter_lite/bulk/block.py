"""What goes to a worker and what comes back; plain data, so that it can travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zooter_lite.bulk.tally import Tally
from zooter_lite.files.dialect import COMMAS, Dialect, written_with
from zooter_lite.files.messages import Context
from zooter_lite.files.places import Source, split_suffix
from zooter_lite.files.records import Piece
from zooter_lite.files.rows import STANDARD

Cells = tuple[Any, ...]  # that routing adds to a row


@dataclass(frozen=True)
class Task:
    """One file to read and the file to write from it.

    Attributes
    ----------
    source, target
        The file to read, and the path or URL of the other.
    column, added
        Column that holds the prompt, and those that the output adds.
    size
        Bytes of a block.
    end, last
        Bytes and lines (rows of Parquet) that are done.
    alone
        Whether it is the only file, which is then not expected to be empty.
    separator
        Between the cells of CSV; empty where the file tells.
    context
        Which turns of a chat are the prompt (files/messages.py).
    models
        Expert and model, where a batch file of a vendor's API is made ready to submit.
    split
        Whether the requests of such a file are written to one file per expert.
    """

    source: Source
    target: str
    column: str = ""
    added: tuple[str, ...] = ()
    size: int = 0
    end: int = 0
    last: int = 0
    alone: bool = True
    separator: str = ""
    context: Context = "last"
    models: tuple[tuple[str, str], ...] = ()
    split: bool = False

    @property
    def packing(self) -> str:
        """Suffix of the compression of what is appended to the output; "" for none."""
        return "" if self.target == STANDARD or self.split else split_suffix(self.target)[1]


@dataclass(frozen=True)
class Block:
    """A piece of one file.

    Attributes
    ----------
    task
        What is read, and how.
    columns
        Names in the order of the header; None for JSON lines.
    piece
        The records, or for Parquet an Arrow stream with them.
    first, final
        Whether it is the first of its file, and the last.
    dialect
        How the cells of CSV are divided.
    """

    task: Task
    columns: tuple[str, ...] | None
    piece: Piece
    first: bool
    final: bool
    dialect: Dialect = COMMAS

    @property
    def separator(self) -> str:
        """What divides the cells of the CSV that is written."""
        return written_with(self.task.target, self.dialect.separator)


@dataclass(frozen=True)
class Bad:
    """A row that cannot be routed.

    Attributes
    ----------
    line
        Where it starts.
    reason
        Why, as a message says it.
    raw
        Its bytes, or their beginning; empty for a row of Parquet.
    size
        Its bytes in the file.
    values
        What could be read of it: cells, or a JSON object; None for nothing.
    """

    line: int
    reason: str
    raw: bytes
    size: int
    values: Any = None


@dataclass(frozen=True)
class Result:
    """A block routed.

    Attributes
    ----------
    data
        What is to be appended to the output, packed.
    rejects
        Lines for the file of rejected rows.
    tally
        Its counts.
    end, last
        Bytes and lines (rows of Parquet) of the input up to the end of the block.
    final
        Whether the block is the last of its file.
    """

    data: bytes
    rejects: bytes
    tally: Tally
    end: int
    last: int
    final: bool
