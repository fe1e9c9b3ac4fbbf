"""The command: run, stopped, run again; what it prints, keeps, refuses and never shows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recipes.bench.collect_chaos import storm
from tests.conftest import ROOT
from tests.helpers import write_lines
from tests.llm_server import Canned, Server, echo, refusal, said, serving
from zooter_lite.__main__ import main
from zooter_lite.ask import calls
from zooter_lite.files.journal import read_journal

KEY = "sk-planted/qzx0+456=789"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "backoff", lambda attempt: 0.001)


class Case:
    """Queries, a pool and a folder, and the command on them."""

    def __init__(self, folder: Path, server: Server, queries: int = 4) -> None:
        self.folder, self.server = folder, server
        self.out = folder / "responses"
        self.ask([f"What is {i}?" for i in range(queries)])
        self.pool({})

    def ask(self, queries: list[str]) -> None:
        write_lines(self.folder / "q.jsonl", ({"query": query} for query in queries))

    def pool(self, *experts: dict[str, Any]) -> None:
        text = ""
        for place, fields in enumerate(experts):
            base = {"name": f"e{place}", "base_url": self.server.url, "model": f"m{place}"}
            text += "[[expert]]\n"
            for name, value in (base | fields).items():
                shown = f"{{ max_tokens = {value} }}" if name == "sampling" else json.dumps(value)
                text += f"{name} = {shown}\n"
        (self.folder / "experts.toml").write_text(text)

    @property
    def arguments(self) -> list[str]:
        files = ("--queries", self.folder / "q.jsonl", "--experts", self.folder / "experts.toml")
        return [*map(str, files), "--out", str(self.out)]

    def collect(self, *more: object) -> int:
        return main(["collect", *self.arguments, *map(str, more)])

    @property
    def records(self) -> list[dict[str, Any]]:
        return list(read_journal(self.out / "responses.jsonl"))


@pytest.fixture
def case(tmp_path: Path) -> Any:
    with serving() as server:
        yield Case(tmp_path, server)


def test_a_run_and_the_same_again(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.pool({}, {"system": "Be brief.", "price_input": 1.0})
    assert case.collect() == 0
    assert sorted((r["query"], r["expert"], r["response"]) for r in case.records) == sorted(
        (f"What is {i}?", f"e{e}", f"m{e}: What is {i}?") for i in range(4) for e in range(2)
    )
    assert set(case.records[0]) == {
        "query_id", "query", "expert", "response", "usage", "cost", "seconds", "attempts",
    }  # fmt: skip
    out = capsys.readouterr().out
    assert (
        "e0: 4 answered, 0 failed, 0 not asked (4 calls, 12 tokens in, 16 out, cost 0.0000" in out
    )
    assert case.collect() == 0
    assert len(case.server.requests) == len(case.records) == 8
    assert "e1: 0 answered, 0 failed, 0 not asked (0 calls" in capsys.readouterr().out


def test_new_queries_and_new_experts_are_added(case: Case) -> None:
    assert case.collect() == 0
    case.ask(["What is 0?", "And this?", "And this?"])
    case.pool({}, {})
    assert case.collect() == 0
    assert len(case.server.requests) == 4 + 1 + 2
    pairs = [(r["query"], r["expert"]) for r in case.records]
    assert len(set(pairs)) == len(pairs) == 7


def test_failures_are_rows_that_are_asked_again_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = False

    def reply(request: dict[str, Any]) -> Canned | str:
        failing = request["messages"][-1]["content"] == "What is 2?" and not good
        return refusal(400, "no twos") if failing else echo(request)

    with serving(reply) as server:
        case = Case(tmp_path, server)
        assert case.collect() == 0
        assert "1 pairs of query and expert ended in an error; --retry-failed" in (
            capsys.readouterr().out
        )
        assert [r["error"] for r in case.records if "error" in r] == ["HTTP 400: no twos"]
        assert case.collect() == 0
        assert len(server.requests) == 4
        assert case.collect("--retry-failed") == 0
        assert len(server.requests) == 5
        good = True
        assert case.collect("--retry-failed") == 0
        assert case.collect("--retry-failed") == 0
        assert len(server.requests) == 6
        assert "ended in an error" not in capsys.readouterr().out.splitlines()[-1]
        assert [r["query"] for r in case.records if "response" in r].count("What is 2?") == 1


def test_a_dry_run_asks_and_writes_nothing(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.pool({"price_input": 4e6, "price_output": 1e6, "sampling": 10}, {"price_output": 1e6})
    assert case.collect("--dry-run") == 0
    out = capsys.readouterr().out
    # 4 prompts of 10 characters are about 10 tokens, each 4; 4 answers of at most 10 tokens, each 1
    assert "e0: 4 calls, about 10 tokens in, 40 out (max_tokens), cost 80.0000" in out
    assert "e1: 4 calls, about 10 tokens in, output unknown (no max_tokens), at least cost 0" in out
    assert "estimated cost: 80.0000, beside 0.0000 spent by earlier runs" in out
    assert not case.out.exists()
    assert case.server.requests == []


def test_the_budget_holds_over_runs(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.ask([f"p {i}" for i in range(50)])
    case.pool({"price_output": 1e6, "sampling": 10})  # an answer has 3 tokens
    assert case.collect("--max-cost", 40) == 0
    assert "stopped by --max-cost with 39 calls left" in capsys.readouterr().out
    assert case.collect("--max-cost", 40) == 0
    assert len(case.server.requests) == len(case.records) == 11
    assert case.collect("--max-cost", 50) == 0
    assert len(case.records) == 14
    assert "cost of all runs 42.0000" in capsys.readouterr().out
    assert case.collect() == 0
    assert len(case.server.requests) == len(case.records) == 50


@pytest.mark.parametrize(
    ("pool", "options", "message"),
    [
        ({"price_output": 1.0}, ["--max-cost", 1], "expert 'e0': no max_tokens"),
        ({}, ["--max-cost", 1], "no expert has a price, which --max-cost needs"),
        ({"price_input": 1.0}, ["--max-cost", 0], "--max-cost 0.0: expected a positive number"),
        ({"api_key_env": "NO_SUCH_KEY"}, [], "environment variable NO_SUCH_KEY is not set"),
        ({}, ["--column", "prompt"], "q.jsonl: no column 'prompt'; found 'query'"),
    ],
)
def test_what_is_refused(
    case: Case, capsys: pytest.CaptureFixture[str], pool: Any, options: list[object], message: str
) -> None:
    case.pool(pool)
    assert case.collect(*options) == 2
    assert message in capsys.readouterr().err
    assert case.server.requests == []


def test_changed_settings_are_refused_once_there_is_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = True
    with serving(lambda r: refusal(400, "bad option") if wrong else echo(r)) as server:
        case = Case(tmp_path, server)
        case.pool({"sampling": 5})
        assert case.collect() == 1
        wrong = False
        case.pool({"sampling": 6})  # nothing was answered yet
        assert case.collect("--retry-failed") == 0
        assert len(case.records) == 8
        case.pool({"sampling": 7})
        assert case.collect() == 2
        assert "expert 'e0' answered in" in capsys.readouterr().err
        case.pool({"sampling": 6, "concurrency": 2, "base_url": f"{server.url}/"})
        assert case.collect() == 0
    assert len(case.records) == 8


def test_another_text_under_an_id_is_refused(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    for text, code in (("a", 0), ("b", 2)):
        (case.folder / "q.csv").write_text(f"query_id,query\n1,{text}\n")
        assert case.collect("--queries", case.folder / "q.csv") == code
    assert "query_id '1' stands there for another query" in capsys.readouterr().err


def test_a_damaged_folder_is_refused(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.out.mkdir()
    for line in ('{"query_id": "1", "expert": "e0"}\n', "{\n"):
        (case.out / "responses.jsonl").write_text(line)
        assert case.collect() == 2
        assert "responses.jsonl" in capsys.readouterr().err
    (case.out / "responses.jsonl").unlink()
    (case.out / "experts.json").write_text("3")
    assert case.collect() == 2
    assert "experts.json: not the settings of a collection" in capsys.readouterr().err
    assert case.server.requests == []


def test_two_at_a_time_are_refused_and_ctrl_c_is_exit_code_130(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda request: said(echo(request), request, delay=1.0)) as server:
        case = Case(tmp_path, server, queries=50)
        case.pool({"concurrency": 3})
        command = [sys.executable, "-m", "zooter_lite.collect", *case.arguments]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        while len(server.requests) < 3:
            time.sleep(0.01)
        assert case.collect() == 2
        assert "another process writes to it" in capsys.readouterr().err
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "interrupted\n")
        assert len(case.records) == len(server.requests) == 3


def test_a_key_is_nowhere_but_in_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    replies: dict[str, Canned | str] = {
        "answer": f"Your key is {KEY}.",
        "refused": refusal(400, "x" * 480 + f" key {KEY} is not good"),
        "page": Canned("400 No", f"<p>Authorization: Bearer {KEY}</p>".encode()),
        "broken": Canned(body=f'{{"key": "{KEY}"'.encode()),
        "header": refusal(500, "x", f"x-echo: {KEY}\r\n"),
    }

    with serving(lambda r: replies[r["messages"][-1]["content"]]) as server:
        case = Case(tmp_path, server)
        case.ask(list(replies))
        case.pool({"api_key_env": "MY_KEY", "attempts": 2})
        assert case.collect() == 0
        assert all(f"Bearer {KEY}" in head for head in server.headers)
        replies |= dict.fromkeys(replies, refusal(401, f"Incorrect API key provided: {KEY}"))
        assert case.collect("--retry-failed") == 2
        assert case.collect("--dry-run") == 0
    captured = capfd.readouterr()
    assert "Incorrect API key provided: [hidden]" in captured.err
    texts = [captured.out, captured.err]
    texts += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) == 6  # queries, pool, journal and settings
    assert sum(text.count("[hidden]") for text in texts) >= 2
    for text in texts:
        assert "planted" not in text
        assert "qzx" not in text


def test_a_storm_of_kills_and_faults_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """The full size is recipes/bench/collect.sh; at most 6 of 200 calls can be lost by kills."""
    result = storm(tmp_path, experts=2, queries=100, concurrency=1, kills=3, faults=0.06, seed=1)
    assert (result.missing, result.repeated, result.wrong) == (0, 0, 0)
    assert result.kills == 3
    assert sum(result.faults.values()) > 5
    assert 1.0 <= result.ratio <= 1.03
