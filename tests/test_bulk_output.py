"""An output killed at every step on its way, and gone on with: always the same bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest

from zooter_lite.bulk import output as output_module
from zooter_lite.bulk.block import Result, Tally
from zooter_lite.bulk.output import Output, State
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal

BLOCKS = [
    Result(
        f"block {i}\n".encode(),
        f"reject {i}\n".encode() if i % 2 else b"",
        Tally(rows=i + 1, experts={"a": i}),
        10 * i + 10,
        2 * i + 2,
        i == 4,
    )
    for i in range(5)
]
WHOLE = b"".join(block.data for block in BLOCKS)
REJECTS = b"reject 1\nreject 3\n"


def convert(spool: IO[bytes], target: Path) -> None:
    target.write_bytes(b"<" + spool.read() + b">")


def job(
    target: Path | str,
    fingerprint: str | None = "f",
    *,
    force: bool = False,
    converted: bool = False,
    blocks: list[Result] = BLOCKS,
) -> State:
    """Do what a job does with one output, from where an earlier one stopped."""
    output = Output(str(target), fingerprint, force=force)
    done = output.state.end // 10
    with output:
        for block in blocks[done:]:
            output.append(block)
        if output.state.done:
            output.finish(convert if converted else None)
    if output.state.done:
        output.forget()
    return output.state


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Steps:
    """Copies a folder before every change of a file in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, copies: Path) -> None:
        self.copies: list[Path] = []
        self._folder, self._to = folder, copies
        for owner, name in (
            (os, "write"),
            (os, "fsync"),
            (os, "ftruncate"),
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "write_bytes"),
            (output_module, "_at"),
            (os, "open"),
        ):
            self._watch(monkeypatch, owner, name)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            self._copy()
            return real(*args, **options)

        monkeypatch.setattr(owner, name, watched)

    def _copy(self) -> None:
        copy = self._to / str(len(self.copies))
        copy.mkdir()
        for path in self._folder.iterdir():
            shutil.copyfile(path, copy / path.name)
        self.copies.append(copy)


@pytest.mark.parametrize(("converted", "old"), [(False, False), (True, True)])
def test_a_kill_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: bool, old: bool
) -> None:
    """The folder is copied before every change; each copy is what a kill would leave."""
    folder, copies = tmp_path / "folder", tmp_path / "copies"
    folder.mkdir()
    copies.mkdir()
    if old:
        (folder / "out.csv").write_bytes(b"old")
        (folder / "out.csv.rejects.jsonl").write_bytes(b"old")
    with monkeypatch.context() as patch:
        steps = Steps(patch, folder, copies)
        job(folder / "out.csv", force=old, converted=converted)
    whole = b"<" + WHOLE + b">" if converted else WHOLE
    wanted = {"out.csv": whole, "out.csv.rejects.jsonl": REJECTS}
    assert content(folder) == wanted
    assert len(steps.copies) > 25
    begun = []
    for copy in steps.copies:
        found = (copy / "out.csv").read_bytes() if (copy / "out.csv").exists() else b"old"
        assert found in (b"old", whole)  # nothing else ever has that name
        begun.append(Output(str(copy / "out.csv"), "f", force=True).state.begun)
        assert job(copy / "out.csv", force=True, converted=converted).tally.rows == 15
        assert content(copy) == wanted, copy.name
    assert begun[:-1] == sorted(begun[:-1])  # what is done stays done, until it is forgotten
    assert sum(begun) > 12


def test_a_file_without_rows_is_done_too(tmp_path: Path) -> None:
    with Output(str(tmp_path / "out.csv"), "f", force=False) as output:
        output.append(Result(b"", b"", Tally(), 0, 0, True))
        output.finish()
    assert Output(str(tmp_path / "out.csv"), "f", force=False).state.done


def test_a_kill_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """Whatever stands behind what the journal promises is cut off."""
    target = tmp_path / "out.csv"
    for done in range(1, 5):
        job(target, blocks=BLOCKS[:done])
        for name, torn in (
            (".out.csv.partial", b"torn"),
            (".out.csv.rejects.partial", b"to"),
            (".out.csv.journal", b'{"end": 50, "tal'),
        ):
            with (tmp_path / name).open("ab") as stream:
                stream.write(torn)
        assert Output(str(target), "f", force=False).state.end == done * 10
        job(target)
        assert content(tmp_path) == {"out.csv": WHOLE, "out.csv.rejects.jsonl": REJECTS}
        target.unlink()
        (tmp_path / "out.csv.rejects.jsonl").unlink()


