"""Outputs and inputs that are no plain files, disks that are full, and rivals."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.hostile_files import check_error, visible
from tests.hostile_parquet import plain, written
from zooter_lite.bulk.output import Output
from zooter_lite.errors import DataError

Route = Callable[..., tuple[int, str]]
CONTENT = "id,query\n" + "".join(f"{i},one two\n" for i in range(600))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(CONTENT)
    return path


def routed(path: Path) -> list[str]:
    """Return the ids of the rows of an output, every one of which has an expert."""
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert all(len(row) == 4 and row[2] for row in rows)
    return [row[0] for row in rows]


IDS = [str(i) for i in range(600)]


class TestLinks:
    """A symbolic link as output: what it points to is written, the link stays."""

    def test_to_a_file(self, tmp_path: Path, source: Path, route_toy: Route) -> None:
        (tmp_path / "real").mkdir()
        real, link = tmp_path / "real" / "file.csv", tmp_path / "out.csv"
        real.write_text("old")
        link.symlink_to(real)
        code, err = route_toy(source, link)
        check_error(code, err, f"{link}: exists already; --force overwrites it")
        assert real.read_text() == "old"
        assert route_toy(source, link, "--force")[0] == 0
        assert link.is_symlink()
        assert routed(real) == IDS
        real.unlink()  # a link to nothing is something, too
        check_error(*route_toy(source, link), f"{link}: exists already; --force overwrites it")
        assert route_toy(source, link, "--force")[0] == 0
        assert [path.name for path in real.parent.iterdir()] == ["file.csv"]
        assert visible(tmp_path) == ["in.csv", "out.csv", "real"]

    def test_rejected_rows_stand_beside_the_file_and_are_told_so(
        self, tmp_path: Path, source: Path, route_toy: Route
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "out.csv").symlink_to(tmp_path / "real" / "file.csv")
        source.write_text(CONTENT + "ragged\n")
        code, err = route_toy(source, tmp_path / "out.csv", "--force", "--on-error", "skip")
        assert code == 0
        rejects = tmp_path / "real" / "file.csv.rejects.jsonl"
        assert f"rejected: 1 rows, left out: {rejects}\n" in err
        assert json.loads(rejects.read_text())["line"] == 602
        code, err = route_toy(source, tmp_path / "out.csv", "--on-error", "skip")
        check_error(code, err, tmp_path / "out.csv")


class TestNoFiles:
    """Devices, pipes and folders."""

    def test_as_output(self, tmp_path: Path, source: Path, route_toy: Route) -> None:
        (tmp_path / "folder.csv").mkdir()
        os.mkfifo(tmp_path / "pipe.csv")
        for name in ("folder.csv", "pipe.csv"):
            path = tmp_path / name
            check_error(*route_toy(source, path), f"{path}: exists already; --force")
            check_error(*route_toy(source, path, "--force"), f"{path}: expected a file")
        (tmp_path / "null.csv").symlink_to("/dev/null")
        path = tmp_path / "null.csv"
        check_error(
            *route_toy(source, path, "--force"), f"{path}: expected a file, found a folder, dev"
        )
        assert visible(tmp_path) == ["folder.csv", "in.csv", "null.csv", "pipe.csv"]

    def test_as_input(self, tmp_path: Path, route_toy: Route) -> None:
        target = tmp_path / "out.csv"
        (tmp_path / "folder.csv").mkdir()
        code, err = route_toy(tmp_path / "folder.csv", target)
        check_error(code, err, f"{tmp_path / 'folder.csv'}: no file ending in .csv, ")
        os.mkfifo(tmp_path / "pipe.csv")
        (tmp_path / "zero.csv").symlink_to("/dev/zero")
        for name in ("pipe.csv", "zero.csv"):
            code, err = route_toy(tmp_path / name, target)
            check_error(code, err, f"{tmp_path / name}: expected a file, found a device or pipe")
        assert visible(tmp_path) == ["folder.csv", "pipe.csv", "zero.csv"]

    def test_where_a_folder_of_outputs_should_be(
        self, tmp_path: Path, source: Path, route_toy: Route
    ) -> None:
        (tmp_path / "in").mkdir()
        source.rename(tmp_path / "in" / "a.csv")
        (tmp_path / "out").write_text("a file")
        code, err = route_toy(tmp_path / "in", tmp_path / "out")
        check_error(code, err, f"{tmp_path / 'out'}/.a.csv.journal: Not a directory\n")
        assert (tmp_path / "out").read_text() == "a file"
        (tmp_path / "out").unlink()
        (tmp_path / "out" / "a.csv").mkdir(parents=True)
        for args in ((), ("--force",)):
            code, err = route_toy(tmp_path / "in", tmp_path / "out", *args)
            check_error(code, err, f"{tmp_path / 'out' / 'a.csv'}: ")
        assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "a.csv"]


class TestNames:
    """Names that are too long, or no text; files in one another's way."""

    def test_no_utf8(self, tmp_path: Path, toy: Path, command: Command) -> None:
        folder = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
        Path(folder).mkdir()
        source, target = Path(folder, "in.csv"), Path(folder, "out.csv")
        source.write_text("query,n\none,1\nragged\n")
        files = ("--router", toy, "--input", source, "--output", target)
        done = command("route", *files, "--on-error", "skip")
        assert done.returncode == 0, done.stderr
        reject = json.loads(Path(f"{target}.rejects.jsonl").read_text())
        assert reject["file"] == str(source)
        assert target.read_text().count("\n") == 2

    def test_two_inputs_of_one_output(self, tmp_path: Path, route_toy: Route) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "out").mkdir()
        for name in ("a.jsonl", "a.jsonl.rejects.jsonl", "b.csv", "c.csv"):
            (tmp_path / "in" / name).write_text('{"query": "one"}\n')
        code, err = route_toy(tmp_path / "in", tmp_path / "out")
        path = tmp_path / "out" / "a.jsonl.rejects.jsonl"
        check_error(code, err, f"{path}: both {tmp_path}/in/a.jsonl and ")
        (tmp_path / "in" / "a.jsonl.rejects.jsonl").unlink()
        (tmp_path / "out" / "b.csv").symlink_to(tmp_path / "in" / "c.csv")
        code, err = route_toy(tmp_path / "in", tmp_path / "out", "--force")
        check_error(code, err, f"{tmp_path}/in/c.csv: an input that the job would write")


