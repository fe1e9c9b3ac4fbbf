"""exports/litellm in the real LiteLLM proxy, driven by the official client, and in its Router.

Both run in exports/litellm/.venv, which has requirements.txt and nothing else.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.consumers import toy_priced
from tests.litellm_proxy import FOLDER, KEY, PYTHON, configured, free_port, running
from tests.llm_server import Canned, Server, completion, refusal, serving
from zooter_lite import Router
from zooter_lite.files.journal import read_journal

MODELS = {"bee": "openai/bee", "cat": "openai/cat"}
# At the point economy bee gets "one" and "five", and cat gets "two". On "one" bee gains 0.08.
pytestmark = pytest.mark.slow

TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}


def answer(request: dict[str, Any]) -> str | Canned:
    """Answer with the name of the model: streamed, or as a call of a tool, where asked for."""
    name = request["model"]
    if request.get("stream"):
        body = b""
        for part in (name, " speaks", None):
            delta = {"content": part} if part else {}
            choice = {"index": 0, "delta": delta, "finish_reason": None if part else "stop"}
            chunk = completion("", request) | {"object": "chat.completion.chunk"}
            body += b"data: " + json.dumps(chunk | {"choices": [choice]}).encode() + b"\n\n"
        return Canned(
            body=body + b"data: [DONE]\n\n", headers="content-type: text/event-stream\r\n"
        )
    if request.get("tools") and request["messages"][-1]["role"] == "user":
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        return Canned(body=json.dumps(completion("", request) | {"choices": [choice]}).encode())
    return str(name)


def refuse(request: dict[str, Any]) -> Canned:
    return refusal(429, f"{request['model']} is busy", "retry-after: 0\r\n")


@dataclass(frozen=True)
class Proxy:
    """A running proxy, and the experts behind it."""

    client: openai.OpenAI
    bee: Server
    cat: Server
    router: Path
    journal: Path

    def ask(self, group: str, prompt: str, session: str, **more: Any) -> str:
        """Ask one prompt and return who answered."""
        reply = self.client.chat.completions.create(
            model=group,
            messages=[{"role": "user", "content": prompt}],
            extra_body={"metadata": {"session_id": session}} | more,
        )
        return str(reply.choices[0].message.content)

    def decisions(self, session: str) -> list[dict[str, Any]]:
        return [line for line in read_journal(self.journal) if line["session"] == session]


def settings(folder: Path, groups: dict[str, list[str]]) -> dict[str, str]:
    """Write a router, and the configuration of these groups; return the environment."""
    if not PYTHON.is_file():
        pytest.skip("exports/litellm/.venv is not installed (see the README there)")
    toy_priced(folder / "toy")
    own = {"router": "toy", "models": MODELS, "point": "economy", "margin": 0.1}
    deployments = [
        (group, model, url)
        for group, urls in groups.items()
        for model, url in zip(MODELS.values(), urls, strict=True)
    ]
    return configured(folder, deployments, own | {"journal": "log.jsonl"})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    with ExitStack() as stack:
        bee, cat = (stack.enter_context(serving(answer)) for _ in range(2))
        busy = stack.enter_context(serving(refuse))
        down = f"http://127.0.0.1:{free_port()}/v1"
        groups = {
            "auto": [bee.url, cat.url],
            "down": [down, cat.url],
            "busy": [busy.url, cat.url],
        }
        url = stack.enter_context(running(folder, settings(folder, groups)))
        client = openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=60)
        yield Proxy(client, bee, cat, folder / "toy", folder / "log.jsonl")


def test_the_expert_of_the_router_answers(proxy: Proxy) -> None:
    assert [proxy.ask("auto", prompt, prompt) for prompt in ("one", "two", "five")] == [
        "bee",
        "cat",
        "bee",
    ]
    (line,) = proxy.decisions("two")
    (decision,) = Router.load(proxy.router).route(["two"], point="economy", allowed=list(MODELS))
    assert line["expected_reward"] == pytest.approx(decision.expected_reward, abs=1e-3)
    assert (line["query"], line["expert"], line["propensity"]) == ("two", "cat", 1.0)


def test_a_rewards_request_id_is_the_clients(proxy: Proxy) -> None:
    more = {"metadata": {"session_id": "ids", "request_id": "mine"}}
    proxy.ask("auto", "one", "ids", **more)
    reply = proxy.client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "two"}],
        extra_body={"metadata": {"session_id": "ids"}},
        extra_headers={"x-litellm-call-id": "call-7"},
    )
    assert reply.headers["x-litellm-call-id"] == "call-7"
    assert [line["request"] for line in proxy.decisions("ids")] == ["mine", "call-7"]


def test_streams(proxy: Proxy) -> None:
    stream = proxy.client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "two"}], stream=True
    )
    texts = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert "".join(text or "" for text in texts) == "cat speaks"


def test_tools_are_called_and_answered_by_one_expert(proxy: Proxy) -> None:
    messages: list[Any] = [{"role": "user", "content": "five"}]
    ask: Callable[..., Any] = proxy.client.chat.completions.create
    called = ask(model="auto", messages=messages, tools=[TOOL]).choices[0].message
    assert called.tool_calls[0].function.name == "add"
    assert proxy.bee.requests[-1]["tools"] == [TOOL]
    messages += [
        called.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "call_1", "content": "7"},
    ]
    assert ask(model="auto", messages=messages, tools=[TOOL]).choices[0].message.content == "bee"


def test_a_session_stays_while_little_is_gained(proxy: Proxy) -> None:
    turns = ("two", "one", "five", "one")
    assert [proxy.ask("auto", turn, "long") for turn in turns] == ["cat", "cat", "bee", "bee"]
    messages: list[Any] = [{"role": "user", "content": "two"}]  # no id: known by its opening
    answers = []
    for turn in ("one", "five"):
        reply = proxy.client.chat.completions.create(model="auto", messages=messages)
        answers.append(reply.choices[0].message.content)
        messages += [
            {"role": "assistant", "content": answers[-1]},
            {"role": "user", "content": turn},
        ]
    reply = proxy.client.chat.completions.create(model="auto", messages=messages)
    assert [*answers, reply.choices[0].message.content] == ["cat", "cat", "bee"]


@pytest.mark.parametrize("group", ["down", "busy"])
def test_an_expert_that_is_down_or_refuses_is_replaced(proxy: Proxy, group: str) -> None:
    answers = [proxy.ask(group, "five", f"{group} {place}") for place in range(5)]
    assert answers == ["cat"] * 5
    for place in range(5):
        first, *later = proxy.decisions(f"{group} {place}")
        assert (first["expert"], first["tried"]) == ("bee", [])
        assert (later[0]["expert"], later[0]["tried"]) == ("cat", ["bee"])
        assert later[0]["reason"].endswith("after bee")
        assert {line["request"] for line in later} == {first["request"]}


def test_the_example_of_the_sdk(tmp_path: Path) -> None:
    with serving(answer) as server:
        environment = settings(tmp_path, {"auto": [server.url, server.url]})
        for prompt, expert in (("two", "cat"), ("five", "bee")):
            done = subprocess.run(
                [str(PYTHON), str(FOLDER / "sdk.py"), str(tmp_path / "config.yaml"), prompt],
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.stdout == f"{expert}: {expert}\n", done.stderr
