"""Files where they lie: packings, URLs, names, and packages that are missing."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
import zstandard

from tests.hostile_files import UNPACKERS
from zooter_lite.bulk import parquet
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files import places
from zooter_lite.files.places import Source
from zooter_lite.files.records import Lines

DATA = b"".join(b"line %d\n" % i for i in range(20_000))
PACKINGS = list(UNPACKERS)


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_parts_joined_are_read_as_one(memory: Any, packing: str) -> None:
    pack = places.packer(packing)
    content = pack(DATA[:77_777]) + pack(b"") + pack(DATA[77_777:])
    assert UNPACKERS[packing](content) == DATA
    assert pack(DATA[77_777:]) == places.packer(packing)(DATA[77_777:])
    path = f"memory://x/in.csv{packing}"
    memory.pipe(path, content)
    source = Source(path, "csv", packing, "")
    for target in (9, 77_778, len(DATA)):
        with places.open_source(source) as text:
            lines = Lines(text, path)
            lines.go_to(target, 0)
            assert lines.block(len(DATA)) == DATA[target:]


def test_a_zstandard_frame_cut_anywhere() -> None:
    """zstandard's own reader takes a cut one for a whole one."""
    whole = zstandard.compress(b"abc" * 500)
    content = whole + zstandard.compress(bytes(range(256)) * 4)
    for end in {*range(1, len(content), 7), len(content) - 1} - {len(whole)}:
        stream: Any = places._unpacked(io.BytesIO(content[:end]), ".zst")
        with pytest.raises(OSError, match="Truncated compressed stream"):
            stream.read()


def test_what_cannot_be_opened(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, reason in (
        ("what://x/a.csv", "Protocol not known: what"),
        ("memory://x/none.csv", r"cannot be read \(/x/none.csv\)"),
        (str(tmp_path / "none"), "No such file or directory"),
        (str(tmp_path), "Is a directory"),
    ):
        source = Source(path, "csv", "", "")
        with pytest.raises(DataError, match=f"^{path}: {reason}"), places.open_source(source):
            pass

    def down(*_: object, **__: object) -> None:
        raise RuntimeError("timed\nout" + "x" * 400)

    monkeypatch.setattr(type(memory), "size", down)
    with pytest.raises(DataError, match=r"^memory://x/a: cannot be reached \(timed outx{291}\)$"):
        places.size_of("memory://x/a")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("-", "csv", "", "")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"x")))
    with places.open_source(source) as text:
        assert text.read() == b"x"
    monkeypatch.setattr(sys, "stdin", None)
    with (
        pytest.raises(DataError, match=r"^standard input: it is closed$"),
        places.open_source(source),
    ):
        pass


@pytest.mark.parametrize(
    ("package", "ask", "what"),
    [
        ("zstandard", lambda: places.packer(".zst"), "Zstandard compression"),
        ("fsspec", lambda: places.filesystem_of("a://b"), "a://b: reading a URL"),
        ("pyarrow", parquet._arrow, "Parquet"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, ask: Callable[[], object], what: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError) as caught:
        ask()
    assert str(caught.value) == (
        f"{what} needs the package '{package}': pip install 'zooter-lite[batch]'"
    )
