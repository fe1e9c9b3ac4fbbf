"""What goes to a worker and what comes back; plain data, so that it can travel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from zooter_lite.files.records import Piece
from zooter_lite.files.store import Kind

OnError = Literal["fail", "skip", "keep"]


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


@dataclass(frozen=True)
class Block:
    """A piece of one file.

    Attributes
    ----------
    number
        Place of its file among those of the job.
    name
        Of the file, for messages.
    kind, packing
        What the file holds, and how the output is packed.
    columns
        Names in the order of the header; None for JSON lines.
    piece
        The records, or for Parquet an Arrow stream with them; lines are then rows.
    first, final
        Whether it is the first of its file, and the last.
    """

    number: int
    name: str
    kind: Kind
    packing: str
    columns: tuple[str, ...] | None
    piece: Piece
    first: bool
    final: bool


@dataclass
class Tally:
    """Counts of a block, a file or a job.

    Attributes
    ----------
    rows
        Rows read.
    empty
        Of them, those without a prompt.
    rejected, kept
        Those that could not be routed, and how many of these are in the output.
    fallbacks
        Prompts that went to the fallback.
    computed, repeated
        Prompts whose probabilities were computed, and again in fp32 as close calls.
    experts
        Prompts that each expert gets.
    """

    rows: int = 0
    empty: int = 0
    rejected: int = 0
    kept: int = 0
    fallbacks: int = 0
    computed: int = 0
    repeated: int = 0
    experts: dict[str, int] = field(default_factory=dict)

    @property
    def routed(self) -> int:
        """Rows that have an expert."""
        return sum(self.experts.values())

    def plus(self, other: Tally) -> Tally:
        """Return the sum of both."""
        experts = dict(self.experts)
        for expert, count in other.experts.items():
            experts[expert] = experts.get(expert, 0) + count
        names = ("rows", "empty", "rejected", "kept", "fallbacks", "computed", "repeated")
        counts = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Tally(**counts, experts=experts)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON can hold them; `Tally(**...)` makes it again."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """A block routed.

    Attributes
    ----------
    number
        Place of its file among those of the job.
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

    number: int
    data: bytes
    rejects: bytes
    tally: Tally
    end: int
    last: int
    final: bool


def added_columns(experts: Sequence[str], all_probabilities: bool) -> list[str]:
    """Names of the columns that routing adds."""
    probabilities = [f"p:{expert}" for expert in experts] if all_probabilities else []
    return ["expert", "probability", *probabilities]
