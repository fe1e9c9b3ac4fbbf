"""Files that appear whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO, cast

from zooter_lite.errors import DataError


@contextmanager
def atomic_text(path: str) -> Iterator[TextIO]:
    """Open a file for writing text; it replaces `path` when the block ends well.

    A name that ends in .gz is compressed, without a time stamp, so that equal texts give
    equal bytes.
    """
    packed = path.lower().endswith(".gz")
    with atomic_file(Path(path)) as partial, partial.open("wb") as raw:
        binary = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if packed else raw
        with io.TextIOWrapper(cast("IO[bytes]", binary), encoding="utf-8", newline="") as text:
            yield text


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a sibling path to write to; it replaces `target` when the block ends well.

    Raises
    ------
    DataError
        The folder or the disk refuses.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot write ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink()
