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


BAD_CSV: dict[str, tuple[bytes, str]] = {
    "latin-1": (b"a,caf\xe9,b\n", "byte 0xe9 is not UTF-8"),
    "latin-1 in a line of a quoted cell": (b'a,"one\ncaf\xe9\n",b\n', "byte 0xe9 is not UTF-8"),
    "overlong": (b"a,\xc0\xaf,b\n", "byte 0xc0 is not UTF-8"),
    "UTF-8 of a surrogate": (b"a,\xed\xa0\x80,b\n", "byte 0xed is not UTF-8"),
    "NUL": (b"a,o\0ne,b\n", "a NUL byte"),
    "nothing but NUL": (b"\0" * 3000 + b"\n", "a NUL byte"),
    "too few cells": (b"a,one\n", "2 cells, but the header has 3 columns"),
    "too many cells": (b"a,one,b,c\n", "4 cells, but the header has 3 columns"),
    "another delimiter": (b"a;one;b\n", "1 cells, but the header has 3 columns"),
    "an empty quoted cell": (b'""\n', "1 cells, but the header has 3 columns"),
    "text after a quote": (b'a,"one"two,b\n', "broken CSV (',' expected after '\"')"),
    "carriage return in a cell": (b"a,one\rtwo,b\n", "broken CSV (new-line character seen"),
    "quotes opened, closed later": (b'a,"one,b\nc,two,d\ne,three"4,\n', "broken CSV (',' expec"),
}
LAST_CSV: dict[str, tuple[bytes, str]] = {  # they take what follows
    "never closed": (b'a,"one,b\nc,two,d\n', "broken CSV (unexpected end of data)"),
    "never closed, long": (b'a,one,"' + b"x,y\n" * 2000, "broken CSV (unexpected end of data)"),
    "quote at the very end": (b'a,one,"', "broken CSV (unexpected end of data)"),
    "cut in a character": (b"a,one,\xe2\x82", "byte 0xe2 is not UTF-8"),
    "cut in a row": (b"a,o", "2 cells, but the header has 3 columns"),
}
ODD_CSV: dict[str, Row] = {  # sound all the same
    "blank lines": Row(b"\n\r\n\n"),
    "carriage returns at the end": Row(b"a,one,b\r\n", ["a", "one", "b"]),
    "byte order mark in the middle": Row(
        b"\xef\xbb\xbfa,one,\xef\xbb\xbf\n", ["\ufeffa", "one", "\ufeff"]
    ),
    "quote in a cell": Row(b'a,o"n"e,b"\n', ["a", 'o"n"e', 'b"']),
    "separators of Unicode": Row(
        "a,one\u2028two\x85,\x0b\x0c\x1c\n".encode(), ["a", "one\u2028two\x85", "\x0b\x0c\x1c"]
    ),
    "only quotes": Row(b'"""","""""",""""""""\n', ['"', '""', '"""']),
    "lines in quotes": Row(b'a,"' + b"one\n" * 900 + b'",b\n', ["a", "one\n" * 900, "b"]),
    "records in quotes": Row(b'a,"1,one,2\n3,two,4\n",b\n', ["a", "1,one,2\n3,two,4\n", "b"]),
    "carriage returns in quotes": Row(b'a,"one\r\rtwo\r\n",b\n', ["a", "one\r\rtwo\r\n", "b"]),
    "formula": Row(b"=1+1,@one,-2\n", ["=1+1", "@one", "-2"]),
    "long cell": Row(b"a," + b"one " * 50_000 + b",b\n", ["a", "one " * 50_000, "b"]),
}