def test_rows_that_the_disk_lost_are_routed_again(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    job(target, blocks=BLOCKS[:4])
    for name in (".out.csv.partial", ".out.csv.rejects.partial"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(kept[:-3])
        assert Output(str(target), "f", force=False).state == State()
        (tmp_path / name).write_bytes(kept)
    (tmp_path / ".out.csv.partial").write_bytes(b"block 0\n")
    job(target)
    assert target.read_bytes() == WHOLE


def test_a_finished_output_among_others(tmp_path: Path) -> None:
    """A job of several files keeps the journals until the last one is done."""
    target = tmp_path / "out.csv"
    output = Output(str(target), "f", force=True)
    with output:
        for block in BLOCKS:
            output.append(block)
        output.finish()
    for force in (False, True):
        again = Output(str(target), "f", force=force)
        assert again.state.done
        with again:
            again.finish()
        assert target.read_bytes() == WHOLE
    with pytest.raises(DataError, match="unfinished job of another"):
        Output(str(target), "g", force=False)
    target.unlink()  # then it is not done any more
    assert Output(str(target), "f", force=True).state == State()
    again.forget()
    assert not (tmp_path / ".out.csv.journal").exists()


def test_a_rival_between_planning_and_writing(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    first = Output(str(target), "f", force=False)
    job(target, blocks=BLOCKS[:3])
    before = content(tmp_path)
    with (
        pytest.raises(DataError, match=r"out\.csv: another process has written to it meanwhile"),
        first,
    ):
        pass
    assert content(tmp_path) == before
    second = Output(str(target), "f", force=False)
    job(target)
    with pytest.raises(DataError, match=r"out\.csv: exists already"), second:
        pass
    assert content(tmp_path) == {"out.csv": WHOLE, "out.csv.rejects.jsonl": REJECTS}


def test_a_rival_at_the_same_time(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    with Output(str(target), "f", force=False) as output:
        output.append(BLOCKS[0])
        for rival in (Output(str(target), "f", force=False), Output(str(target), "g", force=True)):
            with pytest.raises(DataError, match="another process writes to it"), rival:
                pass
            rival.forget()  # of a job that is not its own
        for block in BLOCKS[1:]:
            output.append(block)
        output.finish()
    assert target.read_bytes() == WHOLE
    with Journal(tmp_path / ".out.csv.journal") as journal:
        journal.clear()
        journal.append({"fingerprint": "g"})
    output.forget()
    assert (tmp_path / ".out.csv.journal").exists()


def test_without_a_fingerprint_nothing_is_left_or_gone_on_with(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    job(target, None, blocks=BLOCKS[:2])
    assert content(tmp_path) == {}
    with Journal(tmp_path / ".out.csv.journal") as journal:  # as of a kill
        journal.append({"fingerprint": None})
        journal.append(asdict(State(10, 2, 8)))
    (tmp_path / ".out.csv.partial").write_bytes(BLOCKS[0].data)
    assert Output(str(target), None, force=False).state == State()
    assert Output(str(target), "f", force=False).state == State()
    job(target, None)
    assert content(tmp_path) == {"out.csv": WHOLE, "out.csv.rejects.jsonl": REJECTS}


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import fsspec

    monkeypatch.setenv("ZOOTER_CACHE", str(tmp_path / "cache"))
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


def test_a_url(tmp_path: Path, memory: Any) -> None:
    url = "memory://bucket/out.csv"
    job(url, blocks=BLOCKS[:3])
    assert memory.find("/") == []
    assert len(list((tmp_path / "cache" / "route").rglob(".out.csv.*"))) == 3
    job(url)
    assert memory.cat("/bucket/out.csv") == WHOLE
    assert memory.cat("/bucket/out.csv.rejects.jsonl") == REJECTS
    assert content(tmp_path / "cache") == {}
    with pytest.raises(DataError, match=r"^memory://bucket/out\.csv: exists already"):
        Output(url, "f", force=False)
    job(url, force=True)
