"""Files as config.json promises them: checked on load, read whole only where they are needed."""

from __future__ import annotations

import hashlib
import mmap
from io import BufferedReader
from pathlib import Path

from zooter_lite.errors import RouterError

# Larger files are memory-mapped. Smaller ones are not: a file that is cut short in place
# while it is mapped kills the process that reads it.
MAP_FROM = 64 * 2**20
_CHUNK = 2**20


class VerifiedFile:
    """A file of the promised size, held open: what is checked is what is loaded.

    A folder may be replaced by a new fit between the two; this file is not.

    Parameters
    ----------
    file, promise
        The file, and {"bytes": size, "sha256": hexadecimal digest} as config.json lists it.

    Raises
    ------
    RouterError
        No promise, no plain file, or another size.
    """

    def __init__(self, file: Path, promise: object) -> None:
        self._file, self._promise = file, promise
        self._stream = _open(file, promise)

    @property
    def path(self) -> str:
        """A path under which other libraries can open this file."""
        held = Path(f"/proc/self/fd/{self._stream.fileno()}")
        return str(held if held.exists() else self._file)

    def check(self) -> None:
        """Compare the sha256, without keeping the content; RouterError where it differs."""
        sha256 = hashlib.sha256()
        buffer = bytearray(_CHUNK)
        view = memoryview(buffer)
        self._stream.seek(0)
        while count := self._stream.readinto(buffer):
            sha256.update(view[:count])
        _compare(self._file, sha256.hexdigest(), self._promise)

    def read(self) -> bytes:
        """Return the content after the check."""
        self._stream.seek(0)
        content = self._stream.read()
        _compare(self._file, hashlib.sha256(content).hexdigest(), self._promise)
        return content

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()


def check_file(file: Path, promise: object) -> None:
    """Compare size and sha256 of a file with what is promised, without keeping the content.

    Raises
    ------
    RouterError
        No promise, no plain file, or another size or hash.
    """
    opened = VerifiedFile(file, promise)
    opened.check()
    opened.close()


def read_file(file: Path, promise: object) -> bytes:
    """Return the content of a file after the checks of `check_file`."""
    opened = VerifiedFile(file, promise)
    content = opened.read()
    opened.close()
    return content


def map_file(file: Path, promise: object) -> bytes | mmap.mmap:
    """Return `read_file`; a file of `MAP_FROM` bytes or more is memory-mapped instead."""
    with _open(file, promise) as stream:
        if file.stat().st_size < MAP_FROM:
            return read_file(file, promise)
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    _compare(file, hashlib.sha256(content).hexdigest(), promise)
    return content


def _open(file: Path, promise: object) -> BufferedReader:
    if not isinstance(promise, dict) or not isinstance(promise.get("bytes"), int):
        raise RouterError(f"{file.parent}: config.json gives no size and sha256 for {file.name}")
    if file.is_symlink() or not file.is_file():
        raise RouterError(f"{file}: missing, or not a plain file")
    size = file.stat().st_size
    if size != promise["bytes"]:
        state = "truncated" if size < promise["bytes"] else "too long"
        raise RouterError(f"{file}: {state}: {size} bytes, config.json says {promise['bytes']}")
    return file.open("rb")


def _compare(file: Path, digest: str, promise: object) -> None:
    if not isinstance(promise, dict) or digest != promise.get("sha256"):
        raise RouterError(f"{file}: its sha256 is not the one in config.json; damaged or changed")