DEEP = b"[" * 450 + b"]" * 450
BAD_JSON: dict[str, tuple[bytes, str]] = {
    "cut": (b'{"query": "one"\n', "not a JSON object"),
    "array": (b'["query", "one"]\n', "expected a JSON object, found list"),
    "number": (b"5\n", "expected a JSON object, found int"),
    "CSV": (b"a,one,b\n", "not a JSON object"),
    "NaN": (b'{"query": "one", "n": NaN}\n', "NaN is not JSON; use null"),
    "Infinity": (b'{"query": "one", "n": [Infinity]}\n', "Infinity is not JSON"),
    "key twice": (b'{"query": "one", "query": "two"}\n', "key 'query' appears twice"),
    "key twice, escaped": (b'{"query": "one", "qu\\u0065ry": 1}\n', "key 'query' appears twice"),
    "no key": (b'{"Query": "one"}\n', "no key 'query'"),
    "nothing": (b"{}\n", "no key 'query'"),
    "taken": (b'{"query": "one", "expert": "x"}\n', "already has a key 'expert'"),
    "int": (b'{"query": 5}\n', "'query' holds int, expected text"),
    "object": (b'{"query": {"one": "two"}}\n', "'query' holds dict, expected text"),
    "two in a line": (b'{"query": "one"} {"query": "two"}\n', "not a JSON object"),
    "single quotes": (b"{'query': 'one'}\n", "not a JSON object"),
    "deep": (b'{"query": "one", "n": ' + DEEP + b"}\n", "nested deeper than 400"),
    "deeper": (b'{"query": "one", "n": ' + b"[" * 100_000 + b"}\n", "nested deeper than 400"),
    "1e999": (b'{"query": "one", "n": 1e999}\n', "cannot be written as JSON"),
    "1e999, wrong type": (b'{"query": -1e999}\n', "'query' holds float, expected text"),
    "digits": (b'{"query": "one", "n": ' + b"9" * 5000 + b"}\n", "not a JSON object (Exceeds"),
    "escape": (b'{"query": "\\x41"}\n', "not a JSON object"),
    "latin-1": (b'{"query": "caf\xe9"}\n', "byte 0xe9 is not UTF-8"),
    "UTF-8 of a surrogate": (b'{"query": "\xed\xa0\x80"}\n', "byte 0xed is not UTF-8"),
    "NUL": (b'{"query": "o\0ne"}\n', "a NUL byte"),
    "nothing but NUL": (b"\0" * 3000 + b"\n", "a NUL byte"),
}
ODD_JSON: dict[str, Row] = {
    "blank lines": Row(b"\n \t\r\n\n"),
    "surrogates": Row(
        b'{"query": "one \\ud83d", "\\udc00": "\\udfff\\ud800"}\n',
        {"query": "one \ud83d", "\udc00": "\udfff\ud800"},
    ),
    "escaped NUL": Row(b'{"query": "one\\u0000"}\n', {"query": "one\0"}),
    "no prompt": Row(b'{"query": null, "n": -0.0}\n', {"query": None, "n": -0.0}),
    "spaces": Row(b'  { "query" :"one" } \r\n', {"query": "one"}),
    "digits": Row(b'{"query": "one", "n": ' + b"9" * 4000 + b"}\n", {"query": "one", "n": None}),
    "as deep as is allowed": Row(
        b'{"query": "[[", "n": ' + b"[" * 399 + b"]" * 399 + b"}\n", {"query": "[[", "n": None}
    ),
    "brackets in text": Row(
        b'{"query": "\\"' + b"[{" * 900 + b'\\\\"}\n', {"query": '"' + "[{" * 900 + "\\"}
    ),
    "separators of Unicode": Row(
        '{"query": "one\u2028\x85"}\n'.encode(), {"query": "one\u2028\x85"}
    ),
    "long": Row(b'{"query": "' + b"one " * 50_000 + b'"}\n', {"query": "one " * 50_000}),
    "no key but others": Row(b'{"": {}, "query": ""}\n', {"": {}, "query": ""}),
}


AT_THE_ENDS = (": latin-1", ": NUL", "few cells", "blank lines", "in quotes", ": cut", "mark later")


