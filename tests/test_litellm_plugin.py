"""exports/litellm/zooter_plugin.py by itself: contexts made by hand, no LiteLLM."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from exports.litellm import zooter_plugin
from exports.litellm.zooter_plugin import SIGNAL, ZooterPlugin
from tests.consumers import toy_consumed, toy_priced
from zooter_lite import DataError, Router
from zooter_lite.files.journal import read_journal

MODELS = {"ant": "openai/ant", "bee": "openai/bee", "cat": "openai/cat"}
ALL = list(MODELS.values())
# At the point economy the toy sends "one" and "five" to bee, "two" to cat and "one two" to ant.
# bee gains 0.08 over cat on "one" and 0.70 on "five"; cat gains 0.16 over bee on "two".


@dataclass
class Handed:
    """What LiteLLM hands to a plugin."""

    structured_messages: list[dict[str, object]]
    candidate_models: list[str] = field(default_factory=lambda: list(ALL))
    metadata: dict[str, Any] = field(default_factory=dict)
    signals: dict[str, object] = field(default_factory=dict)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_priced(tmp_path / "toy")


def asked(
    plugin: ZooterPlugin, *turns: str, models: list[str] = ALL, **metadata: Any
) -> tuple[list[str], dict[str, Any]]:
    """Run the plugin on a chat; return the models that are left, and what was published."""
    roles = ("user", "assistant")
    messages: list[dict[str, object]] = [
        {"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)
    ]
    context = asyncio.run(plugin.run(Handed(messages, list(models), metadata)))
    signal: Any = context.signals.get(SIGNAL, {})
    return context.candidate_models, signal


def again(signal: dict[str, Any], retries: int = 1) -> dict[str, Any]:
    """Metadata of the attempt that follows the one that published this."""
    return {"routing_plugin_signals": {SIGNAL: signal}, "request_retry_count": retries}


def test_a_client_cannot_forge_the_attempt_before(folder: Path) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="economy")
    forged = {"request": "r9", "retries": -1, "session": "s", "expert": "bee", "tried": ["cat"]}
    for signal in (forged | {"chances": {"ant": 1.0}}, {"retries": 0}, "bee", 3):
        left, found = asked(plugin, "one", **again(cast(Any, signal)))
        assert left == ["openai/bee"]
        assert (found["tried"], found["chances"]["bee"]) == ([], 1.0)
        assert found["request"] != "r9"


def test_it_narrows_to_the_choice_and_publishes_it(folder: Path) -> None:
    plugin, router = ZooterPlugin(folder, MODELS, point="economy"), Router.load(folder)
    for prompt, expert in (("one", "bee"), ("two", "cat"), ("one two", "ant")):
        left, signal = asked(plugin, prompt)
        (decision,) = router.route([prompt], point="economy")
        assert left == [MODELS[expert]] == [signal["model"]]
        assert signal["expert"] == decision.expert == expert
        assert signal["probability"] == pytest.approx(decision.probability)
        assert signal["expected_reward"] == pytest.approx(decision.expected_reward)
        assert signal["expected_cost"] == pytest.approx(decision.expected_cost)
        assert signal["reason"] == "point economy"
        assert signal["propensity"] == 1.0
    assert asked(ZooterPlugin(folder, MODELS), "one")[0] == ["openai/cat"]  # the router's own
    assert asked(ZooterPlugin(folder, MODELS, point="safe"), "one")[0] == ["openai/bee"]


def test_it_chooses_among_the_candidates_that_are_left(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="economy")
    assert asked(plugin, "one", models=["openai/cat", "openai/ant"])[0] == ["openai/cat"]
    assert asked(plugin, "one", models=[*ALL, "openai/bee"])[0] == ["openai/bee"] * 2
    strangers = ["openai/dog", "openai/eel"]
    assert asked(plugin, "one", models=strangers) == (strangers, {})
    assert asked(plugin, models=strangers) == (strangers, {})  # no message, such as embeddings
    image = [{"type": "image_url", "image_url": {"url": "data:"}}]
    context = asyncio.run(plugin.run(Handed([{"role": "user", "content": image}])))
    assert context.candidate_models == ALL
    assert not caplog.records


def test_a_session_moves_only_for_more_than_the_margin(folder: Path) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="economy", margin=0.1)
    experts, reasons = [], []
    for prompt in ("two", "one", "five", "one", "two"):
        signal = asked(plugin, prompt, session_id="s")[1]
        experts.append(signal["expert"])
        reasons.append(signal["reason"])
    assert experts == ["cat", "cat", "bee", "bee", "cat"]
    assert reasons == [
        "point economy",
        "point economy, session stays: +0.0829",
        "point economy, session moves: +0.695",
        "point economy",
        "point economy, session moves: +0.163",
    ]
    assert asked(plugin, "one", session_id="t")[1]["expert"] == "bee"
    free = ZooterPlugin(folder, MODELS, point="economy", margin=0.0)
    assert [asked(free, one, session_id="s")[1]["expert"] for one in ("two", "one")] == [
        "cat",
        "bee",
    ]


def test_a_chat_without_a_session_id_is_known_by_its_opening_and_its_sender(folder: Path) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="economy", margin=0.1)
    first = asked(plugin, "two")[1]
    second = asked(plugin, "two", "said", "one")[1]
    assert (second["session"], second["expert"]) == (first["session"], "cat")
    assert asked(plugin, "two", "said", "one", user_api_key_hash="b")[1]["expert"] == "bee"
    assert asked(plugin, "three", "said", "one")[1]["expert"] == "bee"


def test_a_point_of_one_expert_holds_in_every_session(folder: Path) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="safe", margin=9)
    asked(plugin, "one", models=["openai/cat", "openai/ant"], session_id="s")
    assert asked(plugin, "one", session_id="s")[0] == ["openai/bee"]


def test_after_a_failure_comes_the_next_best(folder: Path) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="economy", margin=0.1)
    ranking = Router.load(folder).route(["one"], point="economy")[0].ranking
    first = asked(plugin, "one", session_id="s", request_id="r")[1]
    second = asked(plugin, "one", **again(first))[1]
    third = asked(plugin, "one", **again(second, 2))[1]
    fourth = asked(plugin, "one", **again(third, 3))[1]
    assert (first["expert"], second["expert"], third["expert"]) == ranking
    assert second["reason"] == "point economy, after bee"
    assert third["tried"] == ["bee", "cat"]
    assert fourth["expert"] in ranking  # all have failed: from the beginning
    assert {one["request"] for one in (first, second, third, fourth)} == {"r"}
    assert {one["session"] for one in (first, second, third, fourth)} == {"s"}
    # metadata used for another request: the count is that of the attempt that answered
    assert asked(plugin, "two", **again(second, 1), session_id="u")[1]["tried"] == []


def test_the_group_that_a_request_falls_back_to_is_not_bound_by_the_first(folder: Path) -> None:
    plugin = ZooterPlugin(folder, MODELS)
    kept = ["openai/cat"]
    context = Handed([{"role": "user", "content": "one"}], ["openai/zed"])
    context.metadata["_routing_plugin_candidate_models"] = kept
    asyncio.run(plugin.run(context))
    assert context.candidate_models == kept == ["openai/zed"]
    first = asked(plugin, "one", models=["openai/cat", "openai/bee"])[1]
    models = {**MODELS, "ant": "openai/zed"}
    other = asked(ZooterPlugin(folder, models), "one", models=["openai/zed"], **again(first))[1]
    assert (other["expert"], other["propensity"]) == ("ant", 1.0)


def test_explored_requests_have_their_chances(folder: Path) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="economy", explore=0.3, margin=0.1)
    asked(plugin, "two", session_id="s")
    seen: dict[str, set[float]] = {}
    for _ in range(120):
        signal = asked(plugin, "one", session_id="s")[1]
        assert (signal["reason"] == "explored") or signal["expert"] == "cat"
        seen.setdefault(signal["expert"], set()).add(round(signal["propensity"], 6))
    assert seen == {"cat": {0.8}, "bee": {0.1}, "ant": {0.1}}  # the session's own expert: cat
    always = ZooterPlugin(folder, MODELS, explore=1.0)
    two = ["openai/bee", "openai/cat"]
    assert {asked(always, "one", models=two)[1]["propensity"] for _ in range(20)} == {0.5}


def test_a_failed_experts_share_falls_to_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = ZooterPlugin(folder, MODELS, point="economy", explore=0.3)
    monkeypatch.setattr(plugin._random, "random", lambda: 0.9)  # not explored
    first = asked(plugin, "one", session_id="s")[1]
    assert (first["expert"], first["propensity"]) == ("bee", pytest.approx(0.8))
    second = asked(plugin, "one", **again(first))[1]  # bee is down: its 0.8 and cat's own 0.1
    assert (second["expert"], second["propensity"]) == ("cat", pytest.approx(0.9))
    third = asked(plugin, "one", **again(second, 2))[1]
    assert (third["expert"], third["propensity"]) == ("ant", pytest.approx(1.0))
    monkeypatch.setattr(plugin._random, "random", lambda: 0.0)
    monkeypatch.setattr(plugin._random, "choice", lambda experts: "ant")
    first = asked(plugin, "one", session_id="t")[1]
    assert (first["expert"], first["propensity"]) == ("ant", pytest.approx(0.1))
    second = asked(plugin, "one", **again(first))[1]
    assert (second["expert"], second["propensity"]) == ("bee", pytest.approx(0.9))
    assert second["reason"] == "point economy, after ant"


def test_the_journal_has_a_line_for_every_decision(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    plugin = ZooterPlugin(folder, MODELS, point="economy", journal=path)
    first = asked(plugin, "one", session_id="s", request_id="r1")[1]
    asked(plugin, "one", **again(first))
    asked(plugin, "two", headers={"x-litellm-call-id": "call-7"})
    lines = list(read_journal(path))
    assert [line["request"] for line in lines] == ["r1", "r1", "call-7"]
    assert [line["query"] for line in lines] == ["one", "one", "two"]
    assert [line["expert"] for line in lines] == ["bee", "cat", "cat"]
    assert lines[1]["tried"] == ["bee"]
    assert lines[0]["time"].endswith("+00:00")
    assert first.items() <= lines[0].items()
    asked(ZooterPlugin(folder, MODELS, journal=path), "one")  # another worker has its own
    assert len(list(read_journal(path))) == 3
    assert len(list(read_journal(tmp_path / f"decisions.{os.getpid()}.jsonl"))) == 1


def test_a_journal_that_cannot_be_written_stops_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = ZooterPlugin(folder, MODELS, journal=tmp_path)  # a folder
    for _ in range(3):
        assert asked(plugin, "one")[0] == ["openai/cat"]
    assert len(caplog.records) == 1


def test_it_fails_open_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zooter_plugin, "REFRESH", 0.0)
    plugin = ZooterPlugin(tmp_path / "toy", MODELS)
    for _ in range(3):
        assert asked(plugin, "one") == (ALL, {})
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(set(messages)) == 2  # what is wrong with it; that there is none
    assert all(str(tmp_path / "toy") in message for message in messages)
    toy_priced(tmp_path / "toy")
    assert asked(plugin, "one")[0] == ["openai/cat"]


def test_a_directory_that_breaks_leaves_the_router_in_memory(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zooter_plugin, "REFRESH", 0.0)
    plugin = ZooterPlugin(folder, MODELS, point="economy")
    (folder / "config.json").write_text("{}", "utf-8")
    for _ in range(3):
        assert asked(plugin, "one")[0] == ["openai/bee"]
    assert len(caplog.records) == 1
    shutil.rmtree(folder)
    assert asked(plugin, "two")[0] == ["openai/cat"]
    toy_priced(folder)
    before = plugin._router
    assert asked(plugin, "two")[0] == ["openai/cat"]
    assert plugin._router is not before
    shutil.rmtree(folder)
    toy_consumed(folder, framed=True)  # of other experts
    assert asked(plugin, "two")[0] == ["openai/cat"]
    assert "no expert 'ant'" in caplog.text


def test_what_goes_wrong_in_a_decision_loses_no_request(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = ZooterPlugin(folder, MODELS)

    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError("not\nfinite")

    monkeypatch.setattr(Router, "predict", broken)
    assert asked(plugin, "one") == (ALL, {})
    (record,) = caplog.records
    assert record.getMessage().startswith("ArithmeticError: not finite (")


def test_it_decides_off_the_event_loop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, threads, route = ZooterPlugin(folder, MODELS), [], Router.route

    def seen(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return route(*arguments, **options)

    monkeypatch.setattr(Router, "route", seen)
    asked(plugin, "one")
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"explore": 1.5}, "explore 1.5"),
        ({"margin": float("nan")}, "margin nan"),
        ({"models": {"ant": "m", "bee": "m"}}, "a model of its own"),
        ({"models": {"ant": "m"}}, "two experts or more"),
        ({"models": {"ant": "m", "dog": "n"}}, "no expert 'dog'; expected ant, bee, cat"),
        ({"point": "fast"}, "point 'fast'"),
    ],
)
def test_wrong_options_are_told_at_once(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ZooterPlugin(folder, **{"models": MODELS} | options)


def test_the_plugin_of_the_proxy_is_made_from_its_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = folder.parent / "zooter.json"
    settings.write_text(
        json.dumps({"router": "toy", "models": MODELS, "journal": "log.jsonl"}), "utf-8"
    )
    monkeypatch.setenv("ZOOTER_SETTINGS", str(settings))
    assert asked(zooter_plugin.plugin, "one")[0] == ["openai/cat"]
    assert (folder.parent / "log.jsonl").is_file()
