"""Parquet files of every odd kind, and broken ones, always the same."""

from __future__ import annotations

import datetime
import decimal
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.hostile_files import Broken

PROMPTS = ["one two", None, "", "three", "four five six", " \t", "one two", "é🙂"]
N = len(PROMPTS)
DAY = datetime.datetime(2024, 2, 29, 12, 30, 59, 123456)


def written(table: pa.Table, **options: Any) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def plain(n_rows: int = 400) -> pa.Table:
    """Return a table with a prompt in most rows."""
    prompts = [PROMPTS[i % N] for i in range(n_rows)]
    return pa.table(
        {"id": pa.array(range(n_rows), pa.int64()), "query": pa.array(prompts, pa.string())}
    )


def sound() -> dict[str, bytes]:
    """Return Parquet files that every run has to route, by name."""
    tables = {name: pa.table({"query": array, "n": range(N)}) for name, array in _prompts()}
    others = dict(_others())
    tables["with other columns"] = pa.table({**others, "query": pa.array(PROMPTS), "": range(N)})
    tables["no rows"] = tables["dictionary"].slice(0, 0)
    tables["metadata"] = plain(N).replace_schema_metadata({"pandas": "{}", b"\xff": b"\x00"})
    files = {name: written(table) for name, table in tables.items()}
    for options in (
        {"compression": "brotli", "row_group_size": 3, "data_page_version": "2.0"},
        {"column_encoding": {"query": "DELTA_BYTE_ARRAY"}, "use_dictionary": False},
        {"store_schema": False},
    ):
        name = ", ".join(f"{key} {value}" for key, value in options.items())
        files[name] = written(plain(), **options)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, plain().schema) as writer:
        for n_rows in (0, 5, 0, 0, 8, 0):
            writer.write_table(plain(n_rows))
    files["empty row groups"] = sink.getvalue()
    sink = io.BytesIO()
    pq.ParquetWriter(sink, plain().schema).close()
    files["no row groups"] = sink.getvalue()
    return files


def _prompts() -> Iterator[tuple[str, Any]]:
    """Yield columns of prompts of every type that holds text."""
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        yield str(kind), pa.array(PROMPTS, kind)
    yield "null", pa.nulls(N)
    yield "dictionary", pa.array(PROMPTS).dictionary_encode()
    large = pa.dictionary(pa.int8(), pa.large_string())
    yield "large dictionary", pa.array(PROMPTS, pa.large_string()).cast(large)


def _others() -> Iterator[tuple[str, Any]]:
    """Yield other columns, which have to stay as they are."""
    yield "binary", pa.array([b"\xff\x00", None, *[b""] * (N - 2)])
    yield "decimal", pa.array([decimal.Decimal("1.50"), None] * (N // 2), pa.decimal128(38, 9))
    yield "zoned timestamp", pa.array([DAY, None] * (N // 2), pa.timestamp("us", "Europe/Vienna"))
    yield "half floats", pa.array([1.5, None] * (N // 2), pa.float16())
    yield "nan", pa.array([float("nan"), float("-inf")] * (N // 2))
    yield "null", pa.nulls(N)
    yield "structs", pa.array([{"a": 1, "b": {"c": "x"}}, None] * (N // 2))
    yield "maps", pa.array([[("k", 1)], None] * (N // 2), pa.map_(pa.string(), pa.int64()))
    yield (
        "lists of dictionaries",
        pa.array([["x", "y"], None] * (N // 2), pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    )
    yield "text that is none", pa.array([b"\xff"] * N).view(pa.string())
    yield "uuids", pa.array([b"0123456789abcdef", None] * (N // 2), pa.uuid())


def refused() -> Iterator[Broken]:
    """Yield every Parquet file that ends the run."""
    queries = pa.array(PROMPTS)
    whole = written(plain(3000), row_group_size=500)
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    unreadable = {
        "cut": whole[: len(whole) // 2],
        "without its last byte": whole[:-1],
        "beginning gone": whole[100:],
        # pages, not the footer
        "zeros in the middle": whole[:4] + bytes(len(whole) - 4 - footer) + whole[-footer:],
    }
    found = {
        name: (content, ": not a readable Parquet file (") for name, content in unreadable.items()
    }
    for name, array in (
        ("int64", pa.array(range(N))),
        ("binary", pa.array([b"one"] * N)),
        ("list<", pa.array([["one"]] * N)),
    ):
        content = written(pa.table({"query": array}))
        found[f"prompts are {name}"] = content, f": column 'query' holds {name}"
    twice = pa.Table.from_arrays([queries] * 3, names=["query", "x", "x"])
    found["x twice"] = written(twice), ": column 'x' appears more than once"
    found["no prompts"] = written(pa.table({"q": queries})), ": no column 'query'; found 'q' ("
    taken = pa.table({"query": queries, "expert": queries})
    found["expert taken"] = written(taken), ": already has a column 'expert', which the output"
    for name, (content, message) in found.items():
        yield Broken(f"Parquet: {name}", "in.parquet", content, message)


def unsound() -> tuple[bytes, list[int]]:
    """Return a file with prompts that are no UTF-8, and their rows, counted from 1."""
    prompts = [b"one two", b"\xff", b"", None, b"caf\xe9", b"three"] * 50
    column = pa.array(prompts, pa.binary()).view(pa.string())
    rows = [i + 1 for i, prompt in enumerate(prompts) if prompt in (b"\xff", b"caf\xe9")]
    return written(pa.table({"query": column, "n": range(300)}), row_group_size=70), rows