def texts() -> Iterator[Text]:
    """Yield every file of rows."""
    goods: dict[str, tuple[bytes, Callable[[int], Row]]] = {
        "csv": (HEADER, good_csv),
        "jsonl": (b"", good_json),
    }
    for kind, bad, odd in (("csv", BAD_CSV, ODD_CSV), ("jsonl", BAD_JSON, ODD_JSON)):
        head, good = goods[kind]
        for name, (raw, reason) in bad.items():
            yield from _placed(f"{kind}: {name}", kind, head, good, Row(raw, reason=reason))
        for name, row in odd.items():
            yield from _placed(f"{kind}: {name}", kind, head, good, row)
        everything = [Row(raw, reason=reason) for raw, reason in bad.values()]
        mixed = [part for i, row in enumerate(everything) for part in (good(i), row, good(i + 1))]
        yield Text(f"{kind}: everything", kind, head, tuple(mixed))
        yield Text(f"{kind}: everything, nothing sound", kind, head, tuple(everything))
    for name, (raw, reason) in LAST_CSV.items():
        rows = [*(good_csv(i) for i in range(30)), Row(raw, reason=reason)]
        yield Text(f"csv: {name}", "csv", HEADER, tuple(rows))
    plain = tuple(good_csv(i) for i in range(30))
    yield Text("csv: byte order mark", "csv", b"\xef\xbb\xbf" + HEADER, plain)
    yield Text("csv: blank lines first", "csv", b"\n\r\n" + HEADER, plain)
    yield Text("csv: marked blank line first", "csv", b"\xef\xbb\xbf\n" + HEADER, plain)
    yield Text("csv: quoted header", "csv", b'"id","query","no""te"\n', plain)
    yield Text(
        "csv: marked quoted header of two lines", "csv", b'\xef\xbb\xbf"i\nd",query,n\n', plain
    )
    yield Text("csv: an unnamed column", "csv", b",query,note\r\n", plain)
    yield Text("csv: header alone", "csv", HEADER, ())
    yield Text("csv: header alone, cut", "csv", HEADER[:-1], ())
    lines = tuple(Row(raw, [raw.decode().strip()]) for raw in (b"one\n", b"\n", b"\r\n", b"two"))
    yield Text("csv: one column, blank lines are rows", "csv", b"query\n", lines)
    marked = b"\xef\xbb\xbf" + good_json(1).raw
    yield Text("jsonl: byte order mark", "jsonl", b"", (Row(marked, good_json(1).values),))
    second = Row(marked, reason="not a JSON object (Unexpected UTF-8 BOM")
    yield Text("jsonl: byte order mark later", "jsonl", b"", (good_json(0), second))


def _placed(
    name: str, kind: str, head: bytes, good: Callable[[int], Row], row: Row
) -> Iterator[Text]:
    """Yield files with one odd row: in the middle, and where it is a usual one at the ends."""
    rows = tuple(good(i) for i in range(40))
    yield Text(f"{name}, in the middle", kind, head, (*rows, row, *rows))
    if not name.endswith(AT_THE_ENDS):
        return
    yield Text(f"{name}, first", kind, head, (row, *rows))
    if len(row.raw.rstrip(b"\r\n")):
        cut = Row(row.raw.rstrip(b"\r\n"), row.values, row.reason)
        yield Text(f"{name}, last", kind, head, (*rows, cut))


