"""The score command: from a journal of responses to a table that fit reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Call
from tests.helpers import write_lines
from zooter_lite.errors import DataError
from zooter_lite.files.journal import read_journal
from zooter_lite.scoring.checks import Verifier, read_verifier
from zooter_lite.scoring.rewards import combine, same_best
from zooter_lite.scoring.scorer import Item, Scored, score_once
from zooter_lite.scoring.scorer_file import read_scorers
from zooter_lite.table import read_table

QUERIES: list[dict[str, Any]] = [
    {"query_id": "q1", "query": "2 + 2?", "answer": "4", "subset": "sums", "split": "train",
     "tags": ["sum"]},
    {"query_id": "q2", "query": "Capital of France?", "answer": ["Paris"], "subset": "facts",
     "split": "test", "tags": []},
    {"query_id": "q0", "query": "3 + 4?", "answer": 7, "subset": "sums", "split": "train",
     "tags": ["sum", "odd"]},
]  # fmt: skip
SAID = {
    ("q1", "b"): "4", ("q1", "a"): "It is 4.",
    ("q2", "b"): "paris", ("q2", "a"): None,
    ("q0", "b"): "8", ("q0", "a"): "7",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as collect writes it, with one failure."""
    texts = {row["query_id"]: row["query"] for row in QUERIES}
    records = []
    for (name, expert), text in SAID.items():
        said = {"error": "HTTP 500"} if text is None else {"response": text}
        cost = 0.0 if text is None else 0.25
        records.append(
            {"query_id": name, "query": texts[name], "expert": expert, **said, "cost": cost}
        )
    write_lines(tmp_path / "responses.jsonl", records)
    write_lines(tmp_path / "queries.jsonl", QUERIES)
    return tmp_path


@pytest.fixture
def score(folder: Path, call: Call) -> Callable[..., tuple[int, str, str]]:
    """Score what the folder holds; exit code, output and errors."""

    def scored(scorer: object, out: str = "table.jsonl") -> tuple[int, str, str]:
        files = ("--responses", folder / "responses.jsonl", "--queries", folder / "queries.jsonl")
        return call("score", *files, "--scorer", scorer, "--out", folder / out)

    return scored


def rewards(folder: Path, out: str = "table.jsonl") -> list[list[float | None]]:
    table = read_table(str(folder / out))
    return [[None if np.isnan(x) else float(x) for x in row] for row in table.rewards]


@pytest.mark.parametrize("out", ["t.jsonl", "t.csv", "t.parquet", "t.jsonl.gz"])
def test_the_table_holds_rewards_costs_responses_and_the_joined_columns(
    folder: Path, out: str, score: Call
) -> None:
    code, printed, err = score("exact", out)
    assert code == 0, err
    table = read_table(str(folder / out))
    assert table.query_ids == ["q1", "q2", "q0"]
    assert table.experts == ["a", "b"]
    assert rewards(folder, out) == [[0.0, 1.0], [None, 1.0], [1.0, 0.0]]
    assert table.costs is not None
    np.testing.assert_array_equal(table.costs, [[0.25, 0.25], [np.nan, 0.25], [0.25, 0.25]])
    assert table.responses == [["It is 4.", "4"], [None, "paris"], ["7", "8"]]
    assert table.subsets == ["sums", "facts", "sums"]
    assert table.splits == ["train", "test", "train"]
    assert table.tags == [["sum"], [], ["sum", "odd"]]
    assert "5 responses of 2 experts to 3 queries; 1 failed" in printed
    assert "b: mean reward 0.6667 over 3 responses" in printed
    assert "a: mean reward 0.5000 over 2 responses" in printed
    assert "exact: 5 of 5 responses scored in " in printed


def test_without_queries_rows_stand_by_their_id(folder: Path, call: Call) -> None:
    (folder / "s.toml").write_text(
        '[[scorer]]\nname = "n"\nkind = "numeric"\nreference = 4\nabsolute = 3.0\n'
    )
    out = folder / "table.jsonl"
    assert call("score", "--responses", folder, "--scorer", folder / "s.toml", "--out", out)[0] == 0
    table = read_table(str(out))
    assert table.query_ids == ["q0", "q1", "q2"]
    assert rewards(folder) == [[1.0, 0.0], [1.0, 1.0], [None, 0.0]]


