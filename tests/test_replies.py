"""Replies of other shapes than asked for: what is read, what is told, asked again, and paid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.llm_server import Canned, completion, refusal, serving
from tests.test_client import answer_to, body, failure, failure_of
from tests.test_collect import Case
from zooter_lite import score, tag
from zooter_lite.ask import calls
from zooter_lite.ask.pool import Expert
from zooter_lite.ask.texts import spoken
from zooter_lite.cli import run
from zooter_lite.errors import DataError

THINKS = {"type": "thinking", "thinking": [{"type": "text", "text": "red or blue?"}]}
SSE = "content-type: text/event-stream\r\n"
PRICES = {"price_input": 1.0, "price_output": 2.0, "sampling": 32, "attempts": 3}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "backoff", lambda attempt: 0.001)


def whole(content: Any, reason: str = "stop", **message: Any) -> dict[str, Any]:
    made = completion(content, {"model": "m", "messages": []})
    made["choices"][0]["finish_reason"] = reason
    made["choices"][0]["message"] |= message
    return made | {"usage": {"prompt_tokens": 11, "completion_tokens": 7}}


def events(*parts: str, end: str = "data: [DONE]\n\n", **more: Any) -> Canned:
    chunks = [{"choices": [{"delta": {"content": part}}]} for part in parts]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in (*chunks, *([more] if more else []))]
    return Canned(body=("".join(lines) + end).encode(), headers=SSE)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([THINKS, {"type": "text", "text": "blue"}], "blue"),
        ([{"type": "text", "text": "bl"}, {"type": "text", "text": "ue"}], "blue"),
        ([{"type": "output_text", "text": {"value": "blue"}}], "blue"),
        (["bl", "ue"], "blue"),
        ({"type": "text", "text": "blue"}, "blue"),
        ([{"type": "reasoning", "text": "red?"}, {"text": "blue"}], "blue"),
        ([{"type": "text", "text": "red?", "thought": True}, {"text": "blue"}], "blue"),
        ([{"type": "text", "text": None}, {"type": "text", "text": "blue"}], "blue"),
        ("", ""),
        ([], ""),
    ],
)
def test_content_in_parts_is_joined_without_the_thinking(content: Any, text: str) -> None:
    answer = answer_to(lambda _: body(**whole(content)))
    assert (answer.text, answer.usage, answer.cut) == (text, (11, 7), "")


@pytest.mark.parametrize(
    "canned",
    [
        events("bl", "ue"),
        events("bl", "ue", usage={"prompt_tokens": 1}, choices=[]),
        Canned(body=b": PROCESSING\n\n" + events("blue").body, headers=SSE),
        events("blue", end="", choices=[{"delta": {}, "finish_reason": "stop"}]),
        body(choices=[{"text": "blue", "finish_reason": "stop"}]),
        Canned(body=json.dumps([whole("blue")]).encode()),
        Canned(body=b"\xef\xbb\xbf" + json.dumps(whole("blue")).encode()),
        Canned(body=json.dumps(whole("blue")).encode(), headers="content-type: text/plain\r\n"),
        Canned(body=b"id: 1\n" + events("blue").body, headers=SSE),
        Canned(
            body=b'{"choices": [{"delta": {"content": "bl"}}]}\n'  # lines of JSON
            b'{"choices": [{"delta": {"content": "ue"}, "finish_reason": "stop"}]}\n'
        ),
    ],
)
def test_other_forms_of_a_completion_are_read(canned: Canned) -> None:
    assert answer_to(lambda _: canned).text == "blue"


def test_an_event_stream_that_breaks_off_may_have_cost() -> None:
    error = failure_of(lambda _: events("bl", end=""))
    assert "an event stream that breaks off" in str(error)
    assert "data: {" in str(error)  # how the reply begins
    assert (error.again, error.lost) == (True, True)


@pytest.mark.parametrize(
    ("content", "message", "flags"),  # again, fatal, of_query
    [
        ({"error": {"message": "Daily limit", "code": 429}}, "Daily limit", (True, False, False)),
        ({"error": {"message": "Upstream", "code": 502}}, "Upstream", (True, False, False)),
        ({"error": {"message": "x", "code": "502"}}, "x", (True, False, False)),
        ({"choices": None, "error": {"message": "P", "code": 500}}, "P", (True, False, False)),
        ({"error": "overloaded"}, "overloaded", (True, False, False)),
        ({"error": {"message": "No", "code": 400}}, "No", (False, False, True)),
        ({"error": {"message": "No", "code": "content_filter"}}, "No", (False, False, True)),
        ({"error": {"message": "No", "type": "insufficient_quota"}}, "No", (False, True, False)),
        ({"error": {"message": "No", "code": 401}}, "No", (False, True, False)),
        ({"error": {"message": "M", "type": "rate_limit_exceeded"}}, "M", (True, False, False)),
        ({"choices": [{"error": {"message": "E", "code": 502}}]}, "E", (True, False, False)),
        ({"object": "error", "message": "E", "code": 400}, "E", (False, False, True)),
        ({"message": "E", "code": 429}, "E", (True, False, False)),
        ({"detail": "E"}, "E", (True, False, False)),
        ({"errors": [{"message": "E", "code": 3040}]}, "E", (True, False, False)),
        ({"error": {"message": "E", "type": "invalid_request_error", "code":
                    "context_length_exceeded"}}, "E", (False, False, True)),
        ({"error": {"message": "E", "code": "data_inspection_failed"}}, "E", (False, False, True)),
        ({"error": {"message": "E", "code": 400, "metadata": {"raw": "upstream"}}}, "E: upstream",
         (False, False, True)),
        (
            {"choices": [], "prompt_filter_results": [
                {"content_filter_results": {"violence": {"filtered": True}, "hate": {}}}]},
            "no answer (content filter: violence)", (False, False, True),
        ),
    ],
)  # fmt: skip
def test_an_error_in_a_good_reply_is_the_servers_word(
    content: dict[str, Any], message: str, flags: tuple[bool, bool, bool]
) -> None:
    error = failure_of(lambda _: body(**content))
    assert (str(error), error.lost) == (message, False)
    assert (error.again, error.fatal, error.of_query) == flags


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (whole("", "length", reasoning_content="First"), "no text (length)"),
        (whole(None, "length"), "no text (length)"),
        (whole("<think>First I should", "length"), "no text (length)"),
        (whole(None, "tool_calls", tool_calls=[{}]), "no text (tool_calls)"),
        (whole("", "tool_calls", tool_calls=[{}]), "no text (tool_calls)"),
        (whole("", "content_filter"), "no text (content_filter)"),
        (whole("", "SAFETY"), "no text (SAFETY)"),
        (whole([{"type": "refusal", "refusal": "I will not."}]), "no text (I will not.)"),
        (whole(None, refusal="I will not."), "no text (I will not.)"),
        (whole([THINKS]), "no text (stop)"),
    ],
)
def test_an_answer_without_text_is_paid_as_the_server_counts(
    reply: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda _: body(**reply)) as server:
        case = Case(tmp_path, server, queries=1)
        case.pool(PRICES)
        assert case.collect() == 1
    (record,) = case.records
    assert record["error"] == message
    assert (record["attempts"], record["cost"]) == (1, pytest.approx(25e-6))
    assert f"error: expert 'e0' failed every query, 1 of 1 times with: {message}\n" in (
        capsys.readouterr().err
    )


def test_an_answer_that_the_server_gave_up_is_asked_again() -> None:
    error = failure_of(lambda _: body(**whole("The sky", "error")))
    assert str(error) == "the server gave the answer up (error)"
    assert (error.again, error.usage) == (True, (11, 7))


@pytest.mark.parametrize("reason", ["SAFETY", "MAX_TOKENS", "model_length", "sensitive"])
def test_any_reason_but_a_good_one_is_a_cut(reason: str) -> None:
    assert answer_to(lambda _: body(**whole("The sky", reason))).cut == reason


def test_answers_that_were_cut_are_marked_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(request: dict[str, Any]) -> Canned:
        last = request["messages"][-1]["content"].endswith("3?")
        return body(**whole("The sky is often", "length" if last else "stop"))

    with serving(reply) as server:
        case = Case(tmp_path, server)
        case.pool(PRICES, PRICES)
        assert case.collect() == 0
    assert [r["query"] for r in case.records if r.get("cut") == "length"] == ["What is 3?"] * 2
    assert "e0: 4 answered (1 cut short" in capsys.readouterr().out
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"query": f"What is {i}?", "answer": "sky"}) + "\n" for i in range(4))
    )
    argv = ["--responses", case.out, "--queries", tmp_path / "a.jsonl", "--scorer", "contains"]
    argv += ["--out", tmp_path / "t.csv"]
    assert run(score.Options, score.main, "score", "", list(map(str, argv))) == 0
    assert "0 failed, 2 cut short" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>Red? No.</think>\n\nblue", "blue"),
        ("Could it be red? No.</think>\nblue", "blue"),  # a template that opens it itself
        ("<think>a</think> b <think>c</think> blue", "blue"),
        ("<think>never ends", ""),
        ("<thinking>red</thinking>blue", "blue"),
        ("<reasoning>\nred\n</reasoning>\nblue", "blue"),
        ("[THINK]red[/THINK]blue", "blue"),
        ("◁think▷red◁/think▷blue", "blue"),
        ("<|channel|>analysis<|message|>red<|end|><|start|>assistant<|channel|>final<|message|>blue"
         "<|return|>", "blue"),
        ("<|channel|>final<|message|>blue<|return|>", "blue"),
        ("<|channel|>analysis<|message|>red<|end|><|start|>assistant<|channel|>final "
         "<|constrain|>json<|message|>{}", "{}"),
        ("analysisCould be red.assistantfinalblue", "blue"),
        ("red?</thinking>blue", "blue"),
        ("red?[/THINK]blue", "blue"),
        ("<Thinking>red</thinking>blue", "blue"),
        ("<seed:think>red</seed:think>blue", "blue"),
        ("<|begin_of_thought|>red<|end_of_thought|>\n<|begin_of_solution|>blue<|end_of_solution|>",
         "blue"),
        ("<|START_THINKING|>red<|END_THINKING|><|START_RESPONSE|>blue<|END_RESPONSE|>", "blue"),
        ("<think>red</think><answer>blue</answer>", "blue"),
        ("<think>red</think>\n<think>blue", ""),
        ("Sure.\n<thinking>red</thinking>\nblue", "blue"),
        ("Sure.\n<think>\nred", "Sure."),
        ("<think>red</think>blue<|im_end|>", "blue"),
        ("Use <thinking> as a tag.", "Use <thinking> as a tag."),
        ("The tag <analysis>x</analysis> holds x.", "The tag <analysis>x</analysis> holds x."),
        ("  blue\n", "  blue\n"),
    ],
)  # fmt: skip
def test_thinking_is_no_part_of_what_is_said(text: str, said: str) -> None:
    assert spoken(text) == said


RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
WRONG = "```python\ndef double(x):\n    return x + 1\n```"


@pytest.mark.parametrize(
    ("kind", "row", "responses"),
    [
        ("exact", {"answer": "blue"}, {
            "<think>Red? No.</think>\n\nblue": 1, "<think>blue</think>red": 0,
            r"It is \boxed{blue}.": 1, r"It is \boxed{\text{Blue}}": 1, r"\boxed{red}": 0,
        }),
        ("contains", {"answer": "blue"}, {"<think>blue, or red?</think>\nred": 0, "blue!": 1}),
        ("numeric", {"answer": "12"}, {"<think>13?</think>It is 12.": 1, "<think>12": 0}),
        ("regex", {"pattern": "^blue$"}, {"<think>red</think>\nblue": 1, "<think>\nblue": 0}),
        ("json-schema", {"schema": {"type": "object", "required": ["colour"]}}, {
            '<think>An object.</think>\n{"colour": "blue"}': 1,
            '```json\n{}\n```\nNo:\n```json\n{"colour": "blue"}\n```': 1,
            '```json\n{"colour": "blue"}\n```\nNo:\n```json\n{}\n```': 0,
        }),
        ("python-tests", {"tests": ["assert double(4) == 8"]}, {
            f"<think>Draft:\n{WRONG}\nNo.</think>\n{RIGHT}": 1,
            f"{WRONG}\nThat is wrong; better:\n{RIGHT}": 1, f"{RIGHT}\nOr:\n{WRONG}": 0,
        }),
    ],
)  # fmt: skip
def test_thinking_is_not_scored(
    kind: str, row: dict[str, Any], responses: dict[str, int], tmp_path: Path
) -> None:
    texts = list(responses)
    records = [
        {"query_id": str(n), "query": f"q{n}", "expert": expert, "response": text}
        for n, text in enumerate(texts)
        for expert in "ab"
    ]
    lines = [json.dumps(record) + "\n" for record in records]
    (tmp_path / "responses.jsonl").write_text("".join(lines))
    rows = [{"query_id": str(n), "query": f"q{n}", **row} for n in range(len(texts))]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    argv = ["--responses", tmp_path, "--queries", tmp_path / "q.jsonl", "--scorer", kind]
    argv += ["--out", tmp_path / "t.jsonl"]
    assert run(score.Options, score.main, "score", "", list(map(str, argv))) == 0
    table = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert {texts[int(r["query_id"])]: r["reward:a"] for r in table} == responses


@pytest.mark.parametrize(
    "reply",
    [
        whole('<think>Perhaps [maybe "art"].</think>\n\n[{"tag": "colour naming"}]'),
        whole('[{"tag": "col', "length"),
    ],
)
def test_a_tagger_that_thinks_or_is_cut_is_asked_once(
    reply: dict[str, Any], tmp_path: Path
) -> None:
    with serving(lambda _: body(**reply)) as server:
        case = Case(tmp_path, server)
        argv = ["--queries", case.folder / "q.jsonl", "--tagger", case.folder / "experts.toml"]
        argv += ["--out", tmp_path / "tagged.jsonl", "--min-support", 1]
        assert run(tag.Options, tag.main, "tag", "", list(map(str, argv))) == 0
        assert len(server.requests) == 4


def test_query_and_headers_are_sent_and_their_keys_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_KEY", "qzx-planted-secret")
    with serving(lambda _: refusal(429, "key qzx-planted-secret is slow")) as server:
        expert = Expert(
            "e", server.url, "m",
            query={"api-version": "2024-06-01"}, headers={"api-key": "${AZURE_KEY}"},
        )  # fmt: skip
        error = failure(expert)
        assert "POST /v1/chat/completions?api-version=2024-06-01 " in server.headers[0]
        assert "api-key: qzx-planted-secret" in server.headers[0].lower()
    assert str(error) == "HTTP 429: key [hidden] is slow"


def test_a_wrong_address_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: refusal(404, "page not found")) as server:
        bare = server.url.removesuffix("/v1")
        error = str(failure(Expert("e", bare, "m")))
        assert error == (
            f"HTTP 404 for {bare}/chat/completions (base_url usually ends with /v1): page not found"
        )
        error = str(failure(Expert("e", server.url, "m")))
        assert error == f"HTTP 404 for {server.url}/chat/completions: page not found"
        gone = server.url
    error = str(failure(Expert("e", gone, "m")))
    assert f"at {gone}/chat/completions" in error
    assert "proxy" not in error
    with serving(
        lambda _: Canned(body=b"<html>Sign in", headers="content-type: text/html\r\n")
    ) as s:
        error = str(failure(Expert("e", s.url, "m")))
        assert f"a web page, which cannot be read as a reply for {s.url}/chat/" in error
    monkeypatch.setenv("ALL_PROXY", "foo://127.0.0.1:1")
    with pytest.raises(DataError, match="through the proxy that ALL_PROXY names"):
        failure(Expert("e", gone, "m"))
    monkeypatch.delenv("ALL_PROXY")
    monkeypatch.setenv("HTTP_PROXY", gone.removesuffix("/v1"))
    error = str(failure(Expert("e", "http://llm.invalid/v1", "m")))
    assert "(through the proxy that HTTP_PROXY names" in error
    monkeypatch.setenv("NO_PROXY", "llm.invalid")
    assert "proxy" not in str(failure(Expert("e", "http://llm.invalid/v1", "m")))
