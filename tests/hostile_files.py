"""Hostile inputs of `python -m zooter_lite.route`, always the same ones.

A `Text` is a file of rows, each of them sound or not, told row by row; a `Broken` is a file
that no run can make sense of.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

HEADER = b"id,query,note\n"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
UNPACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda data: (
        zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    ),
}


@dataclass(frozen=True)
class Row:
    """Bytes of a row; its cells or object if it is sound, else what the reason says."""

    raw: bytes
    values: object = None
    reason: str = ""


@dataclass(frozen=True)
class Text:
    """A file of rows after `head`: a header line, or nothing for JSON lines."""

    name: str
    kind: str
    head: bytes
    rows: tuple[Row, ...]

    @property
    def content(self) -> bytes:
        return self.head + b"".join(row.raw for row in self.rows)

    @property
    def bad(self) -> list[tuple[int, Row]]:
        """Unsound rows, each with the line on which it starts."""
        found = []
        line = 1 + self.head.count(b"\n")
        for row in self.rows:
            if row.reason:
                found.append((line, row))
            line += row.raw.count(b"\n")
        return found


@dataclass(frozen=True)
class Broken:
    """A file by which every run ends: what the message says behind the name of the file."""

    name: str
    file: str
    content: bytes
    message: str


def good_csv(number: int) -> Row:
    """Return a sound row, some with cells that hold quotes, commas, ends of lines."""
    note = ("", "x" * (number * 7 % 90), 'a "b"\r\nc,', "é🙂", "two\nlines")[number % 5]
    query = ("one two", "three", "", "four, five")[number % 4]
    quoted = '"' + note.replace('"', '""') + '"' if set(note) & set('"\n,') else note
    raw = f'{number},"{query}",{quoted}\n' if "," in query else f"{number},{query},{quoted}\n"
    return Row(raw.encode(), [str(number), query, note])


def good_json(number: int) -> Row:
    """Return a sound row of JSON."""
    values = {"id": number, "query": "one two" if number % 3 else None, "x": ["y" * (number % 70)]}
    return Row(json.dumps(values).encode() + b"\n", values)


CSV = [
    Row(b'a,"one\ncaf\xe9\n",b\n', reason="byte 0xe9 is not UTF-8"),
    Row(b"a,\xed\xa0\x80,b\n", reason="byte 0xed is not UTF-8"),
    Row(b"\0" * 3000 + b"\n", reason="a NUL byte"),
    Row(b"a,one\n", reason="2 cells, but the header has 3 columns"),
    Row(b"a,one,b,c\n", reason="4 cells, but the header has 3 columns"),
    Row(b'a,"one"two,b\n', reason="broken CSV (',' expected after '\"')"),
    Row(b"a,one\rtwo,b\n", reason="broken CSV (new-line character seen"),
    Row(b'a,"one,b\nc,two,d\ne,three"4,\n', reason="broken CSV (',' expec"),
    Row(b"\n\r\n\n"),
    Row(b"a,one,b\r\n", ["a", "one", "b"]),
    Row(b"\xef\xbb\xbfa,one,\xef\xbb\xbf\n", ["\ufeffa", "one", "\ufeff"]),
    Row(b'a,o"n"e,b"\n', ["a", 'o"n"e', 'b"']),
    Row("a,one\u2028two\x85,\x0b\x0c\x1c\n".encode(), ["a", "one\u2028two\x85", "\x0b\x0c\x1c"]),
    Row(b'a,"' + b"one\n" * 900 + b'",b\n', ["a", "one\n" * 900, "b"]),
    Row(b'a,"1,one,2\n3,two,4\n",b\n', ["a", "1,one,2\n3,two,4\n", "b"]),
    Row(b'a,"one\r\rtwo\r\n",b\n', ["a", "one\r\rtwo\r\n", "b"]),
    Row(b"=1+1,@one,-2\n", ["=1+1", "@one", "-2"]),
    Row(b"a," + b"one " * 50_000 + b",b\n", ["a", "one " * 50_000, "b"]),
]
LAST_CSV = [  # they take what follows
    Row(b'a,one,"' + b"x,y\n" * 2000, reason="broken CSV (unexpected end of data)"),
    Row(b"a,one,\xe2\x82", reason="byte 0xe2 is not UTF-8"),
    Row(b"a,o", reason="2 cells, but the header has 3 columns"),
]
DEEP = b"[" * 450 + b"]" * 450
JSON = [
    Row(b'{"query": "one"\n', reason="not a JSON object"),
    Row(b"5\n", reason="expected a JSON object, found int"),
    Row(b'{"query": "one", "n": NaN}\n', reason="NaN is not JSON; use null"),
    Row(b'{"query": "one", "qu\\u0065ry": 1}\n', reason="key 'query' appears twice"),
    Row(b'{"Query": "one"}\n', reason="no key 'query'"),
    Row(b'{"query": "one", "expert": "x"}\n', reason="already has a key 'expert'"),
    Row(b'{"query": {"one": "two"}}\n', reason="'query': a message of the role None"),
    Row(b'{"query": "one", "n": ' + DEEP + b"}\n", reason="nested deeper than 400"),
    Row(b'{"query": "one", "n": ' + b"[" * 100_000 + b"}\n", reason="nested deeper than 400"),
    Row(b'{"query": "one", "n": 1e999}\n', reason="cannot be written as JSON"),
    Row(b'{"query": "one", "n": ' + b"9" * 5000 + b"}\n", reason="not a JSON object (Exceeds"),
    Row(b'{"query": "caf\xe9"}\n', reason="byte 0xe9 is not UTF-8"),
    Row(b'{"query": "o\0ne"}\n', reason="a NUL byte"),
    Row(b'\xef\xbb\xbf{"query": "one"}\n', reason="not a JSON object (Unexpected UTF-8 BOM"),
    Row(b"\n \t\r\n\n"),
    Row(
        b'{"query": "one \\ud83d", "\\udc00": "\\udfff\\ud800"}\n',
        {"query": "one \ud83d", "\udc00": "\udfff\ud800"},
    ),
    Row(b'{"query": "one\\u0000"}\n', {"query": "one\0"}),
    Row(b'{"query": null, "n": -0.0}\n', {"query": None, "n": -0.0}),
    Row(b'{"query": "one", "n": ' + b"9" * 4000 + b"}\n", {"query": "one", "n": None}),
    Row(b'{"query": "\\"' + b"[{" * 900 + b'\\\\"}\n', {"query": '"' + "[{" * 900 + "\\"}),
    Row('{"query": "one\u2028\x85"}\n'.encode(), {"query": "one\u2028\x85"}),
    Row(b'{"": {}, "query": ""}\n', {"": {}, "query": ""}),
]


def texts() -> Iterator[Text]:
    """Yield every file of rows."""
    plain = tuple(good_csv(i) for i in range(30))
    for odd in (CSV, CSV[::-1]):
        mixed = [part for i, row in enumerate(odd) for part in (good_csv(i), row, good_csv(i + 1))]
        yield Text(f"csv: between sound rows {len(odd[0].raw)}", "csv", HEADER, tuple(mixed))
    yield Text("csv: nothing usual", "csv", HEADER, tuple(CSV))
    for row in LAST_CSV:
        yield Text(f"csv: last {row.reason}", "csv", HEADER, (*plain, row))
    yield Text("csv: marked blank line first", "csv", b"\xef\xbb\xbf\n" + HEADER, plain)
    mark = b'\xef\xbb\xbf"i\nd",query,n\n'
    yield Text("csv: marked quoted header of two lines", "csv", mark, plain)
    yield Text("csv: header alone, cut", "csv", HEADER[:-1], ())
    lines = tuple(Row(raw, [raw.decode().strip()]) for raw in (b"one\n", b"\n", b"\r\n", b"two"))
    yield Text("csv: one column, blank lines are rows", "csv", b"query\n", lines)
    between = [part for i, row in enumerate(JSON) for part in (good_json(i), row)]
    yield Text("jsonl: between sound rows", "jsonl", b"", tuple(between))
    yield Text("jsonl: nothing usual", "jsonl", b"", tuple(JSON))
    first = Row(b"\xef\xbb\xbf" + good_json(1).raw, good_json(1).values)
    last = Row(JSON[0].raw.rstrip(), reason=JSON[0].reason)
    yield Text("jsonl: byte order mark, and a cut row", "jsonl", b"", (first, good_json(0), last))


def brokens() -> Iterator[Broken]:
    """Yield every file that ends the run, but for Parquet."""
    text = HEADER + b"".join(good_csv(i).raw for i in range(300))
    yield from (Broken(*header) for header in _HEADERS)
    yield Broken("no rows", "in.csv", b"\n\r\n \n", ": the file is empty; expected a header line")
    yield Broken("no objects", "in.jsonl", b"\n" * 9000, ": the file is empty; expected one JSON")
    yield Broken("UTF-16", "in.csv", text.decode().encode("utf-16"), ", line 1: UTF-16; expected a")
    for packing, pack in PACKERS.items():
        packed, name = pack(text), f"in.csv{packing}"
        yield Broken(f"{packing} named .csv", "in.csv", packed, ", line ")
        yield Broken(f"text named {packing}", name, text, ", after line 0: ")
        yield Broken(f"{packing} cut", name, packed[: len(packed) // 2], ", after line ")
        yield Broken(f"{packing} without its last byte", name, packed[:-1], ", after line ")
        yield Broken(f"{packing} of nothing", name, pack(b""), ": the file is empty")


_HEADERS = [
    ("other case", "in.csv", b"id,Query\n1,2\n", ": no column 'query'; found 'id', 'Query' ("),
    ("column twice", "in.csv", b"query,query\n1,2\n", ", line 1: column 'query' appears more than"),
    ("taken", "in.csv", b"query,expert\n1,2\n", ": already has a column 'expert', which the out"),
    ("latin-1 header", "in.csv", b"query,caf\xe9\n", ", line 1: byte 0xe9 is not UTF-8"),
    ("header after blanks", "in.csv", b'\n\nquery,"a\n1,2\n', ", line 3: broken CSV (unexpected"),
    ("CR only", "in.csv", b"id,query\r1,one\r2,two\r", ", line 1: broken CSV (new-line character"),
    (
        "two marks",
        "in.csv",
        b"\xef\xbb\xbf" * 2 + b"query\n",
        ": no column 'query'; found '\\ufeff",
    ),
    ("CSV named .parquet", "in.parquet", b"query\none\n", ": not a readable Parquet file ("),
]


def visible(folder: Path) -> list[str]:
    """Names in a folder but for the hidden ones of a job that may go on."""
    names = sorted(path.name for path in folder.iterdir())
    return [n for n in names if not (n.startswith(".") and n.endswith((".journal", ".partial")))]


def check_error(code: int, err: str, start: object) -> None:
    """Standard error is one line that begins like this, and the exit code says so."""
    assert code == 2, err
    assert err.startswith(f"error: {start}"), err
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
