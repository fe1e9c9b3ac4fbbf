"""What the LLM experts of the pocket said: from the journal of collect to the build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.pocket import responses
from recipes.pocket.prompts import numbered
from recipes.pocket.responses import keep, read_kept
from tests.conftest import Call
from tests.helpers import write_lines
from tests.llm_server import Server, serving
from zooter_lite.ask.pool import read_pool
from zooter_lite.errors import DataError

QUERIES = {"a-1": "Which animal barks?", "b-1": "Grüße,\n„rot“ auf Englisch?"}


def said(request: dict[str, Any]) -> str:
    """Say nothing under the system prompt `mute`, else the length of the question."""
    system, user = (message["content"] for message in request["messages"])
    return "" if system == "mute" else f" {len(user)}"


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> Any:
    """A folder that `collect` has filled; two experts on one server, one of them mute."""
    pool = tmp_path / "experts.toml"
    monkeypatch.setattr(responses, "POOL", pool)
    queries = write_lines(
        tmp_path / responses.PROMPTS,
        ({"query_id": name, "query": text} for name, text in QUERIES.items()),
    )
    with serving(said) as server:
        write_pool(pool, server)
        assert call("collect", "--queries", queries, "--experts", pool, "--out", tmp_path)[0] == 0
        yield tmp_path, server


def write_pool(path: Path, server: Server, system: str = "count") -> None:
    text = ""
    for name, prompt in (("counting", system), ("silent", "mute")):
        fields = {"name": name, "base_url": server.url, "model": "m", "system": prompt}
        text += "[[expert]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in fields.items())
    path.write_text(text)


def test_what_a_server_said_reaches_the_build(
    collected: tuple[Path, Server], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = collected
    path = folder / "responses.jsonl.gz"
    keep(folder, path)
    first = path.read_bytes()
    keep(folder, path)
    assert path.read_bytes() == first
    kept = read_kept(path)
    counting, silent = read_pool(str(responses.POOL))
    for query in QUERIES.values():
        assert kept.of(counting, query) == f" {len(query)}"
        assert kept.of(silent, query) == ""
    assert "| counting | 2 | 0 |" in capsys.readouterr().out


def test_another_prompt_or_setting_has_no_response(collected: tuple[Path, Server]) -> None:
    folder, server = collected
    path = folder / "responses.jsonl.gz"
    keep(folder, path)
    counting, _ = read_pool(str(responses.POOL))
    with pytest.raises(DataError, match=r"no response of .*counting.* to .Which animal barks.; "):
        read_kept(path).of(counting, "Which animal barks")
    write_pool(responses.POOL, server, system="count again")
    counting, silent = read_pool(str(responses.POOL))
    assert read_kept(path).of(silent, QUERIES["a-1"]) == ""
    with pytest.raises(DataError, match="no response of 'counting'"):
        read_kept(path).of(counting, QUERIES["a-1"])
    with pytest.raises(DataError, match=r"answered in .* with another model, system prompt"):
        keep(folder, path)


def test_the_examples_that_the_llm_sees_hold_no_prompt_of_the_sample() -> None:
    pool = read_pool(str(responses.POOL))
    assert len({(expert.system, str(expert.sampling)) for expert in pool}) >= 2
    shown = {
        line.removeprefix("Q: ").casefold()
        for expert in pool
        for line in expert.system.splitlines()
        if line.startswith("Q: ")
    }
    assert len(shown) == 16
    assert shown.isdisjoint(prompt.query.casefold() for _, _, prompt in numbered(responses.SEED))
