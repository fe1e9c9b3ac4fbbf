"""Rows of CSV and JSON lines: their prompts in, the rows with the added cells out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from zooter_lite.bulk.block import Block, Cells
from zooter_lite.files.dialect import written_with
from zooter_lite.files.lines import csv_line, json_line
from zooter_lite.files.messages import Prompt, nested, prompt_of
from zooter_lite.files.records import Record, records


class TextRows(ABC):
    """The rows of a block, of CSV or of JSON lines.

    `prompts` holds the text of each row, "" where there is none; `problems` says of a row by
    its place why it cannot be routed; `unread` counts parts of chats that are no text, such as
    images.
    """

    def __init__(self, block: Block) -> None:
        self._block, self._task = block, block.task
        self._records = list(records(block.piece, block.header))
        self.prompts: list[str] = []
        self.problems: dict[int, str] = {}
        self.unread = 0
        for row, record in enumerate(self._records):
            prompt = Prompt("")
            try:
                if record.reason:
                    raise ValueError(record.reason)
                prompt = self._prompt(row, record)
            except ValueError as error:
                self.problems[row] = str(error)
            self.prompts.append(prompt.text)
            self.unread += prompt.unread

    @abstractmethod
    def _prompt(self, row: int, record: Record) -> Prompt:
        """Return what is routed of a record; ValueError says why it cannot be."""

    def origin(self, row: int) -> tuple[int, bytes, int]:
        """Return the line on which a row starts, its bytes or their beginning, and how many."""
        record = self._records[row]
        return record.line, record.raw, record.size


class CsvRows(TextRows):
    """The rows of a block of CSV."""

    def _prompt(self, row: int, record: Record) -> Prompt:
        assert self._block.header is not None
        place = self._block.header.columns.index(self._task.column)
        return prompt_of(record.value[place], self._task.context)

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with their added cells, and the header; bad ones only with `keep`."""
        header = self._block.header
        assert header is not None
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


class JsonRows(TextRows):
    """The rows of a block of JSON lines."""

    def __init__(self, block: Block) -> None:
        self._lines: dict[int, str] = {}  # of the rows that can be written
        super().__init__(block)

    def _prompt(self, row: int, record: Record) -> Prompt:
        task, values = self._task, record.value
        try:
            self._lines[row] = json_line(values)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"cannot be written as JSON ({error})") from error
        taken = [key for key in task.added if key in values]
        if taken:
            raise ValueError(f"already has a key {taken[0]!r}, which the output adds")
        try:
            return prompt_of(nested(values, task.column), task.context)
        except KeyError:
            raise ValueError(f"no key {task.column!r}; expected the prompt there") from None
        except ValueError as error:
            raise ValueError(f"{task.column!r}: {error}") from error

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the rows with the added keys; bad ones only with `keep`."""
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
