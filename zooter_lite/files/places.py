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

from zooter_lite.errors import DataError, ZooterError, needs

STANDARD = "-"  # standard input or output, for the commands that take it
CSV_KINDS = ("csv", "tsv")
JSON_KINDS = ("jsonl", "ndjson", "json")
Kind = Literal["csv", "jsonl", "parquet"]
_PACKINGS: dict[str, tuple[Callable[..., object], Callable[[bytes], bytes]]] = {
    "": (lambda raw: raw, lambda data: data),
    ".gz": (gzip.open, lambda data: gzip.compress(data, 6, mtime=0)),
    ".bz2": (bz2.open, bz2.compress),
    ".xz": (lzma.open, lzma.compress),
}
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(CSV_KINDS, "csv"),
    **dict.fromkeys(JSON_KINDS, "jsonl"),
}
SUFFIXES = (
    *(f".{kind}{packing}" for kind in _KINDS for packing in (*_PACKINGS, ".zst")),
    ".parquet",
)


@dataclass(frozen=True)
class Source:
    """One file to read."""

    path: str  # local, a URL, or `-` for standard input
    kind: Kind
    packing: str  # suffix of its compression; "" for none
    stamp: str  # changes when the content does: size and time, or what the store gives

    @property
    def name(self) -> str:
        """What messages call it."""
        return "standard input" if self.path == STANDARD else self.path

    @property
    def unit(self) -> str:
        """What its rows are numbered by."""
        return "row" if self.kind == "parquet" else "line"


def split_suffix(path: str) -> tuple[Kind, str]:
    """Kind and packing of a file by its name.

    Raises
    ------
    DataError
        The name tells neither.

    Examples
    --------
    >>> split_suffix("s3://bucket/prompts.csv.gz")
    ('csv', '.gz')
    """
    suffix = next((suffix for suffix in SUFFIXES if path.lower().endswith(suffix)), None)
    if suffix is None:
        raise DataError(
            f"{path}: unknown format; expected a name ending in .csv, .tsv, .jsonl, .ndjson, "
            ".json (also .gz, .bz2, .xz, .zst) or .parquet"
        )
    kind, _, packing = suffix[1:].partition(".")
    return _KINDS.get(kind, "parquet"), f".{packing}" if packing else ""


def is_url(path: str) -> bool:
    """Whether fsspec opens it."""
    return "://" in path


def filesystem_of(path: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL, and the path in it; DataError for an unknown one."""
    with needs("batch", f"{path}: reading a URL"):
        import fsspec
    try:
        filesystem, inner = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise DataError(f"{path}: {flat(error)}") from error
    return filesystem, inner


def size_of(path: str | Path) -> int:
    """Return the bytes of what stands at a path or URL; -1 where nothing does.

    A link to nothing is something, too, and has none.

    Raises
    ------
    DataError
        The store does not answer.
    """
    with refusals(path, "cannot be reached"):
        try:
            if isinstance(path, Path) or not is_url(path):
                return Path(path).stat().st_size
            filesystem, inner = filesystem_of(path)
            return int(filesystem.size(inner) or 0)
        except FileNotFoundError:
            return 0 if os.path.islink(path) else -1  # noqa: PTH114


def flat(error: Exception) -> str:
    """Return the message of an error in one short line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def refusals(where: object, what: str) -> Iterator[None]:
    """Turn what files, decompressors and stores raise, each its own kinds, into a DataError."""
    try:
        yield
    except ZooterError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"{where}: {reason or f'{what} ({flat(error)})'}") from error


@contextmanager
def open_source(source: Source) -> Iterator[IO[bytes]]:
    """Open a file, a URL or standard input for reading, unpacked.

    Raises
    ------
    DataError, MissingPackageError
        It cannot be opened, or a package is missing.
    """
    if source.path == STANDARD:
        if sys.stdin is None:
            raise DataError(f"{source.name}: it is closed")
        yield sys.stdin.buffer
        return
    with refusals(source.path, "cannot be read"):
        if is_url(source.path):
            filesystem, inner = filesystem_of(source.path)
            raw = filesystem.open(inner, "rb")
        else:
            raw = Path(source.path).open("rb")  # noqa: SIM115
    with raw:
        yield cast("IO[bytes]", _unpacked(raw, source.packing))


def _unpacked(raw: IO[bytes], packing: str) -> object:
    if packing != ".zst":
        return _PACKINGS[packing][0](raw)
    with needs("batch", "Zstandard compression"):
        import pyarrow
    # pyarrow's reader is the one that tells when a frame is cut short
    frames = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")
    return io.BufferedReader(frames, 2**20)


def packer(packing: str) -> Callable[[bytes], bytes]:
    """Return a function that packs bytes so that packed parts, joined, unpack as one.

    Equal bytes give equal bytes: no time stamp is written.
    """
    if packing != ".zst":
        return _PACKINGS[packing][1]
    with needs("batch", "Zstandard compression"):
        import zstandard
    return zstandard.ZstdCompressor(write_checksum=True).compress
