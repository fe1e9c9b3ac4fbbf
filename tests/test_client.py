"""One call: what is sent, what comes back, and what each way to fail is called."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

import pytest

from tests.llm_server import Canned, Reply, refusal, said, serving
from zooter_lite.ask.client import HIDDEN, caller
from zooter_lite.ask.pool import Expert
from zooter_lite.ask.reply import Answer, CallError, retry_after
from zooter_lite.errors import DataError

KEY = "sk-planted/qzx0+456=789"


def ask(expert: Expert, prompt: str = "Hi?") -> Answer:
    async def work() -> Answer:
        asked = caller(expert)
        try:
            return await asked.ask(prompt)
        finally:
            await asked.close()

    return asyncio.run(work())


def answer_to(reply: Reply, prompt: str = "Hi?", **fields: Any) -> Answer:
    with serving(reply) as server:
        return ask(Expert("e", server.url, "m", **fields), prompt)


def failure(expert: Expert) -> CallError:
    with pytest.raises(CallError) as caught:
        ask(expert)
    return caught.value


def failure_of(canned: Canned, **fields: Any) -> CallError:
    with serving(lambda _: canned) as server:
        return failure(Expert("e", server.url, "m", **fields))


def test_what_is_sent_is_what_the_pool_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", "qzx-planted")
    sampling = {
        "temperature": 0.5, "max_tokens": 9, "stop": ["a", "b"], "seed": 3,
        "top_k": 1, "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    more: dict[str, Any] = {
        "query": {"api-version": "2024-06-01"},
        "headers": {"api-key": "${AZURE_KEY}"},
    }
    with serving() as server:
        expert = Expert("e", server.url, "m", system="Be brief.", sampling=sampling, **more)
        assert ask(expert, "What?") == Answer("m: What?", (3, 2))
        assert ask(Expert("e", server.url + "/", "m"), "What?").text == "m: What?"
    first, second = server.requests
    system = {"role": "system", "content": "Be brief."}
    prompt = {"role": "user", "content": "What?"}
    assert first == {"model": "m", "messages": [system, prompt], **sampling}
    assert second == {"model": "m", "messages": [prompt]}
    begins = "POST /v1/chat/completions?api-version=2024-06-01 HTTP/1.1\r\n"
    assert server.headers[0].startswith(begins)
    assert "api-key: qzx-planted\r\n" in server.headers[0].lower()
    assert server.headers[1].startswith("POST /v1/chat/completions HTTP/1.1\r\n")


def test_only_the_named_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs-1")
    monkeypatch.setenv("MY_KEY", f"  {KEY}\n")
    with serving() as server:
        ask(Expert("e", server.url, "m"))
        ask(Expert("e", server.url, "m", api_key_env="MY_KEY"))
    assert "authorization" not in server.headers[0].lower()
    assert f"authorization: bearer {KEY}\r\n" in server.headers[1].lower()


def test_a_key_must_be_there_and_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expert = Expert("e", "http://127.0.0.1:1/v1", "m", api_key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", " \n")
    with pytest.raises(DataError, match="'e': the environment variable MY_KEY is not set"):
        caller(expert)
    for value in ("sk-secret\nX", "sk-sécret"):
        monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(DataError, match="holds a character that a key cannot") as caught:
            caller(expert)
        assert "cret" not in str(caught.value)


def test_addresses_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"expert 'e': cannot be asked .*port"):
        caller(Expert("e", "http://127.0.0.1:x/v1", "m"))
    monkeypatch.setenv("ALL_PROXY", "foo://127.0.0.1:1")
    with pytest.raises(DataError, match=r"expert 'e': cannot be asked .*foo"):
        caller(Expert("e", "http://127.0.0.1:1/v1", "m"))


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert answer_to(lambda r: r["messages"][0]["content"], "a\ud800b").text == "a?b"
    assert answer_to(lambda r: "x\ud800y").text == "x\ud800y"


@pytest.mark.parametrize(
    ("status", "flags"),
    # again, fatal, of_query
    [
        (400, (False, False, True)), (401, (False, True, False)), (403, (False, False, False)),
        (425, (True, False, False)), (429, (True, False, False)), (529, (True, False, False)),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, flags: tuple[bool, bool, bool]) -> None:
    error = failure_of(refusal(status, "no\n way", "retry-after: 3\r\n"))
    assert (error.again, error.fatal, error.of_query) == flags
    assert str(error) == f"HTTP {status}: no way"
    assert not error.charged
    assert error.wait == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        (b'{"detail": "why"}', "why"),
        (b'[{"error": {"message": "why"}}]', "why"),
        (b'{"error": 3}', "3"),
    ],
)
def test_an_error_of_any_shape_is_told(content: bytes, message: str) -> None:
    error = failure_of(Canned("502 No", content))
    assert str(error) == f"HTTP 502: {message}"
    assert error.again


def test_an_empty_account_is_no_rate_limit() -> None:
    error = failure_of(refusal(429, "You exceeded your quota", code="insufficient_quota"))
    assert (error.again, error.fatal) == (False, True)


def test_a_wrong_address_is_told() -> None:
    with serving(lambda _: refusal(404, "page not found")) as server:
        bare = server.url.removesuffix("/v1")
        error = str(failure(Expert("e", bare, "m")))
        hint = "(base_url usually ends with /v1)"
        assert error == f"HTTP 404 for {bare}/chat/completions {hint}: page not found"
        error = str(failure(Expert("e", server.url, "m")))
        assert error == f"HTTP 404 for {server.url}/chat/completions: page not found"
        gone = server.url
    with serving(lambda _: refusal(307, "moved", f"location: {gone}\r\n")) as server:
        moved = failure(Expert("e", server.url, "m"))
        assert str(moved) == f"HTTP 307 for {server.url}/chat/completions: moved"
        assert not moved.again
    lost = failure(Expert("e", gone, "m"))
    assert str(lost).startswith("connection: ")
    assert str(lost).endswith(f", at {gone}/chat/completions")
    assert (lost.again, lost.charged) == (True, False)


def test_retry_after_in_every_spelling() -> None:
    assert retry_after({}) == 0
    assert retry_after({"retry-after": "0.5"}) == 0.5
    later = retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert later == pytest.approx(60, abs=2)
    for odd in ("-3", "nan", "Mon, 99 Foo 2020", formatdate(0, usegmt=True)):
        assert retry_after({"retry-after": odd}) == 0


SPELLINGS = (
    KEY, KEY.replace("/", "\\/"), quote(KEY), quote(KEY, safe="").lower(),
    "".join(f"\\u{ord(c):04x}" for c in KEY),
)  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_key_is_hidden_before_a_message_is_cut(
    monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    for before in (0, 485):
        text = "." * before + spelling + " " + "x" * 600
        refused = [{"message": {"content": None, "refusal": text}}]
        for canned in (
            refusal(500, text),
            Canned("502 No", text.encode()),
            Canned(body=b'{"error": {"message": "' + text.encode() + b'"}}'),
            said(None, {"model": "m", "messages": []}, choices=refused),
        ):
            message = str(failure_of(canned, api_key_env="MY_KEY"))
            assert len(message) <= 500
            assert "planted" not in message
            assert "qzx" not in message
            if not before:
                assert HIDDEN in message


def test_a_key_is_hidden_in_answers_but_a_placeholder_is_not_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    assert answer_to(lambda _: f"it is {KEY}!", api_key_env="MY_KEY").text == f"it is {HIDDEN}!"
    monkeypatch.setenv("MY_KEY", "EMPTY")
    assert answer_to(lambda _: "EMPTY is EMPTY", api_key_env="MY_KEY").text == "EMPTY is EMPTY"


def shout(prompt: str) -> str:
    return prompt.upper()


def broken(prompt: str) -> str:
    raise StopIteration(f"cannot\n{prompt}")


def leaves(prompt: str) -> str:
    raise SystemExit(3)


def sleeps(prompt: str) -> str:
    time.sleep(30)
    return "late"


def number(prompt: str) -> int:
    return 3


def test_a_function_is_an_expert() -> None:
    answer = ask(Expert("e", callable="tests.test_client:shout"), "hi\ud800")
    assert answer == Answer("HI\ud800", (0, 0))


@pytest.mark.parametrize(
    ("name", "message", "of_query"),
    [
        ("broken", "StopIteration: cannot Hi?", True),
        ("leaves", "SystemExit: 3", True),
        ("sleeps", "no answer within 0.2 s", False),
        ("number", "expected text, found int", True),
    ],
)
def test_a_function_that_fails_is_an_error_of_its_call(
    name: str, message: str, of_query: bool
) -> None:
    begun = time.monotonic()
    error = failure(Expert("e", callable=f"tests.test_client:{name}", timeout=0.2))
    assert (str(error), error.again, error.fatal) == (message, False, False)
    assert (error.of_query, error.charged) == (of_query, False)
    assert time.monotonic() - begun < 10  # nobody waits for the sleeper


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tests.no_such:f", "cannot import 'tests.no_such:f' .ModuleNotFoundError"),
        ("tests.test_client:KEY", "cannot be called"),
    ],
)
def test_a_function_that_is_not_there(target: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        caller(Expert("e", callable=target))
