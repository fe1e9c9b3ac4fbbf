"""exports/http/serve.py: what it answers is what the router does, and it refuses the rest."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from exports.http.serve import Service
from tests.conftest import ROOT
from tests.consumers import EXPORTS, POINTS, PROMPTS, check_decisions, toy_old, toy_priced
from tests.helpers import edit_config
from zooter_lite import Router

SERVE = str(EXPORTS / "http" / "serve.py")
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two three"}]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.load(toy_priced(tmp_path_factory.mktemp("http") / "toy"))


@pytest.fixture
def client(router: Router) -> Iterator[TestClient]:
    with TestClient(Service(router, max_body=20_000, max_prompts=200).app()) as client:
        yield client


def decisions(client: TestClient, **wish: Any) -> list[dict[str, Any]]:
    answer = client.post("/route", json=wish)
    assert answer.status_code == 200, answer.text
    return cast(list[dict[str, Any]], answer.json()["decisions"])


def test_a_decision_has_all_that_the_router_tells(client: TestClient, router: Router) -> None:
    for point in (*POINTS, None):
        several = decisions(client, prompts=PROMPTS[:50], point=point)
        check_decisions(several, router, PROMPTS[:50], point or "quality")
    (found,) = decisions(client, prompts=[CHAT], point="economy", allowed=["ant", "bee"])
    (wanted,) = router.route(["two three"], point="economy", allowed=["ant", "bee"])
    assert found["expert"] == wanted.expert
    assert found["ranking"] == list(wanted.ranking)
    assert set(wanted.ranking) == {"ant", "bee"}
    assert found["reason"] == wanted.reason
    assert wanted.reason == "point economy: highest reward - 0.5 * cost, of those eligible"
    for key in ("probability", "expected_reward", "expected_cost", "novelty", "probabilities"):
        assert found[key] == pytest.approx(getattr(wanted, key), abs=1e-6), key
    most = float(router.predict(["two three"]).costs.min()) + 1e-3  # type: ignore[union-attr]
    (cheap,) = decisions(client, prompts=["two three"], max_cost=most)
    assert cheap["ranking"] == [cheap["expert"]]
    (first,) = decisions(client, prompts=["two three"], top=1)
    assert first["ranking"] == [first["expert"]]


def test_what_a_router_does_not_know_is_left_out(tmp_path: Path) -> None:
    router = Router.load(toy_old(tmp_path / "toy"))
    with TestClient(Service(router).app()) as client:
        (found,) = decisions(client, prompts=["one"])
        assert set(found) == {"expert", "probability", "probabilities", "ranking", "reason"}
        answer = client.post("/route", json={"prompts": ["one"], "max_cost": 1})
        assert answer.json() == {"error": "max_cost: this router predicts no costs"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON (Expecting value: line 1 column 1 (char 0))"),
        (b"[" * 10_000, "the body is not JSON ("),
        (b"[]", 'expected a JSON object with "prompts", a list of texts or chats'),
        (b'{"prompts": "one"}', "prompts: expected list, found str"),
        (b'{"prompts": ["a", 1]}', "prompt 1: expected text or a list of messages, found int"),
        (
            b'{"prompts": [{"role": "user", "content": "a"}]}',
            "expected a list of prompts, found messages; a chat is one prompt",
        ),
        (b'{"prompts": [], "temperature\\n": 1}', "key 'temperature\\n': expected prompts, point,"),
        (b'{"prompts": [], "top": true}', "top: expected int, found bool"),
        (b'{"prompts": [], "top": 0}', "expected a max_cost from 0 and a top from 1"),
        (b'{"prompts": [], "max_cost": NaN}', "expected a max_cost from 0 and a top from 1"),
        (b'{"prompts": [], "allowed": "ant"}', "allowed: expected list, found str"),
        (b'{"prompts": [], "allowed": [["ant"]]}', "allowed: expected a list of names"),
        (b'{"prompts": ["a"], "allowed": ["owl"]}', "no expert 'owl'; expected ant, bee, cat"),
        (b'{"prompts": ["a"], "allowed": []}', "prompt 0: no expert is eligible"),
        (b'{"prompts": ["a"], "point": "fast"}', "point 'fast': expected quality, match,"),
    ],
)
def test_what_it_cannot_use_is_a_400_in_one_line(
    client: TestClient, body: bytes, message: str
) -> None:
    answer = client.post("/route", content=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].startswith(message)
    assert "\n" not in answer.json()["error"]


def test_limits_of_size(client: TestClient) -> None:
    for content, message in (
        (b" " * 20_001, "the body has more than 20000 bytes"),
        (json.dumps({"prompts": ["a"] * 201}).encode(), "201 prompts; expected at most 200"),
    ):
        answer = client.post("/route", content=content)
        assert (answer.status_code, answer.json()) == (413, {"error": message})
    assert decisions(client, prompts=[]) == []
    assert len(decisions(client, prompts=["a"] * 200)) == 200


def test_other_paths_and_methods(client: TestClient) -> None:
    answer = client.get("/route")
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})
    assert answer.headers["allow"] == "POST"
    assert client.get("/none").json() == {"error": "Not Found"}


def test_health_and_counters(client: TestClient, router: Router) -> None:
    health = client.get("/healthz").json()
    assert health == {"status": "ok", "experts": ["ant", "bee", "cat"], "points": POINTS}
    chosen = [one["expert"] for _ in range(3) for one in decisions(client, prompts=["a", "b"])]
    client.post("/route", content=b"{")
    page = client.get("/metrics")
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in page.text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'zooter_\w+(\{\w+="[^"]*"\})? [0-9.e-]+', line) for line in lines)
    counts = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
    assert counts['zooter_requests_total{status="200"}'] == 3
    assert counts['zooter_requests_total{status="400"}'] == 1
    assert counts["zooter_prompts_total"] == 6
    for expert in set(chosen):
        assert counts[f'zooter_decisions_total{{expert="{expert}"}}'] == chosen.count(expert)
    buckets = [n for name, n in counts.items() if name.startswith("zooter_request_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == counts["zooter_request_seconds_count"] == 4
    assert counts["zooter_request_seconds_sum"] > 0


class Slow:
    """A router that waits for a sign, and then breaks."""

    experts, points = ("a", "b"), ("quality",)

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def route(self, prompts: list[str]) -> list[Any]:
        self.entered.set()
        assert self.go_on.wait(60)
        raise RuntimeError("broken\nin two lines")


def test_a_decision_does_not_hold_up_the_others_and_a_bug_is_a_500() -> None:
    slow, answers = Slow(), []
    with TestClient(Service(cast(Router, slow)).app()) as client:
        post = lambda: answers.append(client.post("/route", json={"prompts": ["a"]}))  # noqa: E731
        thread = threading.Thread(target=post)
        thread.start()
        assert slow.entered.wait(60)
        assert client.get("/healthz").json()["status"] == "ok"  # while the router works
        slow.go_on.set()
        thread.join(60)
    assert answers[0].status_code == 500
    assert answers[0].json() == {"error": "internal error; the log says more"}


def test_requests_side_by_side_get_their_own_answers(client: TestClient, router: Router) -> None:
    asked = [PROMPTS[n : n + 5] for n in range(0, 100, 5)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda prompts: decisions(client, prompts=prompts), asked * 3))
    for prompts, found in zip(asked * 3, answers, strict=True):
        check_decisions(found, router, prompts)


def serve(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SERVE, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_real_server_on_loopback(router: Router) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server, url = serve(router.folder, "--port", port), f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                health = json.load(urllib.request.urlopen(f"{url}/healthz"))
                break
            except urllib.error.URLError:
                assert server.poll() is None
                time.sleep(0.1)
        assert health["status"] == "ok"
        body = json.dumps({"prompts": PROMPTS, "point": "economy"}).encode()
        found = json.load(urllib.request.urlopen(f"{url}/route", body))["decisions"]
        check_decisions(found, router, PROMPTS, "economy")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/route", b" " * (2**20 + 1))
        assert refused.value.code == 413
    finally:
        server.send_signal(signal.SIGINT)
        _, log = server.communicate(timeout=60)
    assert "Traceback" not in log
    assert json.dumps(PROMPTS[-1]) not in log


def test_a_broken_directory_does_not_start(tmp_path: Path) -> None:
    path = toy_priced(tmp_path / "toy")
    edit_config(path, lambda config: config.update(format_version=99))
    for folder, message in ((path, "format_version"), (tmp_path, "no config.json")):
        server = serve(folder)
        _, errors = server.communicate(timeout=60)
        assert server.returncode == 2
        (line,) = errors.splitlines()
        assert line.startswith(f"serve.py: {folder}")
        assert message in line


def test_the_container_file_copies_what_exists() -> None:
    lines = (EXPORTS / "http" / "Containerfile").read_text("utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert "zooter_lite" in copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_requirements_are_the_tested_versions() -> None:
    pinned = {line.split(";")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    lines = (EXPORTS / "http" / "requirements.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} <= pinned
