"""Chats as prompts: every shape to its text, and through tables, files and the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import write_lines
from zooter_lite import DataError, RewardTable, Router
from zooter_lite.files.messages import Context, nested, prompt_of
from zooter_lite.table.queries import read_queries

Route = Callable[..., tuple[int, str]]


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


TALK = [
    said("system", "Be brief."),
    said("user", "one two"),
    said("assistant", "three"),
    said("user", "four"),
]
PARTS = [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "four"}]
SHAPES: dict[str, Any] = {
    "messages": TALK,
    "an object": {"model": "any", "messages": TALK},
    "developer": [said("developer", "Be brief."), *TALK[1:]],
    "parts": [*TALK[:3], said("user", PARTS)],
    "responses": {"input": [*TALK[:3], said("user", [{"type": "input_text", "text": "four"}])]},
    "tools": [
        *TALK,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
        said("tool", "42"),
    ],
    "anthropic": [
        *TALK[1:],
        said("assistant", [{"type": "tool_use", "name": "f", "input": {}}]),
        said("user", [{"type": "tool_result", "content": "42"}]),
    ],
    "harness": [
        *TALK[1:3],
        said("user", "<system-reminder>Today is Monday.</system-reminder>four"),
        {"role": "user", "content": "a caveat", "isMeta": True},
    ],
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "one two"},
            {"from": "gpt", "value": "three"},
            {"from": "human", "value": "four"},
        ]
    },
    "gemini": [*TALK[1:3], said("user", {"content_type": "text", "parts": ["four"]})],
    "json": json.dumps(TALK),
    "json object": json.dumps({"messages": TALK}, indent=1),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_its_text(shape: str) -> None:
    assert prompt_of(SHAPES[shape]).text == "four"
    assert prompt_of(SHAPES[shape], "user").text == "one two\n\nfour"
    assert prompt_of(SHAPES[shape], "all").text == "one two\n\nthree\n\nfour"
    assert prompt_of(SHAPES[shape]).unread == (shape == "parts")


@pytest.mark.parametrize(
    "text",
    ["", " ", "plain", '{"role": "user"}', "[1, 2]", '[{"role": 3}', '["role"]', "[[" * 9999],
)
def test_other_texts_stay_what_they_are(text: str) -> None:
    assert prompt_of(text).text == text


def test_long_chats_and_only_parts() -> None:
    many = [said(("user", "assistant")[i % 2], f"turn {i}") for i in range(200)]
    assert prompt_of(many).text == "turn 198"
    assert len(prompt_of(many, "all").text.split("\n\n")) == 199 + 1
    assert prompt_of([said("user", "x" * 100_000)]).text == "x" * 100_000
    assert prompt_of([{"type": "text", "text": "four"}]).text == "four"
    assert prompt_of(None).text == ""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "expected text or a list of messages, found int"),
        ([], "expected text or a list of messages, found an empty list"),
        (["four"], "expected text or a list of messages, found another list"),
        ([said("user", "")], "a chat without any text of a user"),
        ([said("user", [PARTS[0]])], "a chat without any text of a user"),
        ([said("assistant", "three")], "a chat without any text of a user"),
        ([said("narrator", "four")], "a message of the role 'narrator'"),
        ([{"content": "four"}], "a message of the role None"),
    ],
)
@pytest.mark.parametrize("context", ["last", "user", "all"])
def test_what_is_no_chat_is_refused(value: Any, reason: str, context: Context) -> None:
    with pytest.raises(ValueError, match=reason):
        prompt_of(value, context)


def test_keys_within_keys() -> None:
    assert nested({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert nested({"a": {"b": {"c": 3}}}, "a.b.c") == 3
    for path in ("a.b", "b", "a.c.d"):
        with pytest.raises(KeyError):
            nested({"a": {"c": 1}}, path)


def test_tables_and_queries_take_chats(tmp_path: Path) -> None:
    rows = [
        {"query": value, "reward:a": 1, "reward:b": 0}
        for value in (TALK, "plain", SHAPES["sharegpt"], SHAPES["json"])
    ]
    path = tmp_path / "t.jsonl"
    write_lines(path, rows)
    assert list(RewardTable.read(path).queries) == ["four", "plain", "four", "four"]
    assert RewardTable.read(path, context="user").queries[0] == "one two\n\nfour"
    assert read_queries(str(path)).texts == ["four", "plain"]
    write_lines(path, [rows[0] | {"query": [said("user", "")]}])
    with pytest.raises(DataError, match=r"line 1, column 'query': a chat without any text"):
        RewardTable.read(path)


def test_a_router_takes_chats(toy: Path) -> None:
    router = Router.load(toy)
    plain = router.predict_proba(["four", "one"])
    assert (router.predict_proba([TALK, "one"]) == plain).all()  # type: ignore[list-item]
    assert router.route([TALK])[0] == router.route(["four"])[0]  # type: ignore[list-item]
    (decision,) = router.route([TALK], windows={"ant": 1})  # type: ignore[list-item]
    assert "ant" not in decision.ranking
    with pytest.raises(DataError, match="a chat is one prompt"):
        router.route(TALK)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="prompt 1: a chat without any text of a user"):
        router.route(["one", [said("user", "")]])  # type: ignore[list-item]


def experts_of(path: Path) -> list[str]:
    return [json.loads(line)["expert"] for line in path.open(encoding="utf-8")]


def test_files_of_chats_are_routed(tmp_path: Path, toy: Path, route_toy: Route) -> None:
    texts = ["four", "one two\n\nfour", "one two\n\nthree\n\nfour"]
    expected = dict(zip(("last", "user", "all"), Router.load(toy).route(texts), strict=True))
    source = tmp_path / "in.jsonl"
    bodies = [SHAPES["an object"], {"messages": [*TALK[:3], said("user", PARTS)]}]
    write_lines(source, ({"body": body} for body in bodies))
    for context, decision in expected.items():
        target = tmp_path / f"{context}.jsonl"
        options = ("--column", "body.messages", "--context", context)
        code, err = route_toy(source, target, *options)
        assert code == 0, err
        assert experts_of(target) == [decision.expert] * 2
        assert "1 images or other parts that are no text were not read" in err
        rows = [json.loads(line) for line in target.open(encoding="utf-8")]
        assert [row["body"] for row in rows] == bodies


def test_a_chat_without_text_is_a_row_that_cannot_be_routed(
    tmp_path: Path, route_toy: Route
) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"query": TALK}, {"query": [said("user", "")]}])
    code, err = route_toy(source, tmp_path / "out.jsonl")
    assert code == 2
    assert "line 2: 'query': a chat without any text of a user" in err


def test_parquet_holds_chats_as_lists(tmp_path: Path, toy: Path, route_toy: Route) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    talks = [[said("user", "four")], [said("user", "")], None]
    pq.write_table(pa.table({"query": talks}), tmp_path / "in.parquet")
    options = ("--on-error", "skip")
    code, err = route_toy(tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    assert code == 0, err
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    expert = Router.load(toy).route(["four"])[0].expert
    assert [row["expert"] for row in rows] == [expert, None]
    assert "rejected: 1 rows" in err
