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
    """One file to read and the file to write from it."""

    source: Source
    target: str  # path or URL
    column: str = ""  # that holds the prompt
    added: tuple[str, ...] = ()  # columns of the output alone
    size: int = 0  # bytes of a block
    end: int = 0  # bytes that are done
    last: int = 0  # lines (rows of Parquet) that are done
    alone: bool = True  # the only file, which is then not expected to be empty
    separator: str = ""  # between the cells of CSV; empty where the file tells
    context: Context = "last"  # which turns of a chat are the prompt (files/messages.py)
    models: tuple[tuple[str, str], ...] = ()  # of each expert, for a vendor's batch file
    split: bool = False  # whether such a file's requests go to one file per expert

    @property
    def packing(self) -> str:
        """Suffix of the compression of what is appended to the output; "" for none."""
        return "" if self.target == STANDARD or self.split else split_suffix(self.target)[1]


@dataclass(frozen=True)
class Block:
    """A piece of one file."""

    task: Task
    columns: tuple[str, ...] | None  # in the order of the header; None for JSON lines
    piece: Piece
    first: bool  # of its file
    final: bool
    dialect: Dialect = COMMAS

    @property
    def separator(self) -> str:
        """What divides the cells of the CSV that is written."""
        return written_with(self.task.target, self.dialect.separator)


@dataclass(frozen=True)
class Bad:
    """A row that cannot be routed."""

    line: int  # where it starts
    reason: str  # as a message says it
    raw: bytes  # or their beginning; empty for a row of Parquet
    size: int  # bytes in the file
    values: Any = None  # what could be read of it: cells, or a JSON object; None for nothing


@dataclass(frozen=True)
class Result:
    """A block routed."""

    data: bytes  # to be appended to the output, packed
    rejects: bytes  # lines for the file of rejected rows
    tally: Tally
    end: int  # bytes of the input up to the end of the block
    last: int  # and lines (rows of Parquet)
    final: bool  # the last of its file
