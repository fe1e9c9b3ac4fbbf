"""Files of queries: ids, other columns, repeated rows, formats there and back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from zooter_lite.errors import DataError
from zooter_lite.table.queries import Queries, query_id, read_queries, write_queries


def written(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return str(path)


def test_ids_are_given_or_hashes_of_the_text(tmp_path: Path) -> None:
    path = written(tmp_path, "q.csv", "query_id,query,subset\n7,What?,a\n,Why?,\n")
    queries = read_queries(path)
    why = hashlib.sha256(b"Why?").hexdigest()[:16]
    assert queries == Queries(["7", why], ["What?", "Why?"], [{"subset": "a"}, {"subset": None}])
    assert query_id("Why?") == why
    assert queries.columns == {"subset": ["a", None]}
    assert len(query_id("\ud800")) == 16


def test_the_same_query_twice_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, "q.jsonl", '{"query": "a", "n": 1}\n{"query": "b"}\n{"query": "a"}\n')
    queries = read_queries(path)
    assert (queries.texts, queries.repeated, len(queries)) == (["a", "b"], 1, 2)
    assert queries.rows == [{"n": 1}, {"n": None}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.csv", "prompt;x\na;b\n", r"no column 'query'; found 'prompt', 'x' \(--column names"),
        ("q.csv", "query\na\n\" \"\n", r"q\.csv, line 3, column 'query': empty; expected text"),
        ("q.jsonl", '{"query": "a", "query_id": [1]}\n', "line 1, column 'query_id': expected a t"),
        (
            "q.csv", "query_id,query\n1,a\n2,b\n1,c\n",
            r"q\.csv, line 4: query_id '1' stands at two different queries",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_queries(written(tmp_path, name, text))


def test_other_columns_may_hold_the_query_and_are_read_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, "q.csv", "query_id,query,a,b\n1,x,2,3\n")
    assert read_queries(path, "a") == Queries(["1"], ["2"], [{"query": "x", "b": "3"}])
    assert read_queries(path, others=("b",)) == Queries(["1"], ["x"], [{"b": "3"}])
    assert read_queries(path, others=()).rows == [{}]


@pytest.mark.parametrize("name", ["q.csv.gz", "q.jsonl", "q.parquet"])
def test_queries_come_back_from_every_format(tmp_path: Path, name: str) -> None:
    queries = Queries(
        ["1", "2", "3"],
        ['a "quoted", b', "line\nline", "é"],
        [{"tags": ["x", "y z"], "subset": "s"}, {"tags": None, "subset": None}, {"tags": ["x"]}],
    )
    path = str(tmp_path / name)
    write_queries(queries, path)
    back = read_queries(path)
    assert (back.ids, back.texts, back.tags()) == (
        queries.ids, queries.texts, [["x", "y z"], [], ["x"]],
    )  # fmt: skip
    assert [row["subset"] for row in back.rows] == ["s", None, None]
    assert list(tmp_path.iterdir()) == [tmp_path / name]
