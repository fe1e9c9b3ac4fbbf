"""Batch files of a vendor's API: the chosen expert's model set in each request, ready to submit.

A line of such a file is a request, `{"custom_id": ..., "body": {"model": ..., "messages": ...}}`.
Of the line nothing else is changed, byte for byte.

Where every expert is to have a file of its own, the job keeps all requests in one journaled
file until its end, each behind the number of its expert. One pass then makes the files from it
under hidden names; they take their own, and last of all appears the output, which lists them.
A job that is killed on the way makes the same files again.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import IO

from zooter_lite.bulk.block import Bad, Block, Cells, Task
from zooter_lite.bulk.output import REJECTS
from zooter_lite.bulk.text_rows import JsonRows
from zooter_lite.errors import DataError
from zooter_lite.files.lines import decode_line
from zooter_lite.files.messages import Prompt
from zooter_lite.files.places import is_url, packer, size_of, split_suffix
from zooter_lite.files.records import Record
from zooter_lite.files.rows import STANDARD

MODEL = "body.model"
_SPACE = " \t\r\n"
_TAB = "\t"  # between the number of an expert and its request


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
        before = {expert: f"{n}{_TAB}" if self._split else "" for n, expert in enumerate(models)}
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


def part_of(target: str, expert: str) -> Path:
    """Return the file of an expert's requests; what could harm in its name becomes "-".

    >>> part_of("out/requests.jsonl", "openai/gpt-4.1").name
    'requests.openai-gpt-4.1.jsonl'
    """
    kind, packing = split_suffix(target)
    stem = re.sub(rf"\.\w+{re.escape(packing)}$", "", Path(target).name, flags=re.IGNORECASE)
    name = re.sub(r"[^\w.+-]+", "-", expert)
    return Path(target).with_name(f"{stem}.{name}.{kind}")


def check_parts(tasks: Sequence[Task], experts: Sequence[str], new: Sequence[bool]) -> None:
    """Refuse parts that would take the place of another file, or of one another.

    Parameters
    ----------
    tasks
        Whose outputs are to be split.
    experts
        Names, some of which may come to the same file.
    new
        Whether the parts of each task may not be there yet.

    Raises
    ------
    DataError
        With the file, and what stands against it.
    """
    taken: dict[str, str] = {}
    for task in tasks:
        if task.target == STANDARD or is_url(task.target):
            raise DataError(f"--split-by: {task.target}: expected a file on this machine")
        for path in (task.source.path, task.target, task.target + REJECTS):
            taken[_place(Path(path))] = "read or written by the job itself"
    for task, is_new in zip(tasks, new, strict=True):
        for expert in experts:
            part = part_of(task.target, expert)
            if (other := taken.get(_place(part))) is not None:
                raise DataError(f"--split-by: {part}, of expert {expert!r}, is also {other}")
            taken[_place(part)] = f"of expert {expert!r}"
            if is_new and size_of(part) >= 0:
                raise DataError(f"{part}: exists already; --force overwrites it")


def _place(path: Path) -> str:
    """Return one name for paths that some file system takes for the same file."""
    return unicodedata.normalize("NFC", str(path.parent.resolve() / path.name)).casefold()


def write_parts(task: Task, spool: IO[bytes], listing: Path) -> None:
    """Write each expert's requests to a file of its own, and a list of these files.

    An expert without any gets none; one that stands there from an earlier job goes.

    Parameters
    ----------
    task
        Its models name the experts, by whose numbers the requests stand in `spool`.
    spool
        The requests, each behind a number and a tab.
    listing
        Gets a JSON object per file: expert, model, file and number of requests.

    Raises
    ------
    OSError
        The disk refuses.
    """
    parts = [part_of(task.target, expert) for expert, _ in task.models]
    hidden = [part.with_name(f".{part.name}.partial") for part in parts]
    counts = [0] * len(parts)
    with ExitStack() as opened:
        streams = [opened.enter_context(path.open("wb")) for path in hidden]
        for line in spool:
            number, _, request = line.partition(_TAB.encode())
            streams[int(number)].write(request)
            counts[int(number)] += 1
        for stream in streams:
            stream.flush()
            os.fsync(stream.fileno())
    lines = []
    for (expert, model), count, path, part in zip(task.models, counts, hidden, parts, strict=True):
        if count:
            path.replace(part)
            lines.append({"expert": expert, "model": model, "file": part.name, "requests": count})
        else:
            path.unlink()
            part.unlink(missing_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    listing.write_bytes(packer(split_suffix(task.target)[1])(text.encode()))
