"""Tags by an LLM: what is asked, what is read, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zooter_lite.ask.tagger import LONGEST_TAG, MOST_TAGS, parse_tags, read_tagger
from zooter_lite.errors import DataError


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('[{"tag": "sorting", "explanation": "order"}, {"tag": "python"}]', ["sorting", "python"]),
        ('\n```json\n["sorting"]\n```\n', ["sorting"]),
        ('```\n[{"tag": "sorting"},\n "python"]\n```', ["sorting", "python"]),
    ],
)
def test_lists_of_tags_are_read(text: str, tags: list[str]) -> None:
    assert parse_tags(text) == tags


@pytest.mark.parametrize(
    "wrapped",
    [
        "<think>Perhaps ['art']? Or [\"art\"].</think>\n\n{}",
        "Here are the tags:\n\n```json\n{}\n```\n",
        '```json\n["a draft"]\n```\nBetter:\n```\n{}\n```',
        '{{"tags": {}}}',
        'Sure! {{"query": "x", "intentions": {}}} Anything else?',
        "Draft [1]: {} [sic]",
    ],
)
def test_a_list_is_read_however_it_is_wrapped(wrapped: str) -> None:
    text = wrapped.format('[{"tag": "colour naming", "explanation": "asks"}]')
    assert parse_tags(text) == ["colour naming"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Here you are: sorting", "not a JSON list"),
        ('{"tags": ["a"], "others": ["b"]}', "not a JSON list"),
        ('<think>["red"]</think> none', "not a JSON list"),
        ('[{"tag": "sorting"}, {"tag": "py', "not a JSON list"),
        ('[{"explanation": "x"}]', "no text 'tag'"),
        ('[{"tag": " "}]', "no text 'tag'"),
        ("[" * 100_000, "not a JSON list"),
        (json.dumps(["t"] * (MOST_TAGS + 1)), "over 32 tags"),
        (json.dumps(["t" * (LONGEST_TAG + 1)]), "over 100 characters"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_tags(text)


def test_a_tagger_is_a_pool_of_one(tmp_path: Path) -> None:
    path = tmp_path / "tagger.toml"
    one = '[[expert]]\nname = "{}"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n'
    path.write_text(one.format("a"))
    assert read_tagger(str(path)).name == "a"
    path.write_text(one.format("a") + one.format("b"))
    with pytest.raises(DataError, match=r"2 experts, expected one"):
        read_tagger(str(path))