def test_two_scorers_are_combined_as_stated_and_compared(folder: Path, score: Call) -> None:
    (folder / "s.toml").write_text(
        '[[scorer]]\nname = "strict"\nkind = "exact"\nweight = 3\n'
        '[[scorer]]\nname = "lenient"\nkind = "contains"\n'
    )
    code, printed, err = score(folder / "s.toml", "t.parquet")
    assert code == 0, err
    strict = np.array([0.0, 1.0, 1.0, 1.0, 0.0])
    lenient = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    expected = 0.75 * (strict - 0.6) / np.sqrt(0.24) + 0.25 * (lenient - 0.8) / 0.4
    table = read_table(str(folder / "t.parquet"))
    np.testing.assert_allclose(table.rewards[~np.isnan(table.rewards)], expected, rtol=1e-6)
    import pyarrow.parquet as pq

    kept = pq.read_table(folder / "t.parquet").to_pydict()
    assert kept["score:strict:b"] == [1.0, 1.0, 0.0]
    assert kept["score:strict:a"] == [0.0, None, 1.0]
    assert kept["score:lenient:a"] == [1.0, None, 1.0]
    assert "strict: weight 0.75\nlenient: weight 0.25\n" in printed
    assert "strict and lenient: same best expert 75.0%" in printed


def test_combining_leaves_out_who_cannot_say() -> None:
    first, second = np.array([0.0, 1.0, np.nan, np.nan]), np.array([2.0, 6.0, 4.0, np.nan])
    found = combine([first, second], [1.0, 3.0])
    np.testing.assert_allclose(
        found, [-1.0 * 0.25 - 0.75 * np.sqrt(1.5), 0.25 + 0.75 * np.sqrt(1.5), 0.0, np.nan]
    )
    flat = np.array([3.0, np.nan, 3.0])
    np.testing.assert_array_equal(combine([flat, flat], [1.0, 1.0]), [0.0, np.nan, 0.0])


def test_nothing_is_computed_twice_until_text_truth_or_settings_change(tmp_path: Path) -> None:
    items = [
        Item("1", "q", "a", "Yes", {"answer": "yes"}),
        Item("1", "q", "b", "no", {"answer": "yes"}),
    ]

    def scored(items: Sequence[Item], **options: bool) -> tuple[list[float], int]:
        verifier = read_verifier("exact", {"name": "exact", **options}, "")
        values, _ = verifier.score(items, tmp_path, lambda n: None)
        return values.tolist(), len(list(read_journal(tmp_path / "scores-exact.jsonl")))

    assert scored(items) == ([1.0, 0.0], 2)
    assert scored(items) == ([1.0, 0.0], 2)
    assert scored(items, ignore_case=False) == ([0.0, 0.0], 4)
    assert scored(items) == ([1.0, 0.0], 4)
    assert scored([items[0], Item("1", "q", "b", "yes", {"answer": "yes"})]) == ([1.0, 1.0], 5)
    assert scored([Item("1", "q", "a", "Yes", {"answer": "no"}), items[1]]) == ([0.0, 0.0], 6)
    assert scored(items) == ([1.0, 0.0], 6)


def test_queries_without_truth_get_no_score(tmp_path: Path) -> None:
    items = [Item("1", "q", "a", "7", {"answer": 7}), Item("2", "r", "a", "7", {"answer": None})]
    verifier = Verifier("n", "numeric", "answer", options={"relative": 0.0, "absolute": 0.0})
    values, notes = verifier.score(items, tmp_path, lambda n: None)
    np.testing.assert_array_equal(values, [1.0, np.nan])
    assert notes == ["1 responses to queries without 'answer', no score"]


