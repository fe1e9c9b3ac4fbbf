"""Files as config.json promises them: checked on load, read whole only where they are needed."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeAlias

from zooter_lite.errors import RouterError

Content: TypeAlias = bytes | mmap.mmap

# Larger files are memory-mapped. Smaller ones are not: a file that is cut short in place
# while it is mapped kills the process that reads it.
MAP_FROM = 64 * 2**20
_CHUNK = 2**20
# No honest file is larger. A sparse file costs its author nothing.
MAX_BYTES = {
    "config.json": 4 * 2**20,
    "head.safetensors": 64 * 2**20,
    "tokenizer.json": 64 * 2**20,
    "tags.json": 512 * 2**20,
    "queries.json": 512 * 2**20,
    "tags.faiss": 8 * 2**30,
}
_OTHER_BYTES = 2**31  # as protobuf, so any graph


@dataclass(frozen=True)
class Promise:
    """What config.json says of a file: its size in bytes, and its sha256 in hexadecimal."""

    bytes: int
    sha256: str


def promise_of(content: Content) -> Promise:
    """Return what config.json says of a file with this content."""
    return Promise(len(content), hashlib.sha256(content).hexdigest())


class VerifiedFile:
    """A file of the promised size, held open: what is checked is what is loaded.

    A folder may be replaced by a new fit between the two; this file is not. Use it in a
    `with` block.

    Parameters
    ----------
    file, promise
        The file, and what config.json promises of it; None where it does not list it.

    Raises
    ------
    RouterError
        No promise, no plain file, or another size.
    """

    def __init__(self, file: Path, promise: Promise | None) -> None:
        if promise is None:
            raise RouterError(
                f"{file.parent}: config.json gives no size and sha256 for {file.name}"
            )
        try:
            self._stream = open_plain(file)
        except OSError as error:
            raise RouterError(f"{file}: missing, or not a plain file ({error.strerror})") from error
        self.name = file.name
        self._file, self._promise = file, promise
        self._size = os.fstat(self._stream.fileno()).st_size
        if self._size != promise.bytes:
            self._stream.close()
            state = "truncated" if self._size < promise.bytes else "too long"
            promised = str(promise.bytes)[:20]
            raise RouterError(f"{file}: {state}: {self._size} bytes, config.json says {promised}")

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
        if sha256.hexdigest() != self._promise.sha256:
            raise RouterError(
                f"{self._file}: its sha256 is not the one in config.json; damaged or changed"
            )

    def content(self) -> Content:
        """Return the content, unchecked, read or memory-mapped."""
        with Path(self.path).open("rb") as stream:  # the held one may be at work in `check`
            if self._size < MAP_FROM:
                return stream.read()
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> VerifiedFile:
        """Hold the file for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file at the end of a block."""
        self._stream.close()


def read_verified(file: Path, promise: Promise | None) -> Content:
    """Return the content of a file as it is promised; one of `MAP_FROM` bytes or more is mapped.

    Raises
    ------
    RouterError
        No promise, no plain file, or another size or hash.
    """
    with VerifiedFile(file, promise) as opened:
        opened.check()
        return opened.content()


def open_plain(file: Path) -> BufferedReader:
    """Open a plain file: no folder, pipe or device; nothing that waits.

    Of links only those of a hub's cache are followed, from a snapshot to what the same
    repository keeps.

    Raises
    ------
    OSError
        It cannot be opened, is something else, or is larger than `MAX_BYTES` of its name.
    """
    extra = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    found = _in_cache(file) if file.is_symlink() else file
    stream = open(found, "rb", opener=lambda path, flags: os.open(path, flags | extra))  # noqa: SIM115
    status = os.fstat(stream.fileno())
    largest = MAX_BYTES.get(file.name, _OTHER_BYTES)
    if found.is_symlink() or not stat.S_ISREG(status.st_mode) or status.st_size > largest:
        stream.close()
        large = f"larger than {largest >> 20} MiB"
        raise OSError(0, large if status.st_size > largest else "something else")
    return stream


def _in_cache(link: Path) -> Path:
    """Return what a link of a hub's snapshot stands for: a file of the same repository.

    A repository in the cache is a folder with `blobs` and `snapshots`.
    """
    target = Path(os.path.realpath(link))  # which a loop of links does not end by an exception
    for snapshots in Path(os.path.realpath(link.parent)).parents:
        repository = snapshots.parent
        if snapshots.name == "snapshots" and (repository / "blobs").is_dir():
            if target.is_relative_to(repository):
                return target
            break
    raise OSError(
        errno.ELOOP,
        "a link, other than within a hub's cache; copy the folder with its links followed (cp -rL)",
    )
