"""Files where they lie: packings, URLs, names, and packages that are missing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
import zstandard
from zooter_lite.files.parquet import arrow
from zooter_lite.files.store import Kind, Source

from tests.hostile_files import PACKERS, UNPACKERS
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files import store

DATA = b"".join(b"line %d\n" % i for i in range(200_000))
PACKINGS = list(UNPACKERS)


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", ("csv", "")),
        ("a.b.CSV.GZ", ("csv", ".gz")),
        ("/x.y/.jsonl.bz2", ("jsonl", ".bz2")),
        ("a.jsonl.xz", ("jsonl", ".xz")),
        ("a.csv.zst", ("csv", ".zst")),
        ("s3://b/a.parquet", ("parquet", "")),
        ("a.parquet.gz", None),
        ("a.json", None),
        ("a.gz", None),
        ("csv", None),
        ("a.csv.zip", None),
        ("a.csv ", None),
        ("", None),
    ],
)
def test_kind_and_packing_by_name(name: str, expected: tuple[Kind, str] | None) -> None:
    assert store.split_suffix(name) == expected
    assert name in str(store.unknown(name))


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_parts_joined_unpack_as_one(packing: str) -> None:
    pack = store.packer(packing, "f")
    parts = [pack(DATA[:1000]), pack(b""), pack(DATA[1000:])]
    assert UNPACKERS[packing](b"".join(parts)) == DATA
    assert pack(DATA) == store.packer(packing, "f")(DATA)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("place", ["local", "memory"])
def test_reading_and_going_on(tmp_path: Path, memory: Any, packing: str, place: str) -> None:
    pack = store.packer(packing, "f")
    content = pack(DATA[:777_777]) + pack(DATA[777_777:])
    path = (
        f"memory://x/in.csv{packing}" if place == "memory" else str(tmp_path / f"in.csv{packing}")
    )
    with fsspec.open(path, "wb") as stream:
        stream.write(content)
    source = Source(path, "csv", packing, "")
    with store.open_text(source) as text:
        assert text.read() == DATA
    for target in (0, 5, 777_777, 777_778, len(DATA)):
        with store.open_text(source) as text:
            assert text.read(3) == DATA[:3]
            store.go_to(text, source, 3, max(3, target))
            assert text.read() == DATA[max(3, target) :]
    if packing:
        message = "shorter than when the job began"
        with store.open_text(source) as text, pytest.raises(DataError, match=message):
            store.go_to(text, source, 0, len(DATA) + 1)


@pytest.mark.parametrize("packing", list(PACKERS))
def test_going_on_in_a_damaged_file(tmp_path: Path, packing: str) -> None:
    content = PACKERS[packing](DATA)
    source = Source(str(tmp_path / "in"), "csv", packing, "")
    (tmp_path / "in").write_bytes(content[: len(content) // 2])
    with store.open_text(source) as text, pytest.raises(DataError) as caught:
        store.go_to(text, source, 0, len(DATA))
    assert str(caught.value).startswith(f"{tmp_path / 'in'}: truncated or damaged data (")


class TestZstandard:
    """Frames one after another; the package alone takes a cut one for a whole one."""

    def read(self, content: bytes, size: int = -1) -> bytes:
        source = Source("in", "csv", ".zst", "")
        return store._unpacked(io.BytesIO(content), source).read(size)

    def test_frames(self) -> None:
        frame = zstandard.compress(b"abc")
        skipped = b"\x50\x2a\x4d\x18\x03\0\0\0xyz"
        assert self.read(b"") == b""
        assert self.read(frame + zstandard.compress(b"") + skipped + frame) == b"abcabc"
        assert self.read(frame * 1000, 7) == b"abcabca"

    def test_a_frame_cut_anywhere(self) -> None:
        content = zstandard.compress(b"abc" * 500) + zstandard.compress(bytes(range(256)) * 20)
        whole = len(zstandard.compress(b"abc" * 500))
        for end in range(1, len(content)):
            if end == whole:
                assert self.read(content[:end]) == b"abc" * 500
                continue
            with pytest.raises(EOFError, match="ends within a Zstandard frame"):
                self.read(content[:end])

    def test_a_stream_that_unpacks_to_much_more(self) -> None:
        content = zstandard.compress(bytes(2**29))
        assert len(content) < 2**15
        stream = store._unpacked(io.BytesIO(content), Source("in", "csv", ".zst", ""))
        assert stream.read(10) == bytes(10)
        assert len(stream.raw._unpacked) <= 2**25  # type: ignore[attr-defined]

    def test_garbage(self) -> None:
        for content in (b"no frame", zstandard.compress(b"abc") + b"no frame"):
            with pytest.raises(zstandard.ZstdError):
                self.read(content)


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
def test_other_tools_files(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    packing = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[sys.modules[packed.__module__]]
    (tmp_path / "in").write_bytes(packed(b"one") + packed(b"two"))
    with store.open_text(Source(str(tmp_path / "in"), "csv", packing, "")) as text:
        assert text.read() == b"onetwo"


def test_what_stands_at_a_path_or_url(tmp_path: Path, memory: Any) -> None:
    memory.pipe("/x/a.csv", b"12345")
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    assert [store.exists(f"memory://x/{name}") for name in ("a.csv", "b.csv")] == [True, False]
    assert [store.size_of(f"memory://x/{name}") for name in ("a.csv", "b.csv")] == [5, -1]
    names = ("a", "dangling", "none")
    assert [store.exists(str(tmp_path / name)) for name in names] == [True, True, False]
    assert [store.size_of(str(tmp_path / name)) for name in names] == [3, -1, -1]
    store.upload(tmp_path / "a", "memory://x/c.csv")
    assert memory.cat("/x/c.csv") == b"123"


def test_urls_that_lead_nowhere(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"^what://x/a\.csv: Protocol not known: what"):
        store.filesystem_of("what://x/a.csv")
    with (
        pytest.raises(DataError, match=r"^memory://x/none\.csv: cannot be read"),
        store.open_raw("memory://x/none.csv"),
    ):
        pass

    def down(*_: object, **__: object) -> None:
        raise RuntimeError("timed\nout" + "x" * 400)

    for name in ("exists", "size", "info"):
        monkeypatch.setattr(type(memory), name, down)
    for ask in (store.exists, store.size_of):
        message = r"^memory://x/a: cannot be reached \(timed outx{291}\)$"
        with pytest.raises(DataError, match=message):
            ask("memory://x/a")


def test_a_path_that_cannot_be_opened(tmp_path: Path) -> None:
    for name, reason in (("none", "No such file or directory"), ("", "Is a directory")):
        path = str(tmp_path / name)
        with pytest.raises(DataError, match=f"^{path}: {reason}$"), store.open_raw(path):
            pass


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("-", "csv", "", "")
    assert source.name == "standard input"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"x")))
    with store.open_text(source) as text:
        assert text.read() == b"x"
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match=r"^standard input: it is closed$"), store.open_text(source):
        pass


@pytest.mark.parametrize(
    ("package", "ask", "what"),
    [
        ("zstandard", store.zstandard, "Zstandard compression"),
        ("fsspec", store.filesystem_of, "reading a URL"),
        ("pyarrow", arrow, "Parquet"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, ask: Callable[[str], object], what: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError) as caught:
        ask("a file")
    assert str(caught.value) == (
        f"a file: {what} needs the package '{package}': pip install 'zooter-lite[batch]'"
    )