def test_what_a_stopped_run_scored_is_kept(tmp_path: Path) -> None:
    items, path = [Item(str(n), "q", "a", "x") for n in range(4)], tmp_path / "j"
    asked: list[str] = []

    def compute(todo: list[tuple[Item, Any]]) -> Iterator[Scored]:
        for place, (item, _) in enumerate(todo):
            asked.append(item.query_id)
            if len(asked) == 3:
                raise KeyboardInterrupt
            yield place, float(item.query_id), {}

    with pytest.raises(KeyboardInterrupt):
        score_once(items, path, "s", compute, lambda n: None)
    assert [record["score"] for record in read_journal(path)] == [0.0, 1.0]
    with path.open("ab") as stream:
        stream.write(b'{"query_id": "3", "exp')  # as a kill leaves it
    values, _ = score_once(items, path, "s", compute, lambda n: None)
    assert (values.tolist(), asked) == ([0.0, 1.0, 2.0, 3.0], [*"01223"])


def test_same_best_is_over_queries_with_two_responses_of_both() -> None:
    nan = np.nan
    first = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 0.0], [5.0, nan, nan]])
    second = np.array([[10.0, 30.0, 20.0], [1.0, 0.0, 0.0], [5.0, 1.0, nan]])
    assert same_best(first, second) == pytest.approx((0.0 + 0.5) / 2)
    assert np.isnan(same_best(first[2:], second[2:]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no [[scorer]]"),
        ('[[scorer]]\nname = "../a"\nkind = "exact"', "name is '../a'"),
        ('[[scorer]]\nname = "a"\nkind = ["exact"]', "kind is ['exact']"),
        ('[[scorer]]\nname = "a"\nkind = "exact"\nweight = 0', "weight is 0, expected a positive"),
        ('[[scorer]]\nname = "a"\nkind = "exact"\nseconds = 3', "seconds = 3, expected fields are"),
        ('[[scorer]]\nname = "a"\nkind = "exact"\nignore_case = 1', "ignore_case = 1"),
        ('[[scorer]]\nname = "a"\nkind = "reward-model"\n', "no model"),
        ('[[scorer]]\nname = "a"\nkind = "exact"\n' * 2, "two scorers have the name 'a'"),
    ],
)
def test_a_wrong_scorers_file_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_scorers(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


RESPONSE = '{"query_id": "q1", "query": "2 + 2?", "expert": "b", "response": "4"}\n'


@pytest.mark.parametrize(
    ("file", "content", "scorer", "message"),
    [
        ("", "", "exakt", "exakt: unknown scorer; expected a .toml file, exact, contains,"),
        ("", "", "reward-model:", "reward-model:: no model"),
        ("", "", "numeric", "scorer 'numeric', query 'q2': the answer 'Paris' holds no number"),
        ("", "", "regex", "scorer 'regex': no query has a value in column 'pattern'; the other "
         "columns are: 'answer', 'subset', 'split', 'tags'"),
        ("scores-exact.jsonl", '{"query_id": "q1"}\n', "exact", "is not one of a score"),
        ("scores-exact.jsonl", '{"query_id": "q1", "expert": "a", "content": "c", "scorer": "s", '
         '"score": "x"}\n', "exact", "scores-exact.jsonl: a record is not one of a score"),
        ("responses.jsonl", None, "exact", "no such file; expected the journal that collect"),
        ("responses.jsonl", "", "exact", "no response to any of the queries"),
        ("responses.jsonl", '{"query_id": "q1", "query": "2 + 2?"}\n', "exact",
         "a record is not one of a response"),
        ("responses.jsonl", RESPONSE.replace("2?", "3?"), "exact",
         "query_id 'q1' stands there for another query"),
        ("responses.jsonl", RESPONSE, "exact", "rewards of 1 experts (b); a reward table needs"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_exit_code_2(
    folder: Path, score: Call, file: str, content: str | None, scorer: str, message: str
) -> None:
    if content is None:
        (folder / file).unlink()
    elif file:
        (folder / file).write_text(content)
    code, _, err = score(scorer)
    assert code == 2
    assert message in err.splitlines()[-1]
    assert not (folder / "table.jsonl").exists()
