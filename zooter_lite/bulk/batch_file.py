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
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from zooter_lite.bulk.block import Cells, Task
from zooter_lite.bulk.output import REJECTS
from zooter_lite.bulk.rows import JsonRows
from zooter_lite.errors import DataError
from zooter_lite.files.messages import Prompt
from zooter_lite.files.places import STANDARD, is_url, packer, size_of, split_suffix

_MODEL = re.compile(r'"model"\s*:\s*')
_TAB = "\t"  # between the number of an expert and its request


class BatchRows(JsonRows):
    """The requests of a block; the output is the same lines with other models."""

    def _prompt(self, row: int, value: Any) -> Prompt:
        prompt = super()._prompt(row, value)
        if not prompt.text.strip():
            raise ValueError("an empty prompt")
        text = self._records[row].raw.decode("utf-8")
        start, end = model_span(text)
        self._lines[row] = f"{text[:start]}\0{text[end:]}"  # which no JSON holds
        return prompt

    def output(self, cells: Sequence[Cells], *, keep: bool) -> bytes:
        """Return the requests with the model of each one's expert; a bad one is never kept.

        Where they are to be split, each stands behind the number of its expert.
        """
        given = {}  # of each expert: what stands before its requests, and its model
        for n, (expert, model) in enumerate(self._task.models):
            before = f"{n}{_TAB}" if self._task.split else ""
            given[expert] = before, json.dumps(model, ensure_ascii=False)
        lines = []
        for row, (expert, *_) in enumerate(cells):
            if row not in self.problems:
                before, model = given[expert]
                lines.append(before + self._lines[row].replace("\0", model))
        return "".join(lines).encode("utf-8")


def model_span(text: str) -> tuple[int, int]:
    """Return where the value of `body.model` begins and ends in the text of an object.

    ValueError where there is none.

    >>> model_span('{"model": 1, "body": {"model" : 12}}')
    (32, 34)
    """
    old = _model(text)
    for key in _MODEL.finditer(text):
        start = key.end()
        end = json.JSONDecoder().raw_decode(text, start)[1]
        if _model(f"{text[:start]}{json.dumps([old])}{text[end:]}") == [old]:
            return start, end
    raise ValueError("the key 'body.model' is not spelled as it is")


def _model(text: str) -> Any:
    body = json.loads(text).get("body")
    if not isinstance(body, dict) or "model" not in body:
        raise ValueError("no key 'body.model'; expected the model there")
    return body["model"]


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

    `new` says of each task whether its parts may not be there yet.
    """
    taken: set[str] = set()
    for task in tasks:
        if task.target == STANDARD or is_url(task.target):
            raise DataError(f"--split-by: {task.target}: expected a file on this machine")
        taken |= {_place(path) for path in (task.source.path, task.target, task.target + REJECTS)}
    for task, is_new in zip(tasks, new, strict=True):
        for expert in experts:
            part = part_of(task.target, expert)
            if _place(part) in taken:
                raise DataError(
                    f"--split-by: {part}, of expert {expert!r}, is also of another expert, or "
                    "read or written by the job itself"
                )
            taken.add(_place(part))
            if is_new and size_of(part) >= 0:
                raise DataError(f"{part}: exists already; --force overwrites it")


def _place(path: str | Path) -> str:
    """Return one name for paths that some file system takes for the same file."""
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


def write_parts(task: Task, spool: IO[bytes], listing: Path) -> None:
    """Write each expert's requests to a file of its own, and a list of these files.

    An expert without any gets none; one that stands there from an earlier job goes. In `spool`
    each request stands behind its expert's number and a tab; `listing` gets a JSON object per
    file: expert, model, file and number of requests.
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
