"""The tag command, end to end: LLM, neighbours, clusters, dropping, choosing, kill and resume."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Call
from tests.helpers import write_lines
from tests.llm_prompts import prompt_of, quoted_texts
from tests.llm_server import serving
from zooter_lite.table.queries import read_queries

KEY = "sk-planted-1234567890"
TOPICS = {
    "sort": ["Sorting", "Python programming"],
    "translate": ["translation", "Translations!"],
    "sum": ["arithmetic"],
}
Tag = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tag_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> Tag:
    """Run the command in this process, with the tagger's key; returns code, stdout, stderr."""
    monkeypatch.setenv("TAGGER_KEY", KEY)
    return partial(call, "tag")


def tags_in(path: Path) -> dict[str, list[str]]:
    queries = read_queries(str(path))
    return dict(zip(queries.texts, queries.tags(), strict=True))


def tagger(path: Path, url: str, **fields: object) -> Path:
    settings = {"attempts": 2, "api_key_env": "TAGGER_KEY"} | fields
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    head = ["[[expert]]", 'name = "tagger"', 'model = "m"', f'base_url = "{url}"']
    path.write_text("\n".join([*head, *lines]) + "\n", "utf-8")
    return path


def by_topic(request: dict[str, Any]) -> str:
    message = quoted_texts(prompt_of(request))["message"]
    tags = TOPICS.get(message.split()[0].lower(), ["once only"])
    return json.dumps([{"tag": name, "explanation": KEY} for name in tags])


def numbered(*topics: str, each: int = 4) -> list[dict[str, Any]]:
    return [{"query": f"{topic} number {i}", "n": i} for topic in topics for i in range(each)]


def test_an_llm_tags_and_its_words_become_one_vocabulary(tag_command: Tag, tmp_path: Path) -> None:
    rows = [*numbered("Sort", "Translate", "Sum"), {"query": "Sing!", "n": 0}]
    source, out = write_lines(tmp_path / "q.jsonl", rows), tmp_path / "tagged.parquet"
    with serving(by_topic) as server:
        options = ("--queries", source, "--out", out)
        file = tagger(tmp_path / "t.toml", server.url)
        code, printed, errors = tag_command(*options, "--tagger", file)
        assert code == 0, errors
        again = tag_command(*options, "--tagger", file)
    assert len(server.requests) == 13
    assert f"Bearer {KEY}" in server.headers[0]
    found = tags_in(out)
    assert found["Sort number 3"] == ["sorting", "python programming"]
    assert found["Translate number 0"] == ["translation"]
    assert found["Sum number 1"] == ["arithmetic"]
    assert found["Sing!"] == []
    assert read_queries(str(out)).rows[3]["n"] == 3
    assert "13 calls" in printed
    assert "0 calls" in again[1]
    assert "tags: 6 as written, 4 in one vocabulary" in printed
    assert "13 queries, 4 tags, 1 queries without any\nmost frequent: arithmetic 4, " in printed
    journal = (tmp_path / "tagged.parquet.tagging.jsonl").read_text("utf-8")
    assert len(journal.splitlines()) == 13
    for text in (journal, printed, errors):
        assert KEY not in text


