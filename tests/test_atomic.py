"""Files that appear whole or not at all."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from zooter_lite.errors import DataError
from zooter_lite.files.atomic import atomic_file, atomic_text


def write(path: Path, text: str) -> None:
    with atomic_text(str(path)) as stream:
        stream.write(text)


def test_gz_holds_the_same_text_in_equal_bytes_each_time(tmp_path: Path) -> None:
    text = "é\r\n" * 1000
    write(tmp_path / "a.gz", text)
    packed = (tmp_path / "a.gz").read_bytes()
    write(tmp_path / "again.GZ", text)
    assert packed == (tmp_path / "again.GZ").read_bytes()
    assert packed[4:8] == bytes(4)  # the time stamp of a gzip header
    assert gzip.decompress(packed) == text.encode()


def stopped(target: Path) -> None:
    with atomic_text(str(target)) as stream:
        stream.write("new" * 100_000)
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        stopped(target)
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"old"


def test_the_target_changes_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic_file(target) as partial:
        assert partial.parent == target.parent  # a rename across file systems is no rename
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, reason in (("none/a", "No such file or directory"), ("folder", "Is a directory")):
        with pytest.raises(DataError, match=re.escape(f"{name}: cannot write ({reason})")):
            write(tmp_path / name, "q")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
