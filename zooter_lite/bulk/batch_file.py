"""Batch files of a vendor's API: the chosen expert's model set in each request, ready to submit.

A line of such a file is a request, `{"custom_id": ..., "body": {"model": ..., "messages": ...}}`.
Of the line nothing else is changed, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]

from zooter_lite.bulk.block import Bad, Block, Cells
from zooter_lite.bulk.split import TAB
from zooter_lite.bulk.text_rows import JsonRows
from zooter_lite.files.lines import decode_line
from zooter_lite.files.messages import Prompt
from zooter_lite.files.records import Record

MODEL = "body.model"
_SPACE = " \t\r\n"


class BatchRows(JsonRows):
    """The requests of a block; the output is the same lines with other models."""

    def __init__(self, block: Block, refused: Mapping[str, str]) -> None:
        self._split = block.task.split
        super().__init__(block, refused)

    def _row(self, record: Record) -> tuple[Prompt, str] | Bad | None:
        row = super()._row(record)
        if row is None or isinstance(row, Bad):
            return row
        text = decode_line(record.raw, first=record.line == 1)
        try:
            start, end = value_span(text, MODEL.split("."))
        except (ValueError, RecursionError) as error:
            return Bad(record.line, str(error), record.raw, record.size)
        return row[0], f"{text[:start]}\0{text[end:]}"  # which no JSON holds

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the requests with the model of each one's expert; a bad one is never kept.

        Where they are to be split, each stands behind the number of its expert.
        """
        models = {expert: json.dumps(m, ensure_ascii=False) for expert, m in self._models.items()}
        before = {expert: f"{n}{TAB}" if self._split else "" for n, expert in enumerate(models)}
        lines = []
        for row, made in zip(self._rows, cells, strict=True):
            if not isinstance(row, Bad):
                lines.append(before[made[0]] + row[1].replace("\0", models[made[0]]))
        return "".join(lines).encode("utf-8")


def value_span(text: str, path: Sequence[str]) -> tuple[int, int]:
    """Return where the value under a path of keys begins and ends in the text of an object.

    Raises
    ------
    ValueError
        There is none, or a key of the path stands twice.

    Examples
    --------
    >>> value_span('{"a": {"b" : 12}}', ["a", "b"])
    (13, 15)
    """
    place, decoder = _after_space(text, 0), json.JSONDecoder()
    for depth, wanted in enumerate(path):
        found: list[tuple[int, int]] = []
        if text[place : place + 1] != "{":
            raise ValueError(f"no key {'.'.join(path)!r}; expected the model there")
        place = _after_space(text, place + 1)
        while text[place : place + 1] == '"':
            key, place = scanstring(text, place + 1, True)
            start = _after_space(text, _after_space(text, place) + 1)  # behind the colon
            end = decoder.raw_decode(text, start)[1]
            found += [(start, end)] if key == wanted else []
            place = _after_space(text, end)
            place = _after_space(text, place + 1) if text[place : place + 1] == "," else place
        if len(found) != 1:
            times = "twice" if found else "nowhere"
            raise ValueError(f"key {'.'.join(path[: depth + 1])!r} stands {times}")
        place = found[0][0]
    return found[0]


def _after_space(text: str, place: int) -> int:
    while text[place : place + 1] in _SPACE and place < len(text):
        place += 1
    return place
