"""CSV and JSON lines as streams: what is read with which line, what is refused, atomic writing."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zooter_lite.errors import DataError
from zooter_lite.files.rows import (
    Row,
    RowWriter,
    atomic_file,
    atomic_text,
    open_rows,
    text_format,
)

csv_text = st.text(
    st.sampled_from("\",;'\r\n\t \ufeff\u2028\x1aé🙂")
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False).filter(math.isfinite),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(path: Path, kind: str | None = None) -> list[Row]:
    with open_rows(str(path), kind) as reader:
        return list(reader.rows)


def write(path: Path, columns: list[str] | None, rows: list[dict[str, Any]]) -> None:
    with atomic_text(str(path)) as stream:
        RowWriter(stream, text_format(str(path)), columns).write(rows)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("a.csv", "csv"), ("a.b.JSONL", "jsonl"), ("x/a.csv.gz", "csv"), (".Jsonl.Gz", "jsonl")],
)
def test_format_follows_the_suffix(path: str, kind: str) -> None:
    assert text_format(path) == kind


@pytest.mark.parametrize("path", ["a.tsv", "-", "csv", "a.csv.bz2", "a.json", ""])
def test_unknown_suffix_is_refused(path: str) -> None:
    expected = f"{path}: unknown format; expected a name ending in .csv, .csv.gz, .jsonl, .jsonl.gz"
    with pytest.raises(DataError, match=re.escape(expected)):
        text_format(path)


def test_csv_rows_carry_the_line_they_start_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = '\ufeffq,"b ""x"""\r\n\r\n"two\r\nlines, ""quoted""",\n\n\n é , 2 \n"",""'
    path.write_bytes(text.encode())
    with open_rows(str(path)) as reader:
        assert reader.columns == ["q", 'b "x"']
        assert list(reader.rows) == [
            Row(3, {"q": 'two\r\nlines, "quoted"', 'b "x"': ""}),
            Row(7, {"q": " é ", 'b "x"': " 2 "}),
            Row(8, {"q": "", 'b "x"': ""}),
        ]


def test_json_rows_carry_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    text = '\ufeff{"q": "\u2028\\n\ufeff", "n": 1.50}\r\n \n{"t": [true, null, {"a": -0.0}]}'
    path.write_bytes(text.encode())
    with open_rows(str(path)) as reader:
        assert reader.columns is None
        assert list(reader.rows) == [
            Row(1, {"q": "\u2028\n\ufeff", "n": 1.5}),
            Row(3, {"t": [True, None, {"a": -0.0}]}),
        ]


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    path, prompt = tmp_path / "a.csv", 'x,"\n' * 50_000
    write(path, ["q", "n"], [{"q": prompt, "n": 1}])
    assert read(path) == [Row(2, {"q": prompt, "n": "1"})]


def test_rows_are_a_stream(tmp_path: Path) -> None:
    for name, lines in (("a.csv", b"q,n\nx,1\n\xff,2\n"), ("a.jsonl", b'{"q": "x"}\nbroken\n')):
        (tmp_path / name).write_bytes(lines)
        with open_rows(str(tmp_path / name)) as reader:
            assert next(reader.rows).values["q"] == "x"
            with pytest.raises(DataError):
                next(reader.rows)


