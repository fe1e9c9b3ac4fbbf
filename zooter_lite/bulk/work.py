"""One block in, its part of the output out: what every worker does, wherever it runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from zooter_lite.bulk.block import Block, Result, Settings, Tally, added_columns
from zooter_lite.bulk.choose import Cells, Chooser, FallbackCells
from zooter_lite.bulk.parse import Bad, csv_rows, json_rows
from zooter_lite.errors import DataError
from zooter_lite.files.lines import csv_text, json_line
from zooter_lite.files.parquet import ParquetBlock
from zooter_lite.files.records import SHOWN, Record
from zooter_lite.files.store import packer
from zooter_lite.router.directory.config import RouterConfig


class Worker:
    """Routes blocks; one per process.

    Parameters
    ----------
    settings, at_once
        As `Chooser` takes them.

    Raises
    ------
    RouterError, DataError
        As `Chooser` does.
    """

    def __init__(self, settings: Settings, at_once: int | None = None) -> None:
        self._settings = settings
        self._chooser = Chooser(settings, at_once)
        self._added = added_columns(self.experts, settings.all_probabilities)

    @property
    def config(self) -> RouterConfig:
        """The content of the router's config.json."""
        return self._chooser.router.config

    @property
    def experts(self) -> list[str]:
        """Names of the router's experts."""
        return self._chooser.router.experts

    def work(self, block: Block) -> Result:
        """Route a block.

        Raises
        ------
        DataError
            A row cannot be routed, and the job is to fail then; with file, line and reason.
        """
        before = self._chooser.router.repeats
        tally = Tally(experts=dict.fromkeys(self.experts, 0))
        do = {"csv": self._csv, "jsonl": self._json, "parquet": self._parquet}[block.kind]
        data, bad = do(block, tally)
        tally.rejected = len(bad)
        after = self._chooser.router.repeats
        tally.repeated, tally.computed = (a - b for a, b in zip(after, before, strict=True))
        rejects = "".join(_reject(block, row) for row in bad)
        piece = block.piece
        packed = packer(block.packing, block.name)(data) if data else b""
        return Result(
            block.number,
            packed,
            rejects.encode("utf-8", "backslashreplace"),  # names of files may be no UTF-8
            tally,
            piece.end,
            piece.last,
            block.final,
        )

    def _csv(self, block: Block, tally: Tally) -> tuple[bytes, list[Bad]]:
        columns = block.columns or ()
        rows = csv_rows(block)
        place = columns.index(self._settings.column)
        prompts = ["" if isinstance(row, Bad) else row[place] for row in rows]
        bad: list[Bad] = []
        found: list[Sequence[object]] = [[*columns, *self._added]] if block.first else []
        for row, cells in zip(rows, self._cells(prompts, tally), strict=True):
            if not isinstance(row, Bad):
                found.append((*row, *cells))
                continue
            bad.append(self._unless_fatal(block, row, tally))
            if self._settings.on_error == "keep":
                found.append((*(row.values or [""] * len(columns)), *cells))
        return csv_text(found).encode("utf-8"), bad

    def _json(self, block: Block, tally: Tally) -> tuple[bytes, list[Bad]]:
        rows = [self._sound(row) for row in json_rows(block)]
        prompts = ["" if isinstance(row, Bad) else row[0] for row in rows]
        lines: list[str] = []
        bad: list[Bad] = []
        for row, cells in zip(rows, self._cells(prompts, tally), strict=True):
            if not isinstance(row, Bad):
                added = json_line(dict(zip(self._added, cells, strict=True)))
                lines.append(f"{row[1][:-2]}, {added[1:]}")  # written once: the row has a key
                continue
            bad.append(self._unless_fatal(block, row, tally))
            if self._settings.on_error == "keep":
                values = {self._settings.column: None} | (row.values or {})
                lines.append(json_line(values | dict.fromkeys(self._added)))
        return "".join(lines).encode("utf-8"), bad

    def _parquet(self, block: Block, tally: Tally) -> tuple[bytes, list[Bad]]:
        if not block.piece.raw:
            return b"", []
        rows = ParquetBlock(block, self._settings.column)
        cells = self._cells(rows.prompts, tally)
        bad = [self._unless_fatal(block, row, tally) for row in rows.bad]
        left_out = self._settings.on_error == "skip"
        return rows.with_columns(self._added, cells, left_out=left_out), bad

    def _cells(self, prompts: Sequence[str], tally: Tally) -> list[Cells]:
        """Return the added cells of each prompt, None where it is empty; count them."""
        some = [prompt for prompt in prompts if prompt and not prompt.isspace()]
        choices = self._chooser.choose(some)
        nothing = (None,) * len(self._added)
        cells = [choices.get(prompt, nothing) for prompt in prompts]
        tally.experts.update(Counter(choices[prompt][0] for prompt in some))
        if self._settings.fallback is not None:
            tally.fallbacks = sum(type(each) is FallbackCells for each in cells)
        tally.rows = len(prompts)
        tally.empty = len(prompts) - len(some)
        return cells

    def _sound(self, row: tuple[Record, dict[str, object]] | Bad) -> tuple[str, str] | Bad:
        """Return the prompt and the line of a row, or what is wrong with its values."""
        if isinstance(row, Bad):
            return row
        record, values = row
        reason, kept, line = _problem(values, self._settings.column, self._added), values, ""
        try:
            line = json_line(values)
        except (ValueError, RecursionError) as error:
            reason, kept = reason or f"cannot be written as JSON ({error})", {}
        if reason:
            return Bad(record.line, reason, record.raw, record.size, kept)
        return str(values[self._settings.column] or ""), line

    def _unless_fatal(self, block: Block, row: Bad, tally: Tally) -> Bad:
        if self._settings.on_error == "fail":
            what = "row" if block.kind == "parquet" else "line"
            raise DataError(f"{block.name}, {what} {row.line}: {row.reason}")
        tally.empty -= 1  # it is no row without a prompt
        tally.kept += self._settings.on_error == "keep"
        return row


def _problem(values: dict[str, object], column: str, added: list[str]) -> str:
    if column not in values:
        return f"no key {column!r}; expected the prompt there"
    taken = [key for key in added if key in values]
    if taken:
        return f"already has a key {taken[0]!r}, which the output adds"
    prompt = values[column]
    if prompt is not None and not isinstance(prompt, str):
        return f"{column!r} holds {type(prompt).__name__}, expected text"
    return ""


def _reject(block: Block, row: Bad) -> str:
    """One line of the file of rejected rows."""
    where = "row" if block.kind == "parquet" else "line"
    found: dict[str, Any] = {"file": block.name, where: row.line, "reason": row.reason}
    if row.raw:
        found |= {"bytes": row.size, "text": row.raw[:SHOWN].decode("utf-8", "backslashreplace")}
    return json.dumps(found, ensure_ascii=False) + "\n"
