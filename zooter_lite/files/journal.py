"""Append-only journals: JSON lines that survive a kill at any instant."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zooter_lite.errors import DataError

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

_BINARY = getattr(os, "O_BINARY", 0)  # of Windows, which would change the ends of lines


class Journal:
    """A file of JSON objects, one per line, that one process at a time appends to.

    A line that a kill left unfinished is cut off when the journal is opened again. Each
    record is handed to the system before `append` returns: it survives the end of the
    process, and that of the machine from the next `close` on.

    Parameters
    ----------
    path
        Made where it is missing, with its folder.

    Raises
    ------
    DataError
        It cannot be written, or another process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o644)
        except OSError as error:
            raise DataError(f"{path}: cannot write ({error.strerror})") from error
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._file), path.stat()):
                raise BlockingIOError  # removed since it was opened, and made anew
            self._end = _mend(self._file)
        except (BlockingIOError, FileNotFoundError) as error:
            os.close(self._file)
            raise DataError(f"{path}: another process writes to it") from error
        except OSError as error:
            os.close(self._file)
            raise DataError(f"{path}: cannot lock or mend it ({error.strerror})") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record.

        Raises
        ------
        DataError
            The disk is full, or refuses otherwise; what was written before stays whole.
        """
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        rest = memoryview(line.encode("utf-8", "backslashreplace"))
        size = len(rest)
        try:
            os.lseek(self._file, self._end, os.SEEK_SET)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            with suppress(OSError):  # then the next opening cuts it
                os.ftruncate(self._file, self._end)
            raise DataError(f"{self.path}: cannot write ({error.strerror})") from error
        self._end += size

    def clear(self) -> None:
        """Forget every record."""
        os.ftruncate(self._file, 0)
        self._end = 0

    def close(self) -> None:
        """Hand everything to the disk and let others write.

        Raises
        ------
        DataError
            The disk did not take what `append` had written.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise DataError(f"{self.path}: cannot write ({error.strerror})") from error
        finally:
            os.close(self._file)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a journal; none where there is no such file.

    A last line that is not finished is left out.

    Raises
    ------
    DataError
        A line is no JSON object.
    """
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, 1):
                record = _parsed(raw)
                if record is not None:
                    yield record
                elif raw.endswith(b"\n"):
                    raise DataError(f"{path}, line {number}: expected a JSON object")
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _mend(file: int) -> int:
    """Finish or cut the last line; return the length of the file."""
    end = os.fstat(file).st_size
    if not end:
        return 0
    with mmap.mmap(file, end, access=mmap.ACCESS_READ) as text:
        start = text.rfind(b"\n") + 1
        last = text[start:]
    if last and _parsed(last) is None:
        os.ftruncate(file, start)
        return start
    os.lseek(file, end, os.SEEK_SET)
    return end + os.write(file, b"\n" if last else b"")  # whole but for the end of the line
