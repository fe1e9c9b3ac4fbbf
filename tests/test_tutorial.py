"""The commands of the tutorial, from prompts to an exported router, on a server with rules."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from recipes.chain.steps import README, Step, steps
from tests.conftest import ROOT
from tests.llm_server import Server, serving
from zooter_lite import Router
from zooter_lite.ask.pool import experts_of, read_pool
from zooter_lite.cli import run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHAIN = ROOT / "recipes" / "chain"
STEPS = steps(README.read_text("utf-8"))
NUMBER = re.compile(r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?")


def rows() -> list[dict[str, str]]:
    with (CHAIN / "prompts.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def by_rule(request: dict[str, Any]) -> str:
    """Know facts where a brief answer is asked for, and word forms where steps are."""
    row = KNOWN[request["messages"][-1]["content"]]
    brief = "one word" in request["messages"][0]["content"]
    knows = row["subset"] == ("facts" if brief else "dictionary")
    return f"It is {row['answer']}." if knows else "I am not sure."


KNOWN = {row["query"]: row for row in rows()}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that answers by rule."""
    with serving(by_rule) as server:
        yield server


@pytest.fixture(scope="module")
def done(
    server: Server, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[tuple[int, str]]]:
    """The folder where every command of the tutorial has run, each one's exit code and output."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(CHAIN, folder / "recipes" / "chain")
    pool = folder / "recipes" / "chain" / "experts.toml"
    text = pool.read_text("utf-8")
    assert text.count("http://127.0.0.1:8012/v1") == 2
    pool.write_text(text.replace("http://127.0.0.1:8012/v1", server.url), "utf-8")
    (folder / "recipes" / "quickstart").mkdir()
    shutil.copy(ROOT / "recipes/quickstart/prompts.csv", folder / "recipes/quickstart/prompts.csv")
    (folder / "exports" / "chain").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOOTER_CACHE", str(cache))
        patch.chdir(folder)
        return folder, [ran(step) for step in STEPS]


def ran(step: Step) -> tuple[int, str]:
    """Run a command in this process; its exit code, and what it printed."""
    _, name, *arguments = step.arguments
    module, printed = importlib.import_module(name), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        code = run(module.Options, module.main, step.name, "", arguments)
    return code, printed.getvalue()


def masked(text: str) -> str:
    """Put N for every number, drop bars, and put one blank for any white space."""
    return " ".join(NUMBER.sub("N", text.replace("█", "")).split())


def test_the_files_that_the_tutorial_shows_are_the_files() -> None:
    text = README.read_text("utf-8")
    shown = dict(
        re.findall(r"^```(csv|toml)\n(.*?)^```$", text.split("## 2.")[0], re.DOTALL | re.M)
    )
    lines = (CHAIN / "prompts.csv").read_text("utf-8").splitlines()
    assert [step.name for step in STEPS if not step.expected] == ["route"]
    assert [line for line in shown["csv"].splitlines() if line not in lines] == []
    pool = {expert.name: expert for expert in read_pool(str(CHAIN / "experts.toml"))}
    experts = experts_of(tomllib.loads(shown["toml"]), "README")
    assert [expert.name for expert in experts] == ["brief", "calculator"]
    assert all(pool[expert.name] == expert for expert in experts)
    assert len(KNOWN) == 120
    assert (CHAIN / "results.md").read_text("utf-8").strip() in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "step"), list(enumerate(STEPS)), ids=[f"{n}-{s.name}" for n, s in enumerate(STEPS)]
)
def test_each_command_prints_the_lines_that_the_tutorial_shows(
    place: int, step: Step, done: tuple[Path, list[tuple[int, str]]]
) -> None:
    code, text = done[1][place]
    assert code == 0, text
    printed = [masked(line) for line in text.splitlines()]
    for line in step.expected:
        if line.strip() != "...":
            assert masked(line) in printed, f"{line}\n\nis not in\n\n{printed}"
            printed = printed[printed.index(masked(line)) + 1 :]


@pytest.mark.slow
def test_the_rules_reach_the_table_and_the_router(
    server: Server, done: tuple[Path, list[tuple[int, str]]]
) -> None:
    assert server.counts == {"answered": 2 * len(KNOWN)}
    folder = done[0] / "exports" / "chain"
    lines = (folder / "table.jsonl").read_text("utf-8").splitlines()
    table = [json.loads(line) for line in lines]
    assert len(table) == len(KNOWN)
    for row in table:
        subset = KNOWN[row["query"]]["subset"]
        assert row["reward:brief"] == (subset == "facts")
        assert row["reward:steps"] == (subset == "dictionary")
        assert row["tags"]
    router = Router.load(str(folder / "router"))
    for subset, expert in (("facts", "brief"), ("units", "units")):
        asked = [r["query"] for r in rows() if r["split"] == "train" and r["subset"] == subset]
        chosen = [decision.expert for decision in router.route(asked)]
        assert chosen.count(expert) > 0.6 * len(asked), (subset, chosen)
    with (folder / "routed.csv").open(encoding="utf-8", newline="") as stream:
        routed = list(csv.DictReader(stream))
    assert {row["expert"] for row in routed} <= set(router.experts)
    assert (folder / "router" / "router.text.onnx").stat().st_size > 1_000_000
