"""Journals: torn lines, full disks, two writers, any text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal, read_journal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
RECORDS = st.lists(st.dictionaries(st.text(st.characters()), VALUES, max_size=4), max_size=6)


def write(path: Path, *records: dict[str, Any]) -> None:
    with Journal(path) as journal:
        for record in records:
            journal.append(record)


@settings(max_examples=60, deadline=None)
@given(records=RECORDS, cut=st.integers(0, 10_000), data=st.data())
def test_a_journal_cut_anywhere_keeps_every_whole_line(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[dict[str, Any]],
    cut: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("journals") / "j.jsonl"
    write(path, *records)
    assert list(read_journal(path)) == records
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    lines = whole[:cut].split(b"\n")
    kept = records[: len(lines) - 1]
    if len(lines) <= len(records) and whole[cut : cut + 1] == b"\n":  # only its end is missing
        kept = records[: len(lines)]
    assert list(read_journal(path)) == kept
    more = {"again": data.draw(st.text())}
    write(path, more)
    assert list(read_journal(path)) == [*kept, more]
    assert path.read_bytes().endswith(b"}\n")


def test_no_file_is_no_record_and_a_folder_is_an_error(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "none")) == []
    with pytest.raises(DataError, match="Is a directory"):
        list(read_journal(tmp_path))
    with pytest.raises(DataError, match="cannot write"):
        Journal(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        Journal(tmp_path / "file" / "j")


@pytest.mark.parametrize("line", [b"{broken\n", b"[1]\n", b"[" * 9999 + b"\n"])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"a": 1}\n' + line + b'{"a": 2}\n')
    with pytest.raises(DataError, match=r"j, line 2: expected a JSON object"):
        list(read_journal(path))


@pytest.mark.parametrize("torn", [b"\0\0\0", b"\xc3", b'{"a"'])
def test_a_torn_end_is_cut_before_the_next_record(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"a": 1}\n' + torn)
    assert list(read_journal(path)) == [{"a": 1}]
    write(path, {"a": 2})
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as first:
        with pytest.raises(DataError, match="another process writes to it"):
            Journal(path)
        first.append({"a": 1})
    write(path, {"b": 1})
    assert list(read_journal(path)) == [{"a": 1}, {"b": 1}]


FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then write() fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
path, kept = Path(sys.argv[1]), 0
with Journal(path) as journal:
    try:
        while True:
            journal.append({"n": kept, "text": "x" * 100})
            kept += 1
    except DataError as error:
        print(json.dumps([kept, str(error)]))
    journal.append({"n": kept})  # a short one still fits
"""


def test_a_full_disk_is_an_error_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "j"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    kept, message = json.loads(done.stdout)
    assert kept == 8  # of 120 bytes each
    assert message == f"{path}: cannot write (File too large)"
    records = list(read_journal(path))
    assert [record["n"] for record in records] == list(range(9))
    assert path.read_bytes().endswith(b"}\n")
