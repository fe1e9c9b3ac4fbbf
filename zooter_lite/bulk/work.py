"""One block in, its part of the output out: what every worker does, wherever it runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from zooter_lite.bulk.block import Bad, Block, Cells, Result, Rows, Settings
from zooter_lite.bulk.choose import Chooser
from zooter_lite.bulk.parquet import ParquetRows
from zooter_lite.bulk.tally import Tally
from zooter_lite.bulk.text_rows import CsvRows, JsonRows
from zooter_lite.errors import DataError
from zooter_lite.files.places import packer
from zooter_lite.files.records import SHOWN

_ROWS: dict[str, Callable[[Block], Rows]] = {
    "csv": CsvRows,
    "jsonl": JsonRows,
    "parquet": ParquetRows,
}


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
        self.router = self._chooser.router
        self.added = settings.added(self.router.experts)

    def work(self, block: Block) -> Result:
        """Route a block.

        Raises
        ------
        DataError
            A row cannot be routed, and the job is to fail then; with file, line and reason.
        """
        piece, start, mode = block.piece, block.start, self._settings.on_error
        rows = _ROWS[start.source.kind](block)
        if rows.bad and mode == "fail":
            row = rows.bad[0]
            raise DataError(f"{start.source.name}, {_unit(block)} {row.line}: {row.reason}")
        before = self.router.repeats
        tally = Tally(rows=len(rows.prompts), rejected=len(rows.bad))
        tally.kept = len(rows.bad) if mode == "keep" else 0
        data = rows.output(self._cells(rows.prompts, tally), keep=mode == "keep")
        tally.empty = tally.rows - tally.routed - tally.rejected
        tally.repeated, tally.computed = (
            now - then for now, then in zip(self.router.repeats, before, strict=True)
        )
        packed = packer(start.packing)(data) if data else b""
        rejects = "".join(_reject(block, row) for row in rows.bad)
        return Result(
            packed,
            rejects.encode("utf-8", "backslashreplace"),  # names of files may be no UTF-8
            tally,
            piece.end,
            piece.last,
            block.final,
        )

    def _cells(self, prompts: Sequence[str], tally: Tally) -> list[Cells]:
        """Return the added cells of each prompt, None where it is empty; count them."""
        some = [prompt for prompt in prompts if prompt and not prompt.isspace()]
        choices = self._chooser.choose(some)
        counts = Counter(choices[prompt].cells[0] for prompt in some)
        tally.experts = dict.fromkeys(self.router.experts, 0) | counts
        tally.fallbacks = sum(choices[prompt].fallback for prompt in some)
        nothing = (None,) * len(self.added)
        return [choices[prompt].cells if prompt in choices else nothing for prompt in prompts]


def _unit(block: Block) -> str:
    """Return what the rows of a file are numbered by."""
    return "row" if block.start.source.kind == "parquet" else "line"


def _reject(block: Block, row: Bad) -> str:
    """One line of the file of rejected rows."""
    line: dict[str, Any] = {
        "file": block.start.source.name,
        _unit(block): row.line,
        "reason": row.reason,
    }
    if row.raw:
        line |= {"bytes": row.size, "text": row.raw[:SHOWN].decode("utf-8", "backslashreplace")}
    return json.dumps(line, ensure_ascii=False) + "\n"
