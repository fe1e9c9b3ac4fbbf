"""CSV and JSON lines as streams: what is read with which line, and what is refused."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from zooter_lite.errors import DataError
from zooter_lite.files.rows import csv_rows, json_rows


def read(path: Path) -> list[Any]:
    rows = csv_rows if ".csv" in path.name else json_rows
    return list(rows(str(path)))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.csv",
            '\ufeffq,"b ""x"""\r\n\r\n"two\r\nlines, ""quoted""",\n\n\n é , 2 \n"",""',
            [  # a row of empty cells is none
                (1, ["q", 'b "x"']),
                (3, ['two\r\nlines, "quoted"', ""]),
                (7, [" é ", " 2 "]),
            ],
        ),
        # a blank line of a file with one column is an empty cell
        ("a.csv", "\nquery\na\n\nb\n", [(2, ["query"]), (3, ["a"]), (4, [""]), (5, ["b"])]),
        (
            "a.jsonl",
            '\ufeff{"q": "\u2028\\n\ufeff", "n": 1.50}\r\n \n{"t": [true, null, {"a": -0.0}]}',
            [
                (1, {"q": "\u2028\n\ufeff", "n": 1.5}),
                (3, {"t": [True, None, {"a": -0.0}]}),
            ],
        ),
    ],
    ids=range(3),
)
def test_rows_carry_the_line_they_start_on(
    tmp_path: Path, name: str, text: str, expected: list[Any]
) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert read(tmp_path / name) == expected


PACKED = gzip.compress(b"q,n\n" + b"x,1\n" * 5000, mtime=0)
BROKEN: list[tuple[str, bytes, str]] = [
    ("a.csv", b"", "{}: the file is empty; expected a header line with column names"),
    ("a.jsonl", b"", "{}: the file is empty; expected one JSON object per line"),
    ("a.csv", b"\nq,n,q\n", "{}, line 2: column 'q' appears more than once"),
    ("a.csv", b"q,n\n1,2\n\n1\n", "{}, line 4: 1 cells, but the header has 2"),
    ("a.csv", b'q,n\n1,2\n"1,2\n3,4\n', "{}, line 3: broken CSV (unexpected end"),
    ("a.csv", b"q,n\r1,2\r", "{}, line 1: broken CSV (new-line character"),
    ("a.jsonl", b'{"q": "\0"}', "{}, line 1: a NUL byte; expected a UTF-8 text file"),
    ("a.csv", b"q,n\nx,1\ncaf\xe9,2\n", "{}, line 3: byte 0xe9 is not UTF-8; exp"),
    ("a.csv.gz", PACKED[:-9], "truncated or damaged data"),
    ("a.jsonl.gz", b'{"q": 1}\n', "{}, after line 0: truncated or damaged data ("),
    ("a.jsonl", b'{}\n{"q": 1,}\n', "{}, line 2: not a JSON object ("),
    ("a.jsonl", b"[1]\n", "{}, line 1: expected a JSON object, found int"),
    ("a.jsonl", b"[1]\n{}\n", "{}, line 1: expected the end of the file after the array"),
    ("a.json", b'[\n {"q": 1},\n {"q": 2,}\n]', "{}, line 3: not a JSON value ("),
    ("a.json", b'[\n {"q": 1}\n {"q": 2}\n]', "{}, line 3: expected ',' or ']'"),
    ("a.csv", "q;n\n1;2\n1;2;3\n".encode("utf-16"), "{}, line 1: UTF-16; expected a UTF-8 file"),
    ("a.csv", b"q,n,,\n1,2,,\n1,2,3,\n", "{}, line 3: 4 cells, but the header has 2 columns"),
    ("a.jsonl", b'{"q": NaN}', "{}, line 1: not a JSON object (NaN is not JSON; use null)"),
    ("a.jsonl", b'{"q": 1, "n": 2, "q": 1}', "line 1: not a JSON object (key 'q'"),
    ("a.jsonl", b'{"q": ' + b"[" * 200_000, "{}, line 1: not a JSON object (nest"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message.format(path))) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "dir.csv").mkdir()
    for name, message in (("no.jsonl.gz", "No such file"), ("dir.csv", "Is a directory")):
        with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: {message}")):
            read(tmp_path / name)
