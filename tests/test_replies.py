"""Replies of other shapes than asked for: what is read, what is told, asked again, and paid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Call
from tests.helpers import write_lines
from tests.llm_server import Canned, completion, serving
from tests.test_collect import Case
from zooter_lite.ask.reply import CallError, answer_of
from zooter_lite.ask.texts import spoken

THINKS = {"type": "thinking", "thinking": [{"type": "text", "text": "red or blue?"}]}
PRICES = {"price_input": 1.0, "price_output": 2.0, "sampling": 32, "attempts": 3}


def whole(content: Any, reason: str = "stop", **message: Any) -> dict[str, Any]:
    made = completion(content, {"model": "m", "messages": []})
    made["choices"][0]["finish_reason"] = reason
    made["choices"][0]["message"] |= message
    return made | {"usage": {"prompt_tokens": 11, "completion_tokens": 7}}


def events(*parts: str, end: str = "data: [DONE]\n\n", **more: Any) -> str:
    chunks = [{"choices": [{"delta": {"content": part}}]} for part in parts]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in (*chunks, *([more] if more else []))]
    return "".join(lines) + end


def failure(body: str) -> CallError:
    with pytest.raises(CallError) as caught:
        answer_of(body)
    return caught.value


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([THINKS, {"type": "text", "text": "blue"}], "blue"),
        ([{"type": "output_text", "text": "bl"}, {"text": "ue"}], "blue"),
        (["bl", "ue"], "blue"),
        ([{"type": "reasoning", "text": "red?"}, {"text": "blue"}], "blue"),
        ([{"type": "text", "text": "red?", "thought": True}, {"text": "blue"}], "blue"),
        ([{"type": "text", "text": None}, {"type": "text", "text": "blue"}], "blue"),
        ("", ""),
        ([], ""),
    ],
)
def test_content_in_parts_is_joined_without_the_thinking(content: Any, text: str) -> None:
    answer = answer_of(json.dumps(whole(content)))
    assert (answer.text, answer.usage, answer.cut) == (text, (11, 7), "")


@pytest.mark.parametrize(
    "body",
    [
        events("bl", "ue"),
        events("bl", "ue", usage={"prompt_tokens": 1}, choices=[]),
        ": PROCESSING\n\n" + events("blue"),
        "id: 1\n" + events("blue"),
        events("blue", end="", choices=[{"delta": {}, "finish_reason": "stop"}]),
    ],
)
def test_an_event_stream_is_read(body: str) -> None:
    assert answer_of(body).text == "blue"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7}, (5, 7)),
        ({"prompt_tokens": 5}, (5, 0)),
        (None, None),
        ({"prompt_tokens": "5", "completion_tokens": 7}, None),
        ({"prompt_tokens": -1, "completion_tokens": 10**40}, None),
    ],
)
def test_odd_usage_does_not_cost_the_answer(
    usage: object, expected: tuple[int, int] | None
) -> None:
    answer = answer_of(json.dumps(whole("ok") | {"usage": usage}))
    assert (answer.text, answer.usage) == ("ok", expected)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (events("bl", end=""), "an event stream that breaks off"),
        ("[" * 100_000, "RecursionError"),
        ("{}", "ValueError: no choices): {}"),
        ('{"choices": [{"message": {"content": [1]}}]}', "the content is no text"),
        ('{"choices": 1}', "TypeError"),
        ("null", "no JSON object"),
        ("<html>Sign in", "<html>Sign in"),
    ],
)
def test_what_cannot_be_read_is_asked_again_and_may_have_cost(body: str, reason: str) -> None:
    error = failure(body)
    assert str(error).startswith("a reply that cannot be read (")
    assert reason in str(error)
    assert (error.again, error.charged, error.usage) == (True, True, None)


@pytest.mark.parametrize(
    ("content", "message", "flags"),  # again, fatal, of_query
    [
        ({"error": {"message": "Daily limit", "code": 429}}, "Daily limit", (True, False, False)),
        ({"choices": None, "error": {"message": "P", "code": "502"}}, "P", (True, False, False)),
        ({"error": "overloaded"}, "overloaded", (True, False, False)),
        ({"error": {"message": "No", "code": 400}}, "No", (False, False, True)),
        ({"error": {"message": "No", "code": "content_filter"}}, "No", (False, False, True)),
        ({"error": {"message": "No", "type": "insufficient_quota"}}, "No", (False, True, False)),
        ({"error": {"message": "No", "code": 401}}, "No", (False, True, False)),
        ({"error": {"message": "M", "type": "rate_limit_exceeded"}}, "M", (True, False, False)),
        ({"choices": [{"error": {"message": "E", "code": 502}}]}, "E", (True, False, False)),
        ({"object": "error", "message": "E", "code": 400}, "E", (False, False, True)),
        ({"detail": "E"}, "E", (True, False, False)),
        ({"errors": [{"message": "E", "code": 3040}]}, "E", (True, False, False)),
        ({"error": {"message": "E", "code": 400, "metadata": {"raw": "up"}}},
         '{"message": "E", "code": 400, "metadata": {"raw": "up"}}', (False, False, True)),
    ],
)  # fmt: skip
def test_an_error_in_a_good_reply_is_the_servers_word(
    content: dict[str, Any], message: str, flags: tuple[bool, bool, bool]
) -> None:
    error = failure(json.dumps(content))
    assert (str(error), error.charged) == (message, False)
    assert (error.again, error.fatal, error.of_query) == flags


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (whole("", "length", reasoning_content="First"), "no text (length)"),
        (whole("<think>First I should", "length"), "no text (length)"),
        (whole(None, "tool_calls", tool_calls=[{}]), "no text (tool_calls)"),
        (whole("", "tool_calls", tool_calls=[{}]), "no text (tool_calls)"),
        (whole([{"type": "refusal", "refusal": "I will not."}]), "no text (I will not.)"),
        (whole(None, refusal="I will not."), "no text (I will not.)"),
        (whole([THINKS]), "no text (stop)"),
    ],
)
def test_an_answer_without_text_is_an_error_of_its_query_that_is_paid(
    reply: dict[str, Any], message: str
) -> None:
    error = failure(json.dumps(reply))
    assert (str(error), error.usage, error.again, error.of_query) == (message, (11, 7), False, True)


def test_an_expert_that_fails_every_query_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = Canned(body=json.dumps(whole(None, "length")).encode())
    with serving(lambda _: reply) as server:
        case = Case(tmp_path, server, queries=1)
        case.pool(PRICES)
        assert case.collect() == 1
    (record,) = case.records
    assert record["error"] == "no text (length)"
    assert (record["attempts"], record["cost"]) == (1, pytest.approx(25e-6))
    told = "error: expert 'e0' failed every query, 1 of 1 times with: no text (length)\n"
    assert told in capsys.readouterr().err


def test_any_reason_but_a_good_one_is_a_cut_or_asked_again() -> None:
    for reason in ("SAFETY", "model_length", "sensitive"):
        assert answer_of(json.dumps(whole("The sky", reason))).cut == reason
    error = failure(json.dumps(whole("The sky", "error")))
    assert str(error) == "the server gave the answer up (error)"
    assert (error.again, error.usage) == (True, (11, 7))


def test_cut_answers_are_told_and_thinking_is_not_scored(
    tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(request: dict[str, Any]) -> Canned:
        last = request["messages"][-1]["content"].endswith("3?")
        said = "<think>red</think> The sky is often" if last else "<think>sky</think> Red."
        return Canned(body=json.dumps(whole(said, "length" if last else "stop")).encode())

    with serving(reply) as server:
        case = Case(tmp_path, server)
        case.pool(PRICES, PRICES)
        assert case.collect() == 0
    assert [r["query"] for r in case.records if r.get("cut") == "length"] == ["What is 3?"] * 2
    assert "e0: 4 answered (1 cut short" in capsys.readouterr().out
    answers = [{"query": f"What is {i}?", "answer": "sky"} for i in range(4)]
    files = ("--responses", case.out, "--queries", write_lines(tmp_path / "a.jsonl", answers))
    code, printed, err = call("score", *files, "--scorer", "contains", "--out", tmp_path / "t.csv")
    assert code == 0, err
    assert "0 failed, 2 cut short" in printed
    assert "e0: mean reward 0.2500 over 4 responses" in printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Could it be red? No.</think>\nblue", "blue"),  # a template that opens it itself
        ("<think>a</think> b <think>c</think> blue", "blue"),
        ("<think>never ends", ""),
        ("<Thinking>red</thinking>blue", "blue"),
        ("<reasoning>\nred\n</reasoning>\nblue", "blue"),
        ("[THINK]red[/THINK]blue", "blue"),
        ("◁think▷red◁/think▷blue", "blue"),
        ("<|channel|>analysis<|message|>red<|end|><|start|>assistant<|channel|>final<|message|>blue"
         "<|return|>", "blue"),
        ("<|channel|>analysis<|message|>red<|end|><|start|>assistant<|channel|>final "
         "<|constrain|>json<|message|>{}", "{}"),
        ("analysisCould be red.assistantfinalblue", "blue"),
        ("<seed:think>red</seed:think>blue", "blue"),
        ("<|begin_of_thought|>red<|end_of_thought|>\n<|begin_of_solution|>blue<|end_of_solution|>",
         "blue"),
        ("<|START_THINKING|>red<|END_THINKING|><|START_RESPONSE|>blue<|END_RESPONSE|>", "blue"),
        ("<think>red</think><answer>blue</answer>", "blue"),
        ("Sure.\n<think>\nred", "Sure."),
        ("<think>red</think>blue<|im_end|>", "blue"),
        ("Use <thinking> as a tag.", "Use <thinking> as a tag."),
        ("The tag <analysis>x</analysis> holds x.", "The tag <analysis>x</analysis> holds x."),
        ("  blue\n", "  blue\n"),
    ],
)  # fmt: skip
def test_thinking_is_no_part_of_what_is_said(text: str, said: str) -> None:
    assert spoken(text) == said