def brokens() -> Iterator[Broken]:
    """Yield every file that ends the run, but for Parquet."""
    text = HEADER + b"".join(good_csv(i).raw for i in range(300))
    yield from (Broken(*header) for header in _HEADERS)
    for name in ("in.csv", "in.jsonl"):
        what = "a header line" if name == "in.csv" else "one JSON object per line"
        for label, content in {
            "empty": b"",
            "blank": b"\n\r\n \n",
            "long blank": b"\n" * 9000,
        }.items():
            yield Broken(f"{name}: {label}", name, content, f": the file is empty; expected {what}")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        content = text.decode().encode(encoding)
        yield Broken(encoding, "in.csv", content, ", line 1: a NUL byte")
    for packing, pack in PACKERS.items():
        packed = pack(text)
        yield Broken(f"{packing} named .csv", "in.csv", packed, ", line ")
        yield Broken(f"text named {packing}", f"in.csv{packing}", text, ", after line 0: ")
        for other in sorted(PACKERS.keys() - {packing}):
            yield Broken(f"{packing} named {other}", f"in.csv{other}", packed, ", after line 0: ")
        yield Broken(f"{packing} twice", f"in.csv{packing}", pack(packed), ", line ")
        for place in (1, 5, 9):
            cut = packed[: len(packed) * place // 10]
            yield Broken(f"{packing} cut at {place}", f"in.csv{packing}", cut, ", after line ")
        for back in (1, 5):
            cut = packed[:-back]
            yield Broken(f"{packing} without {back}", f"in.csv{packing}", cut, ", after line ")
        yield Broken(f"{packing} of nothing", f"in.csv{packing}", pack(b""), ": the file is empty")


def flipped() -> Iterator[tuple[str, bytes, bytes]]:
    """Yield compressed files with one bit changed: packing, the file, and its true content."""
    text = HEADER + b"".join(good_csv(i).raw for i in range(300))
    for packing, pack in PACKERS.items():
        packed = pack(text)
        for place in range(8):
            changed = bytearray(packed)
            changed[len(packed) * place // 8] ^= 1 << place % 8
            yield packing, bytes(changed), text


_HEADERS: list[tuple[str, str, bytes, str]] = [
    ("no column", "in.csv", b"id,q\n1,2\n", ": no column 'query'; found 'id', 'q' ("),
    ("other case", "in.csv", b"id,Query\n1,2\n", ": no column 'query'; found 'id', 'Query' ("),
    ("spaces", "in.csv", b"id, query\n1,2\n", ": no column 'query'; found 'id', ' query' ("),
    ("semicolons", "in.csv", b"id;query\n1;2\n", "are its cells divided by ';'? expected commas"),
    ("tabs", "in.csv", b"id\tquery\n1\t2\n", "are its cells divided by '\\t'? expected commas"),
    ("bars", "in.csv", b"id|query\n1|2\n", "are its cells divided by '|'? expected commas"),
    ("column twice", "in.csv", b"query,query\n1,2\n", ", line 1: column 'query' appears more than"),
    ("no names", "in.csv", b",,query\n1,2,3\n", ", line 1: column '' appears more than once"),
    (
        "taken",
        "in.csv",
        b"query,expert\n1,2\n",
        ": already has a column 'expert', which the output",
    ),
    ("taken too", "in.csv", b"query,probability\n", ": already has a column 'probability', which"),
    ("latin-1 header", "in.csv", b"query,caf\xe9\n", ", line 1: byte 0xe9 is not UTF-8"),
    ("NUL header", "in.csv", b"query,\0\n", ", line 1: a NUL byte"),
    ("quotes in the header", "in.csv", b'query,"a"b\n1,2\n', ", line 1: broken CSV ("),
    ("header never closed", "in.csv", b'query,"a\n1,2\n', ", line 1: broken CSV (unexpected end"),
    ("header after blanks", "in.csv", b'\n\nquery,"a\n1,2\n', ", line 3: broken CSV (unexpected"),
    ("CR only", "in.csv", b"id,query\r1,one\r2,two\r", ", line 1: broken CSV (new-line character"),
    ("JSON named .csv", "in.csv", b'{"query": "one"}\n', ": no column 'query'; found "),
    (
        "two marks",
        "in.csv",
        b"\xef\xbb\xbf" * 2 + b"query\n",
        ": no column 'query'; found '\\ufeff",
    ),
    ("CSV named .parquet", "in.parquet", b"query\none\n", ": not a readable Parquet file ("),
    ("empty .parquet", "in.parquet", b"", ": not a readable Parquet file ("),
    ("magic alone", "in.parquet", b"PAR1PAR1", ": not a readable Parquet file ("),
    (
        "magic and length",
        "in.parquet",
        b"PAR1\xff\xff\xff\x7fPAR1",
        ": not a readable Parquet file",
    ),
    ("encrypted", "in.parquet", b"PARE\x04\0\0\0\0\0\0\0PARE", ": not a readable Parquet file ("),
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