def test_unreadable_answers_leave_queries_without_tags_until_asked_again(
    tag_command: Tag, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "q.jsonl", numbered("Sort", "Sum", each=2))
    broken = True

    def reply(request: dict[str, Any]) -> str:
        if broken and "Sum" in prompt_of(request):
            return "arithmetic, of course"
        return by_topic(request)

    with serving(reply) as server:
        file = tagger(tmp_path / "t.toml", server.url)
        words = ("--queries", source, "--out", tmp_path / "o.csv", "--tagger", file, "--merge", "1")
        code, out, _ = tag_command(*words)
        assert (code, len(server.requests)) == (0, 2 + 2 * 2)
        assert "2 queries without a readable answer" in out
        assert "2 queries without any" in out
        assert tag_command(*words)[0] == 0
        assert len(server.requests) == 6
        broken = False
        assert tag_command(*words, "--retry-failed")[0] == 0
    assert len(server.requests) == 8
    assert tags_in(tmp_path / "o.csv")["Sum number 0"] == ["arithmetic"]
    with (tmp_path / "o.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["tags"] == "sorting;python programming"


def test_a_budget_ends_the_run_without_an_output(tag_command: Tag, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "q.jsonl", numbered("Sum"))
    with serving(by_topic) as server:
        fields = {"price_output": 1000.0, "concurrency": 1}
        file = tagger(tmp_path / "t.toml", server.url, **fields)
        file.write_text(file.read_text() + "[expert.sampling]\nmax_tokens = 1000\n")
        words = ("--queries", source, "--out", tmp_path / "o.csv", "--tagger", file)
        code, _, err = tag_command(*words, "--max-cost", "1.005")
    assert code == 2
    assert "the budget of 1.005 ended the run with 2 calls left" in err
    assert not (tmp_path / "o.csv").exists()
    assert len(server.requests) == 2  # 0.004 for the answer of the first, 1 at most for the next


def test_kept_tags_stay_and_count(tag_command: Tag, tmp_path: Path) -> None:
    rows = numbered("Sort", "Sum", each=2)
    rows[0]["tags"] = ["Sorting", "Mine, Alone"]
    source, out = write_lines(tmp_path / "q.jsonl", rows), tmp_path / "o.jsonl"
    with serving(by_topic) as server:
        file = tagger(tmp_path / "t.toml", server.url)
        words = ("--queries", source, "--out", out, "--tagger", file, "--merge", "1")
        code, printed, _ = tag_command(*words, "--keep")
    assert (code, len(server.requests)) == (0, 3)
    assert "kept: the tags of 1 of 4 queries" in printed
    found = tags_in(out)
    assert found["Sort number 0"] == ["Sorting", "Mine, Alone"]
    assert found["Sort number 1"] == ["sorting"]  # twice with the kept one; python once
    assert found["Sum number 0"] == ["arithmetic"]


def test_tags_of_the_nearest_tagged_queries(tag_command: Tag, tmp_path: Path) -> None:
    known = [
        *[{"query": f"Sort a list of {n} numbers in Python", "tags": ["sorting"]} for n in "2345"],
        *[{"query": f"Translate {n} words into French", "tags": ["french", "x"]} for n in "2345"],
        {"query": "Translate a word into French", "tags": []},
    ]
    table = write_lines(tmp_path / "known.jsonl", known)
    rows = [{"query": "Sort this list of words in Python"}, {"query": "Translate this into French"}]
    source, out = write_lines(tmp_path / "q.jsonl", rows), tmp_path / "o.jsonl"
    words = ("--queries", source, "--out", out, "--tagger", f"nearest:{table}", "--k", 3)
    code, printed, err = tag_command(*words, "--top", 1)
    assert code == 0, err
    assert list(tags_in(out).values()) == [["sorting"], ["french"]]
    assert "2 queries, 2 tags, 0 queries without any" in printed
    assert tag_command(*words)[0] == 0
    assert list(tags_in(out).values()) == [["sorting"], ["french", "x"]]


def test_clusters_get_readable_names(tag_command: Tag, tmp_path: Path) -> None:
    rows = [
        *[{"query": f"Sort a list of {n} numbers in Python"} for n in range(10)],
        *[{"query": f"Translate {n} words into French"} for n in range(10)],
    ]
    source, out = write_lines(tmp_path / "q.jsonl", rows), tmp_path / "o.jsonl"
    words = ("--queries", source, "--out", out, "--tagger")
    code, _, err = tag_command(*words, "clusters:2")
    assert code == 0, err
    found = list(tags_in(out).values())
    assert found[:10] == [["list numbers python"]] * 10
    assert found[10:] == [["french translate words"]] * 10
    code, _, _ = tag_command(*words, "clusters")
    assert code == 0
    assert list(tags_in(out).values()) == found  # one cluster per ten queries


def test_queries_are_dropped_counted_and_chosen(tag_command: Tag, tmp_path: Path) -> None:
    run_of_words = "how many apples are left when Tom eats two of his five apples"
    rows = [
        {"query_id": "a", "query": "Sort a list of numbers", "tags": ["sorting", "lists"]},
        {"query_id": "b", "query": "Sort  a list of numbers", "tags": ["sorting"]},
        {"query_id": "c", "query": "Sort a list of numbers!", "tags": ["sorting"]},
        {"query_id": "d", "query": f"Tell me {run_of_words} please", "tags": ["arithmetic"]},
        {"query_id": "e", "query": "Write a poem about snow", "tags": ["poetry"]},
        {"query_id": "f", "query": "Reverse the words of a sentence", "tags": ["lists"]},
        {"query_id": "g", "query": "Name a river in France", "tags": []},
    ]
    source, out = write_lines(tmp_path / "q.jsonl", rows), tmp_path / "o.jsonl"
    test = write_lines(tmp_path / "test.jsonl", [{"query": f"Say {run_of_words}?"}])
    other = write_lines(tmp_path / "more.jsonl", [{"query": "Write a poem about rain"}])
    words = ("--queries", source, "--out", out, "--dedupe", 0.9)
    code, printed, err = tag_command(
        *words, "--decontaminate", f"{test}, {other}", "--select", 1, "--seed", 5
    )
    assert code == 0, err
    assert "dropped: 1 of 7 queries repeat one further up" in printed
    assert "dropped: 1 of 6 queries share a run of 13 words with one of 2 test queries" in printed
    assert "dropped: 1 of 5 queries come within 0.9 of an earlier one" in printed
    assert "chosen: 2 of 4 queries, 1 per tag where there are as many (1 without" in printed
    assert read_queries(str(out)).ids == ["a", "e"]
    code, printed, _ = tag_command(*words, "--decontaminate", other, "--ngram", 4)
    assert "dropped: 1 of 6 queries share a run of 4 words" in printed
    assert read_queries(str(out)).ids == ["a", "d", "f", "g"]


def test_nothing_left_is_an_error(tag_command: Tag, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "q.jsonl", [{"query": "Untagged"}])
    words = ("--queries", source, "--out", tmp_path / "o.jsonl")
    code, _, err = tag_command(*words, "--select", 3)
    assert (code, err) == (2, f"error: {source}: no query is left to write\n")
    code, _, err = tag_command(*words, "--decontaminate", source, "--dedupe", 0.9)
    assert (code, err) == (2, f"error: {source}: no query is left to write\n")
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tagger", "gpt"), "--tagger 'gpt': expected a .toml file, nearest:FILE, clusters"),
        (("--tagger", "clusters:99"), "99 clusters of 1 queries"),
        (("--tagger", "no.toml"), "no.toml: No such file"),
        (("--tagger", "nearest:{source}"), "no query has tags; expected a column 'tags'"),
        (("--select", "0"), "--select 0: expected a number from 1"),
        (("--column", "text"), "no column 'text'"),
        (("--out", "tagged.txt"), "tagged.txt: expected a name ending in .csv"),
    ],
)
def test_a_mistake_is_one_line(
    tag_command: Tag, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    source = write_lines(tmp_path / "q.jsonl", [{"query": "Sort"}])
    given = [argument.format(source=source) for argument in arguments]
    code, _, err = tag_command("--queries", source, "--out", tmp_path / "o.jsonl", *given)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q.jsonl"]


def test_another_column_of_queries_is_kept_under_its_name(tag_command: Tag, tmp_path: Path) -> None:
    source = tmp_path / "q.csv"
    source.write_text("text,tags\nSort,a;b\nSum,a\n", "utf-8")
    words = ("--queries", source, "--out", tmp_path / "o.csv", "--column", "text")
    assert tag_command(*words, "--select", 1)[0] == 0
    lines = (tmp_path / "o.csv").read_text("utf-8").splitlines()
    assert lines[0] == "query_id,text,tags"
    assert [line.split(",", 1)[1] for line in lines[1:]] == ["Sort,a;b"]
