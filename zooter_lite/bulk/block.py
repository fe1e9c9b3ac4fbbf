"""What goes to a worker and what comes back; plain data, so that it can travel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from zooter_lite.files.dialect import Header
from zooter_lite.files.messages import Context
from zooter_lite.files.places import STANDARD, Source, split_suffix
from zooter_lite.files.records import Piece

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
    header: Header | None  # of CSV
    piece: Piece
    first: bool  # of its file
    final: bool


@dataclass
class Tally:
    """Counts of a block, a file or a job."""

    rows: int = 0  # read
    empty: int = 0  # of them, those without a prompt
    rejected: int = 0  # those that could not be routed
    fallbacks: int = 0  # prompts that went to the fallback
    computed: int = 0  # prompts whose probabilities were computed
    cut: int = 0  # computed ones of which only the first tokens were read
    unread: int = 0  # parts of chats that are no text, such as images
    odd: int = 0  # prompts odder than nearly all training queries
    cost: float = 0.0  # expected of the choices
    cost_single: float = 0.0  # of the best single expert
    cost_cheapest: float = 0.0  # of each prompt's cheapest
    experts: dict[str, int] = field(default_factory=dict)  # prompts that each gets

    @property
    def routed(self) -> int:
        """Rows that have an expert."""
        return sum(self.experts.values())

    def plus(self, other: Tally) -> Tally:
        """Return the sum of both."""
        counts = {
            name: count + getattr(other, name)
            for name, count in vars(self).items()
            if name != "experts"
        }
        experts = Counter(self.experts)
        experts.update(other.experts)
        return Tally(**counts, experts=dict(experts))


@dataclass(frozen=True)
class Result:
    """A block routed."""

    data: bytes  # to be appended to the output, packed
    rejects: bytes  # lines for the file of rejected rows
    tally: Tally
    end: int  # bytes of the input up to the end of the block
    last: int  # and lines (rows of Parquet)
    final: bool  # the last of its file