PACKED = gzip.compress(b"q,n\n" + b"x,1\n" * 5000, mtime=0)
BROKEN: list[tuple[str, str, bytes, str]] = [
    ("no byte", "a.csv", b"", "{}: the file is empty; expected a header line with column names"),
    ("blank lines", "a.csv", b"\n\r\n\n", "{}: the file is empty; expected a header line"),
    ("byte order mark only", "a.csv", b"\xef\xbb\xbf", "{}: the file is empty; expected a header"),
    ("no byte", "a.jsonl", b"", "{}: the file is empty; expected one JSON object per line"),
    ("blank lines", "a.jsonl", b"\n \r\n", "{}: the file is empty; expected one JSON object"),
    ("no byte", "a.csv.gz", b"", "{}: the file is empty; expected a header line"),
    ("nothing packed", "a.jsonl.gz", gzip.compress(b""), "{}: the file is empty; expected one"),
    ("repeated column", "a.csv", b"\nq,n,q\n", "{}, line 2: column 'q' appears more than once"),
    ("too few cells", "a.csv", b"q,n\n1,2\n\n1\n", "{}, line 4: 1 cells, but the header has 2"),
    ("too many cells", "a.csv", b"q,n\n'1,2',3\n", "{}, line 2: 3 cells, but the header has 2 col"),
    ("unclosed quote", "a.csv", b'q,n\n1,2\n"1,2\n3,4\n', "{}, line 3: broken CSV (unexpected end"),
    ("text after quote", "a.csv", b'q,n\n"1"x,2\n', "{}, line 2: broken CSV (',' expected after"),
    ("bare carriage returns", "a.csv", b"q,n\r1,2\r", "{}, line 1: broken CSV (new-line character"),
    ("NUL", "a.csv", b'q,n\n"x\ny\0",2\n', "{}, line 3: a NUL byte; expected a UTF-8 text file"),
    ("NUL", "a.jsonl", b'{"q": "\0"}', "{}, line 1: a NUL byte; expected a UTF-8 text file"),
    (
        "latin-1",
        "a.csv",
        b"q,n\nx,1\ncaf\xe9,2\n",
        "{}, line 3: byte 0xe9 is not UTF-8; expected a",
    ),
    ("latin-1", "a.jsonl", b'{"q": "caf\xe9"}\n', "{}, line 1: byte 0xe9 is not UTF-8; expected"),
    ("UTF-16", "a.csv", "q,n\n1,2\n".encode("utf-16"), "{}, line 1: "),
    ("UTF-16 without mark", "a.csv", "q,n\n".encode("utf-16-le"), "{}, line 1: a NUL byte"),
    ("cut character", "a.csv", b"q,n\nx,\xe2\x82", "{}, line 2: byte 0xe2 is not UTF-8"),
    ("cut gzip", "a.csv.gz", PACKED[:-9], "truncated or damaged gzip data"),
    ("damaged gzip", "a.csv.gz", PACKED[:20] + b"\0\xff\0\xff" + PACKED[24:], "damaged gzip data"),
    ("wrong checksum", "a.csv.gz", PACKED[:-8] + bytes(8), "after line 5001: truncated or damaged"),
    (
        "no gzip",
        "a.jsonl.gz",
        b'{"q": 1}\n',
        "{}, after line 0: truncated or damaged gzip data (Not",
    ),
    ("gzip not named so", "a.csv", PACKED, "expected a UTF-8"),
    ("no JSON", "a.jsonl", b'{}\n{"q": 1,}\n', "{}, line 2: not a JSON object ("),
    ("cut JSON", "a.jsonl", b'{"q": 1}\n{"q": "x', "{}, line 2: not a JSON object (Unterminated"),
    ("two objects", "a.jsonl", b"{} {}\n", "{}, line 1: not a JSON object (Extra data"),
    ("a list", "a.jsonl", b"[1]\n", "{}, line 1: expected a JSON object, found list"),
    ("a text", "a.jsonl", b'\n"q"\n', "{}, line 2: expected a JSON object, found str"),
    ("null", "a.jsonl", b"null", "{}, line 1: expected a JSON object, found NoneType"),
    ("NaN", "a.jsonl", b'{"q": NaN}', "{}, line 1: not a JSON object (NaN is not JSON; use null)"),
    ("infinity", "a.jsonl", b'{"q": -Infinity}', "not a JSON object (-Infinity is not JSON; use n"),
    (
        "repeated key",
        "a.jsonl",
        b'{"q": 1, "n": 2, "q": 1}',
        "line 1: not a JSON object (key 'q' ap",
    ),
    ("deep nesting", "a.jsonl", b'{"q": ' + b"[" * 200_000, "{}, line 1: not a JSON object (nest"),
    ("endless integer", "a.jsonl", b'{"q": ' + b"9" * 5000 + b"}", "{}, line 1: not a JSON object"),
]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [case[1:] for case in BROKEN],
    ids=[f"{what} in {name}" for what, name, _, _ in BROKEN],
)
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message.format(path))) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "No such file"),
        ("none.jsonl.gz", "No such file"),
        ("dir.csv", "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: {message}")):
        read(tmp_path / name)


def test_standard_input_and_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("q\né\n\0".encode())))
    with open_rows("-", "csv") as reader:
        assert next(reader.rows) == Row(2, {"q": "é"})
        with pytest.raises(DataError, match="standard input, line 3: a NUL byte"):
            next(reader.rows)
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", newline="\r\n")
    monkeypatch.setattr(sys, "stdout", out)
    with atomic_text("-") as stream:
        RowWriter(stream, "csv", ["q"]).write([{"q": "é\n"}])
    assert raw.getvalue() == 'q\n"é\n"\n'.encode()


