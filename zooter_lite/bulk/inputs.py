"""What a job reads and writes: a file, a folder, a pattern or a URL, and where each file goes."""

from __future__ import annotations

import glob
import os
import stat
import sys
from pathlib import Path, PurePosixPath
from typing import cast

from zooter_lite.bulk.block import Task
from zooter_lite.bulk.output import REJECTS
from zooter_lite.errors import DataError
from zooter_lite.files.places import (
    STANDARD,
    SUFFIXES,
    Kind,
    Source,
    filesystem_of,
    is_url,
    refusals,
    split_suffix,
)

_SIGNS = "*?["  # of a pattern


def plan(source: str, target: str, kind: str | None = None) -> list[Task]:
    """Pair every file that `source` names with the file to write.

    `source` is a file, a folder (every file below it that has a known suffix), a pattern with
    `*`, a URL of any of these, or `-`; `target` a file of the same kind, or for a folder or a
    pattern a folder, which then gets files of the same names; `kind` that of standard input and
    output. DataError where there is nothing to read, or the target does not fit.
    """
    source, target = source.removeprefix("file://"), target.removeprefix("file://")
    if target == STANDARD and sys.stdout is None:
        raise DataError("standard output: it is closed")
    base, paths = _files(source)
    tasks = (
        [_single(source, target, kind)] if base is None else _several(source, base, paths, target)
    )
    _check(tasks)
    return tasks


def _single(source: str, target: str, kind: str | None) -> Task:
    """Pair one file, or standard input, with one file or standard output."""
    if source == STANDARD == target and kind is None:
        raise DataError("--format csv or --format jsonl is needed with - for both files")
    if source == STANDARD:
        read = Source(STANDARD, cast(Kind, kind or split_suffix(target)[0]), "", "")
    else:
        read = _source(source)
    if read.kind == "parquet" and STANDARD in (source, target):
        what = "read from standard input" if source == STANDARD else "written to standard output"
        raise DataError(f"{target if source == STANDARD else source}: Parquet cannot be {what}")
    wanted = (kind or read.kind) if target == STANDARD else split_suffix(target)[0]
    if wanted != read.kind:
        raise DataError(
            f"{target}: the input is {read.kind} and the output {wanted}; expected the same format"
        )
    return Task(read, target)


def _several(source: str, base: str, paths: list[str], target: str) -> list[Task]:
    """Pair the files below `base` with files of the same names below `target`."""
    known = sorted(path for path in paths if path.lower().endswith(SUFFIXES))
    if not known:
        raise DataError(f"{source}: no file ending in {', '.join(SUFFIXES)}")
    other = sorted(set(paths) - set(known))
    if other:
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        print(f"passed over, of no known format: {', '.join(other[:5])}{more}", file=sys.stderr)
    if target == STANDARD or target.lower().endswith(SUFFIXES):
        raise DataError(f"{target}: expected a folder, since {source} may name several files")
    where, below = _real(base), _real(target)
    recursive = "**" in source or not any(sign in source for sign in _SIGNS)
    if where == below or (recursive and below.startswith(where.rstrip("/") + "/")):
        raise DataError(f"{target}: expected a folder outside {base}")
    folder = target.rstrip("/") or "/"
    return [Task(_source(path), f"{folder}/{_relative(path, base)}") for path in known]


def _relative(path: str, base: str) -> str:
    if is_url(path):
        return path[len(base.rstrip("/")) + 1 :]
    name = PurePosixPath(Path(os.path.relpath(path, base)))
    if ".." in name.parts:
        raise DataError(f"{path}: expected a file below {base}")
    return str(name)


def _check(tasks: list[Task]) -> None:
    """Refuse a task that writes what another one reads or writes.

    A file may be replaced by its own routed rows.
    """
    owners: dict[str, str] = {}
    for task in tasks:
        for path in (task.target, task.target + REJECTS):
            other = owners.setdefault(_real(path), task.source.path)
            if other != task.source.path:
                raise DataError(f"{path}: both {other} and {task.source.path} would write it")
    for task in tasks:
        path = task.source.path
        if _real(path) in owners and _real(task.target) != _real(path):
            raise DataError(f"{path}: an input that the job would write; expected another output")


def _real(path: str) -> str:
    """Return one name for all that lead to the same place."""
    if is_url(path):
        filesystem, inner = filesystem_of(path)
        return str(filesystem.unstrip_protocol(inner))
    return path if path == STANDARD else os.path.realpath(path)


def _source(path: str) -> Source:
    kind, packing = split_suffix(path)
    with refusals(path, "cannot be read"):
        if is_url(path):
            filesystem, inner = filesystem_of(path)
            try:
                return Source(path, kind, packing, str(filesystem.ukey(inner)))
            except FileNotFoundError as error:
                raise DataError(f"{path}: no such file") from error
        status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: expected a file, found a device or pipe; - is standard input")
    return Source(path, kind, packing, f"{status.st_size}:{status.st_mtime_ns}")


def _files(source: str) -> tuple[str | None, list[str]]:
    """Folder and files that a folder or a pattern names; (None, []) for a single file."""
    if is_url(source):
        return _remote_files(source)
    if any(sign in source for sign in _SIGNS) and not os.path.lexists(source):
        base = source[: min(source.find(sign) for sign in _SIGNS if sign in source)]
        paths = glob.glob(source, recursive=True)  # noqa: PTH207 - of any folder
        return os.path.split(base)[0] or ".", [p for p in set(paths) if not os.path.isdir(p)]  # noqa: PTH112
    if not os.path.isdir(source):  # noqa: PTH112 - False for a name that is too long
        return None, []
    paths = []
    for place, folders, names in os.walk(source, onerror=_unlistable):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        paths += [str(Path(place) / name) for name in names if not name.startswith((".", "_"))]
    return source, paths


def _unlistable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror})") from error


def _remote_files(source: str) -> tuple[str | None, list[str]]:
    with refusals(source, "cannot be listed"):
        filesystem, inner = filesystem_of(source)
        if "*" in source:
            base = inner[: inner.find("*")].rpartition("/")[0]
            paths = filesystem.glob(inner)
        elif filesystem.isdir(inner):
            base, paths = inner, filesystem.find(inner)
        else:
            return None, []
        return filesystem.unstrip_protocol(base), [filesystem.unstrip_protocol(p) for p in paths]