class TestDisks:
    """Folders and disks that refuse."""

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users on this system")
    def test_a_folder_that_is_read_only(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "in.csv").write_text(CONTENT)
            folder.chmod(0o555)
            user = os.geteuid()
            if user == 0:  # who may write anywhere
                os.seteuid(65534)
            try:
                for path in (folder / "out.csv", folder / "new" / "out.csv"):
                    output = Output(str(path), "f", force=False)
                    with (
                        pytest.raises(DataError, match=r"cannot write \(Permission denied\)"),
                        output,
                    ):
                        pass
            finally:
                os.seteuid(user)
                folder.chmod(0o755)
            assert [path.name for path in folder.iterdir()] == ["in.csv"]

    @pytest.mark.parametrize(("kind", "limit"), [("csv", 9000), ("parquet", 2000)])
    def test_files_that_may_not_grow(
        self, tmp_path: Path, source: Path, route_toy: Route, kind: str, limit: int
    ) -> None:
        table = plain(3000)
        source.write_text(CONTENT)
        (tmp_path / "in.parquet").write_bytes(written(table, row_group_size=500))
        source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
        args = ("--block", 2, "--on-error", "keep")
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        try:
            code, err = route_toy(source, target, *args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        check_error(code, err, "")
        assert os.strerror(errno.EFBIG) in err
        assert visible(tmp_path) == ["in.csv", "in.parquet"]
        assert route_toy(source, target, *args)[0] == 0
        whole = target.read_bytes()
        target.unlink()
        assert route_toy(source, target, *args)[0] == 0
        assert target.read_bytes() == whole


class TestRivals:
    """Other jobs, at the same time or before."""

    def test_real_processes_at_once(self, tmp_path: Path, toy: Path) -> None:
        source, target = tmp_path / "in.csv", tmp_path / "out.csv"
        source.write_text("id,query\n" + "".join(f"{i},one two\n" for i in range(10_000)))
        files = ["--router", toy, "--input", source, "--output", target, "--workers", "1"]
        command = [sys.executable, "-m", "zooter_lite.route", *map(str, files), "--block", "8"]
        started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        ended = [(process.communicate()[1], process.returncode) for process in started]
        assert min(code for _, code in ended) == 0
        for err, code in ended:
            if code:
                check_error(code, err, tmp_path)
        assert routed(target) == [str(i) for i in range(10_000)]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]

    def test_the_input_changes_between_the_runs(
        self, tmp_path: Path, source: Path, route_toy: Route
    ) -> None:
        target = tmp_path / "out.csv"
        source.write_text(CONTENT + "ragged\n")
        check_error(*route_toy(source, target, "--block", 1), f"{source}, line 602: ")
        state = {p.name: p.read_bytes() for p in tmp_path.glob(".out.csv.*")}
        assert set(state) == {f".out.csv.{x}" for x in ("journal", "partial", "rejects.partial")}
        source.write_text(CONTENT.replace("one", "two"))
        os.utime(source, ns=(1, time.time_ns()))
        code, err = route_toy(source, target, "--block", 1)
        check_error(
            code, err, f"{target}: an unfinished job of another input, router, setting or version"
        )
        assert {p.name: p.read_bytes() for p in tmp_path.glob(".out.csv.*")} == state
        assert route_toy(source, target, "--block", 1, "--force")[0] == 0
        assert target.read_text().count("two two") == 600
        assert visible(tmp_path) == ["in.csv", "out.csv"]

    def test_a_journal_that_is_none(self, tmp_path: Path, source: Path, route_toy: Route) -> None:
        target, journal = tmp_path / "out.csv", tmp_path / ".out.csv.journal"
        source.write_text(CONTENT + "ragged\n")
        check_error(*route_toy(source, target, "--block", 1), source)
        first = journal.read_text().splitlines()[0]
        journal.write_text(first + '\n{"tally": {"x": 1}}\n')
        check_error(*route_toy(source, target, "--block", 1), journal)
        assert visible(tmp_path) == ["in.csv"]
