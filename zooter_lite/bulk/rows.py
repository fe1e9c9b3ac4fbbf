"""Rows of a block: their prompts in, the rows with the added cells out. CSV and JSON lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from zooter_lite.bulk.block import Block, Cells
from zooter_lite.files.dialect import written_with
from zooter_lite.files.lines import csv_line, json_line
from zooter_lite.files.messages import Prompt, nested, prompt_of
from zooter_lite.files.records import Record, records


class Rows(ABC):
    """The rows of a block, of any format.

    `prompts` holds the text of each row, "" where there is none; `problems` says of a row by
    its place why it cannot be routed; `unread` counts parts of chats that are no text, such as
    images.
    """

    def __init__(self, block: Block, records: Sequence[Record]) -> None:
        self._block, self._task, self._records = block, block.task, records
        self.prompts: list[str] = []
        self.problems: dict[int, str] = {}
        self.unread = 0
        for row, record in enumerate(records):
            prompt = Prompt("")
            try:
                if record.reason:
                    raise ValueError(record.reason)
                prompt = self._prompt(row, record.value)
            except ValueError as error:
                self.problems[row] = str(error)
            self.prompts.append(prompt.text)
            self.unread += prompt.unread

    @abstractmethod
    def _prompt(self, row: int, value: Any) -> Prompt:
        """Return what is routed of a record's value; ValueError says why it cannot be."""

    @abstractmethod
    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with their added cells; those with a problem only with `keep`."""

    def origin(self, row: int) -> tuple[int, bytes, int]:
        """Return the line on which a row starts, its bytes or their beginning, and how many."""
        record = self._records[row]
        raw = record.raw or self.prompts[row].encode("utf-8", "replace")
        return record.line, raw, record.size or len(raw)


class CsvRows(Rows):
    """The rows of a block of CSV."""

    def __init__(self, block: Block) -> None:
        assert block.header is not None
        self._header = block.header
        self._place = block.header.columns.index(block.task.column)
        super().__init__(block, list(records(block.piece, block.header)))

    def _prompt(self, row: int, value: Any) -> Prompt:
        return prompt_of(value[self._place], self._task.context)

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows as any format does; in the first block, the header stands before them."""
        header = self._header
        separator, width = written_with(self._task.target, header.separator), len(header.columns)
        lines = []
        if self._block.first:
            lines = [f"sep={separator}\n"] if header.told else []
            lines.append(csv_line((*header.columns, *self._task.added), separator))
        for row, (record, added) in enumerate(zip(self._records, cells, strict=True)):
            if row not in self.problems:
                lines.append(csv_line((*record.value, *added), separator))
            elif keep:
                own = [*record.value, *[""] * width][:width]
                lines.append(csv_line((*own, *added), separator))
        return "".join(lines).encode("utf-8")


class JsonRows(Rows):
    """The rows of a block of JSON lines."""

    def __init__(self, block: Block) -> None:
        self._lines: dict[int, str] = {}  # of the rows that can be written
        super().__init__(block, list(records(block.piece, None)))

    def _prompt(self, row: int, value: Any) -> Prompt:
        task = self._task
        try:
            self._lines[row] = json_line(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"cannot be written as JSON ({error})") from error
        taken = [key for key in task.added if key in value]
        if taken:
            raise ValueError(f"already has a key {taken[0]!r}, which the output adds")
        try:
            return prompt_of(nested(value, task.column), task.context)
        except KeyError:
            raise ValueError(f"no key {task.column!r}; expected the prompt there") from None
        except ValueError as error:
            raise ValueError(f"{task.column!r}: {error}") from error

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows as any format does."""
        column, lines = self._task.column, []
        for row, values in enumerate(cells):
            added = dict(zip(self._task.added, values, strict=True))
            if row not in self.problems:
                lines.append(f"{self._lines[row][:-2]}, {json_line(added)[1:]}")  # it has a key
            elif keep:
                own = self._records[row].value if row in self._lines else {}
                missing = {} if column in own or "." in column else {column: None}
                lines.append(json_line({**own, **missing, **added}))
        return "".join(lines).encode("utf-8")