@settings(max_examples=150, deadline=None)
@given(
    columns=st.lists(csv_text, min_size=1, max_size=4, unique=True),
    cells=st.lists(st.lists(csv_text, min_size=4, max_size=4), max_size=4),
)
def test_csv_reads_back_what_was_written(columns: list[str], cells: list[list[str]]) -> None:
    rows: list[dict[str, object]] = [dict(zip(columns, row, strict=False)) for row in cells]
    stream = io.StringIO(newline="")
    RowWriter(stream, "csv", columns).write(rows)
    text = stream.getvalue()
    assert list(csv.DictReader(io.StringIO(text, newline=""), strict=True)) == rows


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=4))
def test_json_reads_back_what_was_written(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    write(path, None, rows)
    found = [row.values for row in read(path)]
    assert json.dumps(found) == json.dumps(rows)  # 1, 1.0 and True differ here, and key order


def test_csv_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    row = {"b": 'x"y', "a": "line\rfeed", "c": None, "d": 0.25, "left out": 1}
    write(path, ["a", "b", "c", "d"], [row, row | {"a": "\n", "d": "é,"}])
    assert path.read_bytes().decode() == ('a,b,c,d\n"line\rfeed","x""y",,0.25\n"\n","x""y",,"é,"\n')


def test_json_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, None, [{"b": 'é"\u2028', "a": None}, {"\ud83d": "\\\udc00"}])
    expected = '{"b": "é\\"\u2028", "a": null}\n{"\\ud83d": "\\\\\\udc00"}\n'
    assert path.read_bytes().decode() == expected


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.GZ"])
def test_gz_holds_the_same_rows_and_equal_bytes_each_time(tmp_path: Path, name: str) -> None:
    rows = [{"q": "é" * 1000, "n": str(i)} for i in range(100)]
    plain = tmp_path / name.lower().removesuffix(".gz")
    for path in (tmp_path / name, tmp_path / f"again.{name}", plain):
        write(path, ["q", "n"], rows)
    packed = (tmp_path / name).read_bytes()
    assert packed == (tmp_path / f"again.{name}").read_bytes()
    assert packed[4:8] == bytes(4)  # the time stamp of a gzip header
    assert gzip.decompress(packed) == plain.read_bytes()
    assert [row.values for row in read(tmp_path / name)] == rows


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a.jsonl", math.inf, "Out of range float"),
        ("a.jsonl", math.nan, "Out of range float"),
        ("a.jsonl", nested(100_000), "recursion"),
        ("a.csv", "x\0y", "CSV cannot hold a NUL character"),
        ("a.csv", "\udc00", "surrogates not allowed"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, name: str, value: object, message: str
) -> None:
    expected = rf"^row 2 of the output cannot be written \(.*{message}"
    with pytest.raises(DataError, match=expected):
        write(tmp_path / name, ["q", "n"], [{"q": "x", "n": 1}, {"q": value, "n": 1}])
    assert list(tmp_path.iterdir()) == []


def write_and_raise(target: Path, error: BaseException) -> None:
    with atomic_text(str(target)) as stream:
        stream.write("new" * 100_000)
        stream.flush()
        raise error


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt()])
def test_a_block_that_raises_leaves_what_was_there(
    tmp_path: Path, name: str, old: bytes | None, error: BaseException
) -> None:
    target = tmp_path / name
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(type(error)):
        write_and_raise(target, error)
    assert [path.name for path in tmp_path.iterdir()] == ([] if old is None else [name])
    assert old is None or target.read_bytes() == old


def test_the_target_changes_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic_file(target) as partial:
        assert partial.parent == target.parent  # a rename across file systems is no rename
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/a.csv", "No such file or directory"),
        ("file/a.csv", "Not a directory"),
        ("folder.csv", "Is a directory"),
        ("x" * 250 + ".csv", "File name too long"),
    ],
)
def test_a_target_that_cannot_be_written(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.csv").mkdir()
    expected = f"{tmp_path / name}: cannot write ({reason})"
    with pytest.raises(DataError, match=re.escape(expected)):
        write(tmp_path / name, ["q"], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_blank_line_of_a_one_column_file_is_an_empty_cell(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("query\na\n\nb\n", "utf-8")
    two.write_text("query,id\na,1\n\nb,2\n", "utf-8")
    with open_rows(str(one)) as reader:
        assert [(r.line, r.values["query"]) for r in reader.rows] == [(2, "a"), (3, ""), (4, "b")]
    with open_rows(str(two)) as reader:
        assert [r.values["query"] for r in reader.rows] == ["a", "b"]
