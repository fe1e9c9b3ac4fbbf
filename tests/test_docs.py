"""What the README and docs/ show works, and the README's figures are those of the recipes."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.conftest import ROOT
from tests.llm_prompts import prompt_of
from tests.llm_server import serving
from zooter_lite import Router
from zooter_lite.__main__ import main

PAGES = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text("utf-8")
Run = Callable[[str], str]


def blocks(page: str, language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    return [content for kind, content in fences if kind == language]


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's table in sixty rows, and prompts."""
    folder = tmp_path_factory.mktemp("docs")
    header, *rows = blocks(README, "")[2].strip().splitlines()
    lines = [header]
    for number in range(20):
        lines += [row.replace("?", f" number {number}?") for row in rows]
        lines += [f"Add {number} and 3,1,0,maths,train", f"Sing song {number},0,1,writing,train"]
    (folder / "rewards.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "prompts.csv").write_text("query\nAdd 9 and 9\n", "utf-8")
    return folder


@pytest.fixture
def run(
    rewards: Path,
    cache: Path,
    untuned: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run the lines of a shell block in the folder; return what they printed."""
    monkeypatch.chdir(rewards)
    monkeypatch.setenv("ZOOTER_CACHE", str(cache))

    def call(script: str) -> str:
        for line in script.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "zooter-lite"
            assert main(arguments) == 0, capsys.readouterr().err
        printed = capsys.readouterr()
        return printed.out + printed.err

    return call


def test_the_readme_is_short_and_its_first_screen_shows_two_commands() -> None:
    assert len(README.splitlines()) <= 120
    assert "make quickstart" in README[:1200]
    assert "make test" in README[:1200]


def test_links_and_names_of_files_exist() -> None:
    for name, page in {"README": README, **PAGES}.items():
        base = ROOT if name == "README" else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#:]+)\)", page):
            assert (base / target).exists(), f"{name}: {target}"
        for file in re.findall(r"`((?:\w+/)+\w+\.py)`", page):
            assert (ROOT / "zooter_lite" / file).exists() or (ROOT / file).exists(), file


@pytest.mark.slow
def test_the_python_snippet_of_the_readme(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zooter_lite/table").mkdir(parents=True)
    sample = "zooter_lite/table/sample.jsonl.gz"
    lines = gzip.decompress((ROOT / sample).read_bytes()).splitlines(keepends=True)
    (tmp_path / sample).write_bytes(gzip.compress(b"".join(lines[::3])))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOOTER_CACHE", str(cache))
    (snippet,) = blocks(README, "python")
    exec(compile(snippet, "README.md", "exec"), {})
    expert, verdict = capsys.readouterr().out.splitlines()
    assert expert == "units"
    assert "beats the best single expert" in verdict


def test_the_shell_commands_of_the_readme(run: Run, rewards: Path) -> None:
    run(blocks(README, "sh")[0])
    routed = (rewards / "routed.csv").read_text("utf-8").splitlines()
    assert routed[0] == "query,expert,probability"
    assert routed[1].startswith("Add 9 and 9,small,")
    assert "<svg" in (rewards / "report.html").read_text("utf-8")


def test_your_table_deploying_and_evaluating(
    run: Run, rewards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(blocks(PAGES["your-table"], "sh")[0])
    assert "Write a haiku about snow" in printed
    run(blocks(PAGES["deploying"], "sh")[0])
    assert (rewards / "routed8.csv").read_text("utf-8").startswith("query,expert,probability")
    assert (rewards / "exports" / "mine" / "router.text.onnx").exists()
    run(blocks(PAGES["evaluating"], "sh")[0])
    (snippet,) = blocks(PAGES["evaluating"], "python")
    exec(compile(snippet, "evaluating.md", "exec"), {})
    assert capsys.readouterr().out.split()[-1] in ("True", "False")


def test_a_log_becomes_a_table(run: Run, rewards: Path) -> None:
    line = {"query": "Add 1 and 2", "expert": "small", "propensity": 0.9}
    line |= {"request": "r1", "chances": {"small": 0.9, "large": 0.1}}
    (rewards / "decisions.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
    (rewards / "earned.csv").write_text("request,reward\nr1,1\n", "utf-8")
    (block,) = [text for text in blocks(PAGES["your-table"], "sh") if "feedback" in text]
    assert "log.csv: 1 rows" in run(block.splitlines()[0])
    header, row = (rewards / "log.csv").read_text("utf-8").splitlines()
    assert header == "query_id,query,subset,propensity,reward:small,reward:large"
    assert row == "r1,Add 1 and 2,all,0.9,1.0,"


def test_bulk(run: Run, rewards: Path) -> None:
    if not (rewards / "exports" / "mine").exists():
        run(blocks(PAGES["your-table"], "sh")[0])
    table = pyarrow.table({"query": ["Add 9 and 9", None], "n": [1, 2]})
    pyarrow.parquet.write_table(table, rewards / "prompts.parquet")
    (rewards / "logs").mkdir()
    for day in ("mon", "tue"):
        lines = f'{{"query": "Add {len(day)} and 4"}}\nno JSON\n'
        (rewards / "logs" / f"{day}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    run(blocks(PAGES["bulk"], "sh")[0])
    routed = pyarrow.parquet.read_table(rewards / "routed.parquet")
    assert routed.column_names == ["query", "n", "expert", "probability"]
    assert routed["expert"].to_pylist() == ["small", None]
    for day in ("mon", "tue"):
        (row,) = gzip.decompress((rewards / f"routed/{day}.jsonl.gz").read_bytes()).splitlines()
        assert json.loads(row)["expert"] == "small"
        (reject,) = (rewards / f"routed/{day}.jsonl.gz.rejects.jsonl").read_text().splitlines()
        assert json.loads(reject)["line"] == 2


@pytest.mark.slow
def test_fine_tuning(run: Run, rewards: Path) -> None:
    if not (rewards / "exports" / "mine").exists():
        run(blocks(PAGES["your-table"], "sh")[0])
    printed = run(blocks(PAGES["fine-tuning"], "sh")[0])
    assert "fine-tuning, mean reward x100" in printed
    assert "router tuned" in printed


def test_from_prompts_to_rewards_to_a_router(
    run: Run, rewards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(request: dict[str, Any]) -> str:
        prompt = prompt_of(request)
        if request["model"] == "tagger":
            return json.dumps([{"tag": "sums" if "Add" in prompt else "songs", "explanation": ""}])
        return prompt.split()[-1] if ("Add" in prompt) == (request["model"] == "small") else "no"

    monkeypatch.chdir(tmp_path)
    lines = ["query,answer", *(f"{w} {n},{n}" for n in range(30) for w in ("Add", "Sing of"))]
    Path("prompts.csv").write_text("\n".join(lines) + "\n", "utf-8")
    with serving(reply) as server:
        for file, names in (("experts", ("small", "large")), ("tagger", ("tagger",))):
            pool = "".join(
                f'[[expert]]\nname = "{name}"\nmodel = "{name}"\nbase_url = "{server.url}"\n'
                "price_output = 1.0\nsampling = { max_tokens = 8 }\n"
                for name in names
            )
            Path(f"{file}.toml").write_text(pool, "utf-8")
        run(blocks(PAGES["rewards"], "sh")[0])
    router = Router.load("exports/mine")
    assert [d.expert for d in router.route(["Add 5", "Sing of 5"])] == ["small", "large"]


def test_the_results_table_is_the_one_the_bench_wrote() -> None:
    written = (ROOT / "recipes/bench/quality.md").read_text("utf-8").strip()
    assert written
    assert written in README


def test_every_recipe_is_listed() -> None:
    listed = set(re.findall(r"\| `recipes/(\w+)` \|", (ROOT / "recipes/README.md").read_text()))
    assert listed == {path.parent.name for path in (ROOT / "recipes").glob("*/__init__.py")} | {
        "collect"
    }
