"""Files against their promises, read or mapped."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import pytest

from zooter_lite.errors import RouterError
from zooter_lite.untrusted import verified
from zooter_lite.untrusted.verified import check_file, map_file, promise_of, read_file

CONTENT = bytes(range(256)) * 9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.bin"
    path.write_bytes(CONTENT)
    return path


PROMISE = promise_of(CONTENT)


def test_the_content_as_promised(file: Path) -> None:
    check_file(file, PROMISE)
    assert read_file(file, PROMISE) == CONTENT
    assert map_file(file, PROMISE) == CONTENT


def test_a_large_file_is_mapped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "MAP_FROM", 100)
    content = map_file(file, PROMISE)
    assert isinstance(content, mmap.mmap)
    assert content[:] == CONTENT
    with pytest.raises(RouterError, match="its sha256 is not the one"):
        map_file(file, promise_of(CONTENT[::-1]))


@pytest.mark.parametrize("reader", [check_file, read_file, map_file])
@pytest.mark.parametrize(
    ("promised", "message"),
    [
        (None, "gives no size and sha256 for some.bin"),
        (promise_of(CONTENT[:-1]), r"some\.bin: too long: 2304 bytes, config.json says 2303"),
        (promise_of(CONTENT + b"x"), r"some\.bin: truncated: 2304 bytes"),
        (promise_of(CONTENT[::-1]), r"some\.bin: its sha256 is not the one"),
    ],
)
def test_anything_else_is_refused(
    file: Path, reader: Callable[[Path, object], object], promised: object, message: str
) -> None:
    with pytest.raises(RouterError, match=message):
        reader(file, promised)


@pytest.mark.parametrize("reader", [check_file, read_file, map_file])
def test_a_link_or_a_folder_is_refused(
    file: Path, reader: Callable[[Path, object], object]
) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    for path in (link, file.parent):
        with pytest.raises(RouterError, match="missing, or not a plain file"):
            reader(path, PROMISE)
