"""Files against their promises, read or mapped."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from tests.helpers import open_files
from zooter_lite.errors import RouterError
from zooter_lite.untrusted import verified
from zooter_lite.untrusted.verified import promise_of, read_verified

CONTENT = bytes(range(256)) * 9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.bin"
    path.write_bytes(CONTENT)
    return path


PROMISE = promise_of(CONTENT)


def test_a_large_file_is_mapped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_verified(file, PROMISE) == CONTENT
    monkeypatch.setattr(verified, "MAP_FROM", 100)
    content = read_verified(file, PROMISE)
    assert isinstance(content, mmap.mmap)
    assert content[:] == CONTENT


@pytest.mark.parametrize("map_from", [100, 2**20])
def test_other_content_is_refused_and_let_go_of(
    file: Path, map_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified, "MAP_FROM", map_from)
    before = open_files()
    with pytest.raises(RouterError, match=r"some\.bin: its sha256 is not the one") as caught:
        read_verified(file, promise_of(CONTENT[::-1]))
    assert open_files() == before, caught.value  # which still holds the frames
