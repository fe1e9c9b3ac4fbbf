"""Questions of a set form: asked once, asked again where unreadable, resumed, within a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.llm_prompts import prompt_of
from tests.llm_server import serving
from zooter_lite.ask.asking import Replies, ask_all
from zooter_lite.ask.calls import Call
from zooter_lite.ask.pool import Expert


def number(text: str) -> int:
    return int(text)


def length(request: dict[str, Any]) -> str:
    return str(len(prompt_of(request)))


def ask(prompts: list[str], url: str, path: Path, **options: Any) -> Replies:
    settings = dict[str, Any](attempts=2, concurrency=2, sampling={"max_tokens": 4})
    settings |= options.pop("expert", {})
    expert = Expert("judge", url, "m", **settings)
    facts = [{"n": i} for i in range(len(prompts))]
    return ask_all(
        len(prompts), lambda i: Call(facts[i], prompts[i]), expert, path, number, **options
    )


def test_equal_prompts_are_asked_once_and_all_are_answered(tmp_path: Path) -> None:
    done: list[int] = []
    with serving(length) as server:
        replies = ask(["a", "bbb", "a"], server.url, tmp_path / "j", progress=done.append)
    assert replies.parsed == [1, 3, 1]
    assert (replies.failed, replies.tally.attempts, sum(done)) == (0, 2, 3)
    assert sorted(map(prompt_of, server.requests)) == ["a", "bbb"]
    records = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    assert sorted(record["n"] for record in records) == [0, 1]


@pytest.mark.parametrize("change", [{"system": "be brief"}, {"sampling": {"temperature": 1.0}}])
def test_another_setting_is_another_question(tmp_path: Path, change: dict[str, Any]) -> None:
    with serving(length) as server:
        ask(["a"], server.url, tmp_path / "j")
        replies = ask(["a"], server.url, tmp_path / "j", expert=change)
        again = ask(["a"], server.url, tmp_path / "j")
    assert (replies.tally.attempts, again.tally.attempts, len(server.requests)) == (1, 0, 2)


def test_a_call_that_the_end_of_a_run_cut_short_is_asked_again(tmp_path: Path) -> None:
    with serving(length) as server:
        ask(["a"], server.url, tmp_path / "j")
        record = json.loads((tmp_path / "j").read_text())
        cut = {"question": record["question"], "error": "the run ended", "unfinished": True}
        (tmp_path / "j").write_text(json.dumps(cut | {"cost": 0.5}) + "\n")
        replies = ask(["a"], server.url, tmp_path / "j")
    assert (replies.parsed, replies.failed, replies.cost) == ([1], 0, 0.5)
