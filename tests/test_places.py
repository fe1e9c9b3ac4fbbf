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

from tests.hostile_files import PACKERS, UNPACKERS
from zooter_lite.bulk import parquet
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files import places
from zooter_lite.files.places import Kind, Source

DATA = b"".join(b"line %d\n" % i for i in range(20_000))
PACKINGS = list(UNPACKERS)


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, None) for name in ("a.parquet.gz", "a.json", "a.gz", "csv", "a.csv.zip", "")),
        ("a.csv ", None),
        ("a.b.CSV.GZ", ("csv", ".gz")),
        ("/x.y/.jsonl.bz2", ("jsonl", ".bz2")),
        ("s3://b/a.parquet", ("parquet", "")),
    ],
)
def test_kind_and_packing_by_name(name: str, expected: tuple[Kind, str] | None) -> None:
    if expected:
        assert places.split_suffix(name) == expected
        return
    with pytest.raises(DataError, match=f"^{name}: unknown format; expected a name ending in"):
        places.split_suffix(name)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("place", ["local", "memory"])
def test_packed_parts_joined_are_read_as_one(
    tmp_path: Path, memory: Any, packing: str, place: str
) -> None:
    pack = places.packer(packing)
    content = pack(DATA[:77_777]) + pack(b"") + pack(DATA[77_777:])
    assert UNPACKERS[packing](content) == DATA
    assert pack(DATA[77_777:]) == places.packer(packing)(DATA[77_777:])
    path = (
        f"memory://x/in.csv{packing}" if place == "memory" else str(tmp_path / f"in.csv{packing}")
    )
    with fsspec.open(path, "wb") as stream:
        stream.write(content)
    source = Source(path, "csv", packing, "")
    for target in (3, 77_777, len(DATA)):
        with places.open_source(source) as text:
            assert text.read(3) == DATA[:3]
            places.go_to(text, source, 3, target)
            assert text.read() == DATA[target:]
    if packing:
        message = "shorter than when the job began"
        with places.open_source(source) as text, pytest.raises(DataError, match=message):
            places.go_to(text, source, 0, len(DATA) + 1)


@pytest.mark.parametrize("packing", list(PACKERS))
def test_going_on_in_a_damaged_file(tmp_path: Path, packing: str) -> None:
    content = PACKERS[packing](DATA)
    source = Source(str(tmp_path / "in"), "csv", packing, "")
    (tmp_path / "in").write_bytes(content[: len(content) // 2])
    with places.open_source(source) as text, pytest.raises(DataError) as caught:
        places.go_to(text, source, 0, len(DATA))
    assert str(caught.value).startswith(f"{tmp_path / 'in'}: truncated or damaged data (")


class TestZstandard:
    """Frames one after another; zstandard's own reader takes a cut one for a whole one."""

    def read(self, content: bytes, size: int = -1) -> bytes:
        stream: Any = places._unpacked(io.BytesIO(content), ".zst")
        return bytes(stream.read(size))

    def test_frames(self) -> None:
        frame = zstandard.compress(b"abc")
        skipped = b"\x50\x2a\x4d\x18\x03\0\0\0xyz"
        assert self.read(b"") == b""
        assert self.read(frame + zstandard.compress(b"") + skipped + frame) == b"abcabc"
        assert self.read(frame * 1000, 7) == b"abcabca"

    def test_a_frame_cut_anywhere(self) -> None:
        whole = zstandard.compress(b"abc" * 500)
        content = whole + zstandard.compress(bytes(range(256)) * 20)
        for end in range(1, len(content)):
            if end == len(whole):
                assert self.read(content[:end]) == b"abc" * 500
                continue
            with pytest.raises(OSError, match="Truncated compressed stream"):
                self.read(content[:end])

    def test_garbage(self) -> None:
        for content in (b"no frame", zstandard.compress(b"abc") + b"no frame"):
            with pytest.raises(OSError, match="Unknown frame descriptor"):
                self.read(content)


def test_what_stands_at_a_path_or_url(tmp_path: Path, memory: Any) -> None:
    memory.pipe("/x/a.csv", b"12345")
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    assert [places.size_of(f"memory://x/{name}") for name in ("a.csv", "b.csv")] == [5, -1]
    names = ("a", "dangling", "none")
    assert [places.size_of(str(tmp_path / name)) for name in names] == [3, 0, -1]
    places.upload(tmp_path / "a", "memory://x/c.csv")
    assert memory.cat("/x/c.csv") == b"123"


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
