"""Batch files of a vendor's API: the model is set, and not one other byte; a file per expert."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import BatchCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter
from pydantic_core import SchemaValidator

from tests.test_bulk_job import prompts
from zooter_lite import Router
from zooter_lite.bulk.batch_file import check_parts, model_span, part_of
from zooter_lite.bulk.block import Task
from zooter_lite.errors import DataError
from zooter_lite.files.places import Source

Route = Callable[..., tuple[int, str]]
POOL = "".join(
    f'[[expert]]\nname = "{name}"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "the-{name}-é"\n'
    for name in ("ant", "bee", "cat")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=9,
)


@given(VALUES, st.dictionaries(st.text(max_size=4), VALUES), st.sampled_from([None, 1]))
def test_the_span_is_that_of_the_value(model: Any, others: dict[str, Any], indent: int) -> None:
    body = {**{key: value for key, value in others.items() if key != "model"}, "model": model}
    text = json.dumps({"custom_id": "a", **others, "body": body}, indent=indent)
    start, end = model_span(text)
    assert json.loads(text[start:end]) == model
    changed = json.loads(f"{text[:start]}7{text[end:]}")
    assert changed == json.loads(text) | {"body": body | {"model": 7}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"body": {}}', "no key 'body.model'"),
        ("{}", "no key 'body.model'"),
        ('{"body": [1]}', "no key 'body.model'"),
        ('{"model": 1, "body": {"mod\\u0065l": 1}}', "not spelled as it is"),
    ],
)
def test_a_request_without_one_model_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        model_span(text)


def request(place: int, text: str, **body: Any) -> str:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    whole = {"custom_id": f"r-{place}", "method": "POST", "url": "/v1/chat/completions"}
    spaced = json.dumps(whole | {"body": {"model": "old", "messages": messages} | body})
    return spaced.replace('"model": "old"', '"model" :\t"old"')


def test_a_batch_file_is_ready_to_submit(tmp_path: Path, toy: Path, route_toy: Route) -> None:
    (tmp_path / "experts.toml").write_text(POOL, "utf-8")
    texts = ["one two", "three é", "nine nine", "four five"]
    lines = [request(place, text, temperature=0.10) for place, text in enumerate(texts)]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes("\r\n".join(lines).encode())  # no end behind the last
    code, err = route_toy(source, target, "--models", tmp_path / "experts.toml")
    assert code == 0, err
    chosen = [decision.expert for decision in Router.load(toy).route(texts)]
    expected = [
        line.replace('"old"', json.dumps(f"the-{expert}-é", ensure_ascii=False))
        for line, expert in zip(lines, chosen, strict=True)
    ]
    assert target.read_bytes() == "\r\n".join(expected).encode()
    assert "4 rows routed" in err


def test_bad_requests_are_told_and_left_out(tmp_path: Path, route_toy: Route) -> None:
    (tmp_path / "experts.toml").write_text(POOL, "utf-8")
    bad = [request(1, "one").replace('"model"', '"m"'), '{"custom_id": "x"}', request(2, "")]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join([request(0, "one"), *bad]) + "\n", "utf-8")
    models = ("--models", tmp_path / "experts.toml")
    code, err = route_toy(source, target, *models)
    assert code == 2
    assert "line 2: no key 'body.model'" in err
    code, err = route_toy(source, target, *models, "--on-error", "skip")
    assert code == 0, err
    assert len(target.read_text("utf-8").splitlines()) == 1
    assert "rejected: 3 rows" in err


def test_what_is_no_batch_file_is_refused(tmp_path: Path, route_toy: Route) -> None:
    (tmp_path / "experts.toml").write_text(POOL, "utf-8")
    (tmp_path / "p.csv").write_text("query\none\n", "utf-8")
    files = (tmp_path / "p.csv", tmp_path / "o.csv")
    code, err = route_toy(*files, "--models", tmp_path / "experts.toml")
    assert (code, err.splitlines()[-1]) == (
        2,
        "error: --models: expected batch files, which are JSON lines",
    )
    (tmp_path / "few.toml").write_text(POOL.replace('"cat"', '"dog"'), "utf-8")
    code, err = route_toy(*files, "--models", tmp_path / "few.toml")
    assert code == 2
    assert "no expert 'cat'; found ant, bee, dog" in err


def whole(schema: Any) -> Any:
    """Change a pydantic schema: lists are validated at once, and unknown keys are refused."""
    if isinstance(schema, list | tuple):
        return type(schema)(whole(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    made = {key: whole(value) for key, value in schema.items()}
    if made.get("type") == "generator":
        made["type"] = "list"
    if made.get("type") == "typed-dict":
        made["extra_behavior"] = "forbid"
    return made


BODY = SchemaValidator(whole(TypeAdapter(CompletionCreateParamsNonStreaming).core_schema))
ENDPOINT: TypeAdapter[Any] = TypeAdapter(get_type_hints(BatchCreateParams)["endpoint"])


def body_of(line: str | bytes) -> Any:
    """Check that a line is a request of a batch input file; return its body."""
    values = json.loads(line)
    assert sorted(values) == ["body", "custom_id", "method", "url"]
    assert isinstance(values["custom_id"], str)
    assert values["method"] == "POST"
    ENDPOINT.validate_python(values["url"])
    return BODY.validate_python(values["body"])


@pytest.fixture
def job(tmp_path: Path) -> tuple[Path, Path, tuple[Any, ...]]:
    """A batch file of every kind of request, where to route it to, and the options."""
    (tmp_path / "experts.toml").write_text(POOL, "utf-8")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    parts = [{"type": "text", "text": "what is three"}, image]
    chats = [
        request(900, "one\ttwo", temperature=0.10, tools=[tool], max_completion_tokens=5),
        request(901, "x", messages=[{"role": "user", "content": parts}], stop=["\n"]),
        *(request(place, text or "one") for place, text in enumerate(prompts(300))),
    ]
    source = tmp_path / "in.jsonl"
    source.write_bytes("\r\n".join(chats).encode())
    models = ("--models", tmp_path / "experts.toml")
    return source, tmp_path / "out.jsonl", (*models, "--split-by", "expert", "--block", 4)


def produced(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if "out" in path.name}


def test_each_expert_gets_its_requests(
    toy: Path, job: tuple[Path, Path, tuple[Any, ...]], route_toy: Route
) -> None:
    source, target, args = job
    together = target.with_name("together.jsonl")
    assert route_toy(source, together, *args[:2])[0] == 0
    code, err = route_toy(source, target, *args)
    assert code == 0, err
    requests = together.read_bytes().splitlines(keepends=True)
    texts = [json.loads(line)["body"]["messages"][-1]["content"] for line in requests]
    texts[1] = "what is three"
    chosen = [decision.expert for decision in Router.load(toy).route(texts)]
    listed = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [line["expert"] for line in listed] == sorted(set(chosen))
    assert len(listed) > 1
    for line in listed:
        own = [r for r, expert in zip(requests, chosen, strict=True) if expert == line["expert"]]
        assert line["file"] == f"out.{line['expert']}.jsonl"
        assert line["requests"] == len(own)
        assert (target.parent / line["file"]).read_bytes() == b"".join(own)
        for raw in own:
            body = body_of(raw)
            assert body["model"] == line["model"] == f"the-{line['expert']}-é"
    assert set(produced(target.parent)) == {"out.jsonl", *(line["file"] for line in listed)}


@pytest.mark.parametrize("after", range(4))
def test_stopped_while_the_parts_appear(
    job: tuple[Path, Path, tuple[Any, ...]],
    route_toy: Route,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """The disk refuses one of the renames; the next run makes the same files."""
    source, target, args = job
    assert route_toy(source, target, *args)[0] == 0
    expected = produced(target.parent)
    for name in expected:
        (target.parent / name).unlink()
    left = [after]
    rename = Path.replace

    def replace(path: Path, other: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return rename(path, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        code, err = route_toy(source, target, *args)
    if after < len(expected):
        assert code == 2
        assert f"{target}: cannot write (No space left on device)" in err
        assert not target.exists()
        code, err = route_toy(source, target, *args)
        assert "303 rows" not in err
    assert code == 0, err
    assert produced(target.parent) == expected


def test_another_pool_file_never_goes_on(
    tmp_path: Path, job: tuple[Path, Path, tuple[Any, ...]], route_toy: Route
) -> None:
    source, target, args = job
    source.write_bytes(source.read_bytes() + b"\nno JSON\n")
    assert route_toy(source, target, *args)[0] == 2
    pool = tmp_path / "experts.toml"
    pool.write_text(pool.read_text("utf-8").replace("the-", "a-"), "utf-8")
    code, err = route_toy(source, target, *args, "--on-error", "skip")
    assert code == 2
    assert "an unfinished job of another input, router, setting or version" in err


def test_nothing_is_overwritten_without_a_word(
    job: tuple[Path, Path, tuple[Any, ...]], route_toy: Route
) -> None:
    source, target, args = job
    assert route_toy(source, target, *args)[0] == 0
    expected = produced(target.parent)
    target.unlink()
    code, err = route_toy(source, target, *args)
    assert code == 2
    assert "exists already; --force overwrites it" in err
    target.with_name("out.cat.jsonl").write_bytes(b"of an earlier job")
    code, err = route_toy(source, target, *args, "--force")
    assert code == 0, err
    assert produced(target.parent) == expected


def test_names_that_would_do_harm() -> None:
    names = ["openai/gpt-4.1", "../../etc", "a b\n", "ünï"]
    parts = [part_of("out/r.v1.JSONL.gz", name) for name in names]
    assert {part.parent for part in parts} == {Path("out")}
    assert [part.name for part in parts] == [
        "r.v1.openai-gpt-4.1.jsonl",
        "r.v1...-..-etc.jsonl",
        "r.v1.a-b-.jsonl",
        "r.v1.ünï.jsonl",
    ]


@pytest.mark.parametrize(
    ("source", "target", "experts", "reason"),
    [
        ("in.jsonl", "o.jsonl", ["a/b", "a:b"], "o.a-b.jsonl, of expert 'a:b', is also of another"),
        ("in.jsonl", "o.jsonl", ["Ant", "ant"], "is also of another expert"),
        ("o.ant.jsonl", "o.jsonl", ["ant"], "read or written by the job itself"),
        ("in.jsonl", "-", ["ant"], "--split-by: -: expected a file on this machine"),
        ("in.jsonl", "s3://b/o.jsonl", ["ant"], "expected a file on this machine"),
    ],
)
def test_clashes_are_told(source: str, target: str, experts: list[str], reason: str) -> None:
    task = Task(Source(source, "jsonl", "", ""), target)
    with pytest.raises(DataError, match=reason):
        check_parts([task], experts, [True])
