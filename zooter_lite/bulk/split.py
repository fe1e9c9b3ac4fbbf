"""Requests of a vendor's batch file, in one file per expert.

Until its end a job keeps every request in one journaled file, each behind the number of its
expert. One pass then makes the files of all experts from it, under hidden names; they take
their own, and last of all appears the output, which lists them. A job that is killed on the
way makes the same files again.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from zooter_lite.bulk.block import Task
from zooter_lite.bulk.output import REJECTS
from zooter_lite.errors import DataError
from zooter_lite.files.places import is_url, packer, size_of, split_suffix
from zooter_lite.files.rows import STANDARD

TAB = "\t"  # between the number of an expert and its request


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
            number, _, request = line.partition(TAB.encode())
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
