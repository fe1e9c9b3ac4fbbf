"""Batch files of a vendor's API: the model is set, and not one other byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter_lite import Router
from zooter_lite.bulk.batch_file import value_span

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
    start, end = value_span(text, ["body", "model"])
    assert json.loads(text[start:end]) == model
    changed = json.loads(f"{text[:start]}7{text[end:]}")
    assert changed == json.loads(text) | {"body": body | {"model": 7}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"body": {}}', "key 'body.model' stands nowhere"),
        ("{}", "key 'body' stands nowhere"),
        ('{"body": {"model": 1, "model": 2}}', "key 'body.model' stands twice"),
        ('{"body": [1]}', "no key 'body.model'"),
    ],
)
def test_a_request_without_one_model_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        value_span(text, ["body", "model"])


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
    assert "line 2: key 'body.model' stands nowhere" in err
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
