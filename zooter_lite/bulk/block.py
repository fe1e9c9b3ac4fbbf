"""What goes to a worker and what comes back; plain data, so that it can travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from zooter_lite.bulk.tally import Tally
from zooter_lite.files.places import Source
from zooter_lite.files.records import Piece

OnError = Literal["fail", "skip", "keep"]
Cells = tuple[Any, ...]  # that routing adds to a row


@dataclass(frozen=True)
class Settings:
    """What a worker has to know of the job.

    Attributes
    ----------
    router
        Router directory.
    precision, threads
        As `Router.load` takes them.
    column
        Column or key that holds the prompt.
    all_probabilities
        Whether every expert gets a column.
    on_error
        What becomes of a row that cannot be routed.
    fallback, least
        Expert that gets the prompts whose best probability is below `least`.
    """

    router: str
    precision: Literal["fp32", "int8", "auto"] = "fp32"
    threads: int = 1
    column: str = "query"
    all_probabilities: bool = False
    on_error: OnError = "fail"
    fallback: str | None = None
    least: float = 0.0

    def added(self, experts: Sequence[str]) -> tuple[str, ...]:
        """Names of the columns that routing adds."""
        probabilities = [f"p:{expert}" for expert in experts] if self.all_probabilities else []
        return ("expert", "probability", *probabilities)


@dataclass(frozen=True)
class Start:
    """A file and the place in it from which a job has to read.

    Attributes
    ----------
    source, packing
        The file, and how the output is packed.
    column, added
        Column that holds the prompt, and those that the output adds.
    size
        Bytes of a block.
    end, last
        Bytes and lines (rows of Parquet) that are done.
    alone
        Whether it is the only file, which is then not expected to be empty.
    """

    source: Source
    packing: str
    column: str
    added: tuple[str, ...]
    size: int
    end: int = 0
    last: int = 0
    alone: bool = True


@dataclass(frozen=True)
class Block:
    """A piece of one file.

    Attributes
    ----------
    start
        What is read, and how.
    columns
        Names in the order of the header; None for JSON lines.
    piece
        The records, or for Parquet an Arrow stream with them; lines are then rows.
    first, final
        Whether it is the first of its file, and the last.
    """

    start: Start
    columns: tuple[str, ...] | None
    piece: Piece
    first: bool
    final: bool


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


class Rows(Protocol):
    """The rows of a block, parsed.

    Attributes
    ----------
    prompts
        Text of each row; "" where there is none, and for a row that cannot be routed.
    bad
        Rows that cannot be routed.
    """

    prompts: list[str]
    bad: list[Bad]

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with the added cells of each; with `keep` also those that are bad."""


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
