"""Many calls: repeated where it helps, paced, bounded, paid once, ended cleanly."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.llm_prompts import prompt_of
from tests.llm_server import Canned, Server, completion, echo, refusal, said, serving
from zooter_lite.ask import calls as module
from zooter_lite.ask.asking import Replies, ask_all
from zooter_lite.ask.calls import GIVE_UP_AFTER, Call, ExpertError, Tally, backoff, run_calls
from zooter_lite.ask.known import Known
from zooter_lite.ask.pool import Expert
from zooter_lite.errors import DataError
from zooter_lite.files.journal import Journal, read_journal

MILLION = 1e6  # a price in the pool file is of a million tokens


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "backoff", lambda attempt: 0.001 * attempt)


class Nth:
    """Replies to the first, second, ... request for each prompt; then the echo."""

    def __init__(self, *replies: Canned | str) -> None:
        self.replies = replies
        self.asked: Counter[str] = Counter()

    def __call__(self, request: dict[str, Any]) -> Canned | str:
        prompt = prompt_of(request)
        self.asked[prompt] += 1
        place = self.asked[prompt] - 1
        return self.replies[place] if place < len(self.replies) else echo(request)


def ask(
    path: Path, prompts: list[str], *experts: Expert, **options: Any
) -> tuple[dict[str, Tally], list[dict[str, Any]]]:
    def made_for(name: str) -> Iterator[Call]:
        return (Call({"q": prompt, "e": name}, prompt) for prompt in prompts)

    with Journal(path) as journal:
        known = Known(path, "call", lambda record: (record["q"], record["e"]), len)
        made = {expert.name: made_for(expert.name) for expert in experts}
        tallies = run_calls(made, experts, journal, known, **options)
    return tallies, list(read_journal(path))


def expert_of(server: Server, name: str = "e", **fields: Any) -> Expert:
    return Expert(name, server.url, "m", **fields)


@pytest.mark.parametrize(
    "fault",
    [
        refusal(500, "x"), refusal(429, "x", "retry-after: 0.005\r\n"), Canned(sent=-1),
        Canned(body=b'{"a"'), Canned(delay=5), Canned(body=b'{"a": 1}', sent=0.5),
        Canned(body=b"<html></html>", headers="content-type: text/html\r\n"),
    ],
)  # fmt: skip
def test_what_may_pass_is_asked_again(tmp_path: Path, fault: Canned) -> None:
    with serving(Nth(fault, fault)) as server:
        expert = expert_of(server, timeout=0.3, price_output=1, sampling={"max_tokens": 1000})
        tallies, (record,) = ask(tmp_path / "j", ["hi"], expert)
    assert record["response"] == "m: hi"
    assert record["attempts"] == tallies["e"].attempts == len(server.requests) == 3
    lost = 0 if fault.kind in ("429", "500") else 2  # a lost reply counts as the most it can cost
    assert record["cost"] == pytest.approx((2 + lost * 1000) / 1e6)


@pytest.mark.parametrize(("status", "attempts"), [(400, 1), (500, 3)])
def test_an_error_that_stays_is_kept_as_a_row(tmp_path: Path, status: int, attempts: int) -> None:
    bad = refusal(status, "too long")
    with serving(lambda r: bad if "9" in prompt_of(r) else echo(r)) as server:
        expert = expert_of(server, attempts=3)
        tallies, records = ask(tmp_path / "j", [str(i) for i in range(10)], expert)
    errors = {r["q"]: (r["error"], r["attempts"]) for r in records if "error" in r}
    assert errors == {"9": (f"HTTP {status}: too long", attempts)}
    assert len(server.requests) == 9 + attempts
    assert (tallies["e"].answered, tallies["e"].failed) == (9, 1)
    assert all(("response" in r) != ("error" in r) for r in records)


def test_a_refused_key_ends_the_run_and_keeps_calls_on_their_way(tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> Canned | str:
        if request["model"] == "m":
            return refusal(401, "no such key")
        return said(echo(request), request, delay=0.3)

    prompts = [str(i) for i in range(100)]
    with serving(reply) as server:
        slow = Expert("slow", server.url, "other", concurrency=4)
        with pytest.raises(ExpertError, match="expert 'e': HTTP 401: no such key; every"):
            ask(tmp_path / "j", prompts, expert_of(server, concurrency=1), slow)
    records = list(read_journal(tmp_path / "j"))
    assert [(r["e"], "response" in r) for r in records] == [("slow", True)] * 4
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("reply", "parse"), [(refusal(403, "region"), None), (Canned(delay=9), None), ("no", int)]
)
def test_an_expert_that_never_answers_is_given_up(
    tmp_path: Path, reply: Canned | str, parse: Any
) -> None:
    with serving(lambda _: reply) as server:
        expert = expert_of(server, attempts=2, concurrency=2, timeout=0.1)
        with pytest.raises(ExpertError, match=rf"{GIVE_UP_AFTER} queries in a row failed; "):
            ask(tmp_path / "j", [str(i) for i in range(1000)], expert, parse=parse)
    records = list(read_journal(tmp_path / "j"))
    assert GIVE_UP_AFTER <= len(records) <= GIVE_UP_AFTER + 1
    assert all("error" in record for record in records)


def test_one_answer_in_between_and_refused_queries_give_nothing_up(tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> Canned | str:
        number = int(prompt_of(request))
        if number < 30:
            return refusal(400, "this query")
        return echo(request) if number % 8 == 0 else refusal(500, "down")

    with serving(reply) as server:
        expert = expert_of(server, attempts=1, concurrency=1)
        tallies, _ = ask(tmp_path / "j", [str(i) for i in range(100)], expert)
    assert (tallies["e"].answered, tallies["e"].failed) == (9, 91)


def test_a_wait_that_nobody_sits_out_ends_the_run(tmp_path: Path) -> None:
    tomorrow = refusal(429, "daily limit", "retry-after: 86400\r\n")
    with serving(lambda _: tomorrow) as server:
        with pytest.raises(ExpertError, match="it asks to wait 86400 s; HTTP 429: daily limit"):
            ask(tmp_path / "j", ["a"], expert_of(server))
        assert list(read_journal(tmp_path / "j")) == []


def test_retry_after_holds_back_all_calls_of_the_expert(tmp_path: Path) -> None:
    times: list[float] = []

    def reply(request: dict[str, Any]) -> Canned | str:
        times.append(time.monotonic())
        return refusal(429, "x", "retry-after: 0.4\r\n") if len(times) == 1 else echo(request)

    with serving(reply) as server:
        ask(tmp_path / "j", ["a", "b", "c"], expert_of(server, concurrency=1))
    assert len(times) == 4
    assert times[1] - times[0] >= 0.4


def test_the_rate_limit_and_the_concurrency_are_bounds(tmp_path: Path) -> None:
    times: list[float] = []

    def reply(request: dict[str, Any]) -> Canned | str:
        idle = 0.02
        if request["model"] == "m":
            times.append(time.monotonic())
            idle = 0.3 if len(times) == 1 else 0.0  # which is not saved up for a burst
        return said(echo(request), request, delay=idle)

    prompts = [str(i) for i in range(12)]
    with serving(reply) as server:
        paced = expert_of(server, "paced", requests_per_minute=1200, concurrency=1)
        wide = Expert("wide", server.url, "wide", concurrency=3)
        ask(tmp_path / "j", prompts, paced, wide)
    assert times[-1] - times[1] >= 0.95 * 10 * 0.05
    assert server.most_at_a_time["wide"] == 3


def test_many_calls_at_a_time_are_no_fewer(tmp_path: Path) -> None:
    with serving(lambda request: said("x", request, delay=1.0)) as server:
        ask(tmp_path / "j", [str(i) for i in range(120)], expert_of(server, concurrency=120))
    assert server.most_at_a_time["m"] == 120


def test_backoff_doubles_up_to_a_limit() -> None:
    for attempt, longest in ((1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (1000, 30.0)):
        waits = [backoff(attempt) for _ in range(50)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
        assert len(set(waits)) > 1


def priced(server: Server, **fields: Any) -> Expert:
    """Cost 1 for each token out, at most 10 in an answer."""
    return expert_of(server, price_output=MILLION, sampling={"max_tokens": 10}, **fields)


def test_answers_without_usage_and_lost_replies_count_as_the_most(tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> Canned:
        lost = prompt_of(request) == "lost"
        return Canned(body=b"{") if lost else said("x", request, usage=None)

    with serving(reply) as server:
        one = priced(server, concurrency=1, attempts=1)
        _, records = ask(tmp_path / "j", ["a", "lost", "b", "c"], one, max_cost=35.0)
        dear = expert_of(server, price_input=MILLION, system="Hi.")
        _, (record,) = ask(tmp_path / "k", ["a"], dear)
    assert [(r["q"], r["cost"]) for r in records] == [("a", 10.0), ("lost", 10.0), ("b", 10.0)]
    assert record["cost"] == 4 + 64  # a byte is a token, and a chat template some more


def test_a_budget_waits_for_what_open_calls_come_to(tmp_path: Path) -> None:
    with serving(lambda request: said("x", request, delay=0.05)) as server:
        _, records = ask(tmp_path / "j", [*"abcdef"], priced(server), max_cost=15.0)
    assert len(records) == len(server.requests) == 6
    assert server.most_at_a_time["m"] == 1  # two might cost 20


def test_a_budget_that_ends_between_attempts_keeps_what_they_cost(tmp_path: Path) -> None:
    with serving(lambda _: Canned(body=b"{")) as server:
        tallies, (record,) = ask(tmp_path / "j", ["a"], priced(server), max_cost=25.0)
    assert (record["unfinished"], record["cost"], record["attempts"]) == (True, 20.0, 2)
    assert record["error"].startswith("the run ended; a reply that cannot be read")
    assert tallies["e"].failed == 0


def test_answers_that_cannot_be_parsed_are_asked_again_and_paid(tmp_path: Path) -> None:
    with serving(Nth("no number", "7")) as server:
        _, (record,) = ask(tmp_path / "j", ["a"], priced(server), parse=int)
    assert (record["response"], record["parsed"], record["attempts"]) == ("7", 7, 2)
    assert record["cost"] == pytest.approx(3)
    assert record["usage"] == {"input": 2, "output": 3}
    with serving(lambda _: "never") as server:
        _, (record,) = ask(tmp_path / "k", ["a"], expert_of(server, attempts=2), parse=int)
    assert "the answer was 'never'" in record["error"]
    cut = completion("7, 8", {"model": "m", "messages": []})
    cut["choices"][0]["finish_reason"] = "length"  # as the next one would be
    with serving(lambda _: Canned(body=json.dumps(cut).encode())) as server:
        _, (record,) = ask(tmp_path / "l", ["a"], expert_of(server), parse=int)
    assert (record["attempts"], "(length)" in record["error"]) == (1, True)


def test_a_journal_that_cannot_be_written_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Journal, record: object) -> None:
        raise DataError("j: cannot write (No space left on device)")

    monkeypatch.setattr(Journal, "append", full)
    with serving() as server, pytest.raises(DataError, match="No space left"):
        ask(tmp_path / "j", [str(i) for i in range(100)], expert_of(server, concurrency=2))
    assert len(server.requests) <= 4


def test_ctrl_c_does_not_sit_out_a_pause(tmp_path: Path) -> None:
    later = refusal(429, "later", "retry-after: 500\r\n")
    with serving(lambda _: later) as server:

        def interrupt() -> None:
            while not server.requests:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            ask(tmp_path / "j", ["a", "b"], expert_of(server))
        thread.join()
    assert list(read_journal(tmp_path / "j")) == []  # an unfinished query has no row


def question(prompts: list[str], url: str, path: Path, **options: Any) -> Replies:
    """Ask for the lengths of prompts."""
    expert = Expert("judge", url, "m", attempts=2, concurrency=2, **options.pop("expert", {}))
    calls = [Call({"n": place}, prompt) for place, prompt in enumerate(prompts)]
    return ask_all(lambda: calls, expert, path, int, **options)


def length(request: dict[str, Any]) -> str:
    return str(len(prompt_of(request)))


def test_equal_questions_are_asked_once_and_all_are_answered(tmp_path: Path) -> None:
    done: list[float] = []
    with serving(length) as server:
        replies = question(["a", "bbb", "a"], server.url, tmp_path / "j", progress=done.append)
    assert replies.parsed == [1, 3, 1]
    assert sum(done) == 3
    assert sorted(map(prompt_of, server.requests)) == ["a", "bbb"]
    assert sorted(record["n"] for record in read_journal(tmp_path / "j")) == [0, 1]


def test_another_setting_is_another_question(tmp_path: Path) -> None:
    with serving(length) as server:
        for settings, asked in (({}, 1), ({"system": "be brief"}, 2), ({}, 2)):
            question(["a"], server.url, tmp_path / "j", expert=settings)
            assert len(server.requests) == asked


def test_a_call_that_the_end_of_a_run_cut_short_is_asked_again(tmp_path: Path) -> None:
    with serving(length) as server:
        question(["a"], server.url, tmp_path / "j")
        (record,) = read_journal(tmp_path / "j")
        cut = {"question": record["question"], "error": "the run ended", "unfinished": True}
        (tmp_path / "j").write_text(json.dumps(cut | {"cost": 0.5}) + "\n")
        replies = question(["a"], server.url, tmp_path / "j")
    assert replies.parsed == [1]
    assert "(of all runs 0.5000), 0 queries without a readable answer" in replies.note
