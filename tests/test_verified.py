"""Files against their promises, read or mapped."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import open_files
from zooter_lite.errors import RouterError
from zooter_lite.untrusted import verified
from zooter_lite.untrusted.verified import Promise, VerifiedFile, promise_of, read_verified

CONTENT = bytes(range(256)) * 9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.bin"
    path.write_bytes(CONTENT)
    return path


PROMISE = promise_of(CONTENT)


def check(file: Path, promise: Promise | None) -> None:
    with VerifiedFile(file, promise) as opened:
        opened.check()


def test_the_content_as_promised(file: Path) -> None:
    check(file, PROMISE)
    assert read_verified(file, PROMISE) == CONTENT


def test_a_large_file_is_mapped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "MAP_FROM", 100)
    content = read_verified(file, PROMISE)
    assert isinstance(content, mmap.mmap)
    assert content[:] == CONTENT


@pytest.mark.parametrize("reader", [check, read_verified])
@pytest.mark.parametrize("map_from", [100, 2**20])
@pytest.mark.parametrize(
    ("promise", "message"),
    [
        (None, "gives no size and sha256 for some.bin"),
        (promise_of(CONTENT[:-1]), r"some\.bin: too long: 2304 bytes, config.json says 2303"),
        (promise_of(CONTENT + b"x"), r"some\.bin: truncated: 2304 bytes"),
        (promise_of(CONTENT[::-1]), r"some\.bin: its sha256 is not the one"),
    ],
)
def test_anything_else_is_refused_and_let_go_of(
    file: Path,
    reader: Callable[[Path, Promise | None], object],
    map_from: int,
    promise: Promise | None,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verified, "MAP_FROM", map_from)
    before = open_files()
    with pytest.raises(RouterError, match=message) as caught:
        reader(file, promise)
    assert open_files() == before, caught.value  # which still holds the frames


@pytest.mark.parametrize("reader", [check, read_verified])
def test_a_link_or_a_folder_is_refused_and_let_go_of(
    file: Path, reader: Callable[[Path, Promise | None], object]
) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    before = open_files()
    for path in (link, file.parent):
        with pytest.raises(RouterError, match="missing, or not a plain file") as caught:
            reader(path, PROMISE)
        assert open_files() == before, caught.value
