"""Files where they lie: local or behind a URL, packed or not, read, looked for and put."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.records import unreadable
from zooter_lite.files.rows import STANDARD

Kind = Literal["csv", "jsonl", "parquet"]
_PACKED = ("", ".gz", ".bz2", ".xz", ".zst")
SUFFIXES = (*(f".{kind}{packed}" for kind in ("csv", "jsonl") for packed in _PACKED), ".parquet")
REJECTS = ".rejects.jsonl"  # follows the name of the output
_STEP = 2**20
_FRAME_STEP = 2**10  # unpacks to at most 32 MiB, where someone means harm


@dataclass(frozen=True)
class Source:
    """One file to read.

    Attributes
    ----------
    path
        A local path, a URL, or `-` for standard input.
    kind
        What it holds.
    packing
        Suffix of its compression; "" for none.
    stamp
        Changes when its content does: size and time, or what the store gives.
    """

    path: str
    kind: Kind
    packing: str
    stamp: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return "standard input" if self.path == STANDARD else self.path


def is_url(path: str) -> bool:
    """Whether fsspec opens it."""
    return "://" in path


def split_suffix(path: str) -> tuple[Kind, str] | None:
    """Kind and packing of a file by its name; None where the name tells neither."""
    lower = path.lower()
    suffix = next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), None)
    if suffix is None:
        return None
    kind, _, packing = suffix[1:].partition(".")
    return cast("Kind", kind), f".{packing}" if packing else ""


def unknown(path: str) -> DataError:
    """Make the error for a file whose name tells no format."""
    return DataError(
        f"{path}: unknown format; expected a name ending in .csv, .jsonl "
        "(also .gz, .bz2, .xz, .zst) or .parquet"
    )


def filesystem_of(path: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL, and the path in it.

    Raises
    ------
    DataError, MissingPackageError
        No such protocol, or a package is missing.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingPackageError("fsspec", "batch", f"{path}: reading a URL") from error
    try:
        filesystem, inner = fsspec.core.url_to_fs(path)
    except ImportError as error:
        raise DataError(f"{path}: {flat(error)}") from error
    except ValueError as error:
        raise DataError(f"{path}: {flat(error)}") from error
    return filesystem, inner


def exists(path: str) -> bool:
    """Whether anything stands there, at a path (even a link to nothing) or a URL.

    Raises
    ------
    DataError
        The store does not answer.
    """
    if not is_url(path):
        return os.path.lexists(path)
    filesystem, inner = filesystem_of(path)
    try:
        return bool(filesystem.exists(inner))
    except Exception as error:  # each store raises its own
        raise DataError(f"{path}: cannot be reached ({flat(error)})") from error


def size_of(path: str) -> int:
    """Return the bytes of what stands at a path or URL; -1 where nothing does.

    Raises
    ------
    DataError
        The store does not answer.
    """
    try:
        if not is_url(path):
            return Path(path).stat().st_size
        filesystem, inner = filesystem_of(path)
        return int(filesystem.size(inner))
    except FileNotFoundError:
        return -1
    except Exception as error:  # each store raises its own
        raise DataError(f"{path}: cannot be reached ({flat(error)})") from error


def upload(path: Path, url: str) -> None:
    """Put a file at a URL.

    Raises
    ------
    DataError
        The store refuses it.
    """
    filesystem, inner = filesystem_of(url)
    try:
        filesystem.put_file(str(path), inner)
    except Exception as error:  # each store raises its own
        raise DataError(f"{url}: cannot be written ({flat(error)})") from error


def flat(error: Exception) -> str:
    """Return the message of an error in one short line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def open_raw(path: str) -> Iterator[IO[bytes]]:
    """Open a file or URL as it is, for reading."""
    if is_url(path):
        filesystem, inner = filesystem_of(path)
        try:
            stream = filesystem.open(inner, "rb")
        except Exception as error:  # each store raises its own
            raise DataError(f"{path}: cannot be read ({flat(error)})") from error
    else:
        try:
            stream = Path(path).open("rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
    with stream:
        yield cast("IO[bytes]", stream)


@contextmanager
def open_text(source: Source) -> Iterator[IO[bytes]]:
    """Open a CSV or JSON-lines file unpacked."""
    if source.path == STANDARD:
        if sys.stdin is None:
            raise DataError(f"{source.name}: it is closed")
        yield sys.stdin.buffer
        return
    with open_raw(source.path) as raw:
        yield _unpacked(raw, source)


def go_to(stream: IO[bytes], source: Source, place: int, target: int) -> None:
    """Move a stream that `open_text` opened from byte `place` on to byte `target`.

    Raises
    ------
    DataError
        It ends before, or cannot be read.
    """
    try:
        if not source.packing:
            stream.seek(target)
            return
        while place < target:  # packed bytes have to be read to be counted
            read = len(stream.read(min(target - place, _STEP)))
            if not read:
                raise DataError(f"{source.name}: shorter than when the job began")
            place += read
    except DataError:
        raise
    except Exception as error:  # each decompressor and store raises its own
        raise unreadable(error, source.name) from error


def _unpacked(raw: IO[bytes], source: Source) -> IO[bytes]:
    """Wrap a packed stream in one that unpacks it."""
    if not source.packing:
        return raw
    if source.packing == ".zst":
        frames = _Frames(raw, zstandard(source.path).ZstdDecompressor)
        return cast("IO[bytes]", io.BufferedReader(frames, _STEP))
    openers: dict[str, Callable[..., object]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
    }
    return cast("IO[bytes]", openers[source.packing](raw, "rb"))


class _Frames(io.RawIOBase):
    """Unpacked bytes of a Zstandard stream of any number of frames.

    The package's own readers take a frame that is cut short for a whole one.
    """

    def __init__(self, raw: IO[bytes], decompressor: Callable[[], Any]) -> None:
        self._raw = raw
        self._decompressor = decompressor
        self._frame: Any = None
        self._packed = b""
        self._unpacked = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, at least a little unless the stream has ended.

        Raises
        ------
        EOFError
            It ends within a frame.
        """
        while not self._unpacked:
            self._packed = self._packed or self._raw.read(_FRAME_STEP)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("it ends within a Zstandard frame")
                return 0
            if self._frame is None:
                self._frame = self._decompressor().decompressobj()
            self._unpacked = memoryview(self._frame.decompress(self._packed))
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._unpacked))
        buffer[:size] = self._unpacked[:size]
        self._unpacked = self._unpacked[size:]
        return size


def packer(packing: str, path: str) -> Callable[[bytes], bytes]:
    """Return a function that packs bytes so that packed parts, joined, unpack as one.

    Equal bytes give equal bytes: no time stamp is written.
    """
    if packing == ".zst":
        return zstandard(path).ZstdCompressor(write_checksum=True).compress  # type: ignore[no-any-return]
    packers: dict[str, Callable[[bytes], bytes]] = {
        "": lambda data: data,
        ".gz": lambda data: gzip.compress(data, 6, mtime=0),
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    return packers[packing]


def zstandard(path: str) -> Any:
    """Return the zstandard package, which `path` needs."""
    try:
        import zstandard as package
    except ImportError as error:
        raise MissingPackageError("zstandard", "batch", f"{path}: Zstandard compression") from error
    return package
