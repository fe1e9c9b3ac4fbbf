"""What the README shows works, and its figures are the ones the recipes wrote."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tests.conftest import ROOT, Command
from tests.llm_prompts import prompt_of
from tests.llm_server import serving
from zooter_lite import Router

README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [content for kind, content in fences if kind == language]


def test_the_first_screen_shows_the_two_commands() -> None:
    first_screen = README[:1200]
    assert "make quickstart" in first_screen
    assert "make test" in first_screen


def test_the_python_snippet_prints_what_the_readme_says(router_path: Path, tmp_path: Path) -> None:
    shutil.copytree(router_path, tmp_path / "exports" / "sample")
    (snippet,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    said = re.search(r"This prints `(.*?)`", README)
    assert said is not None
    assert done.stdout.strip() == said.group(1)


def test_the_table_and_the_commands_of_the_readme_run(command: Command, tmp_path: Path) -> None:
    table, commands, _, deployed = blocks("")[1:5]
    header, *rows = table.strip().splitlines()
    lines = [header]
    for number in range(20):
        lines += [row.replace("?", f" number {number}?") for row in rows]
        lines += [f"Add {number} and 3,1,0,maths,train", f"Sing song {number},0,1,writing,train"]
    (tmp_path / "rewards.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (tmp_path / "prompts.csv").write_text("query\nAdd 9 and 9\n", "utf-8")
    printed = ""
    for line in (commands + deployed).splitlines():
        _, _, module, *arguments = shlex.split(line)
        done = command(module.removeprefix("zooter_lite."), *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed += done.stdout + done.stderr
    routed = (tmp_path / "routed.csv").read_text("utf-8").splitlines()
    assert routed[0] == "query,expert,probability"
    assert routed[1].startswith("Add 9 and 9,small,")
    again = (tmp_path / "routed8.csv").read_text("utf-8").splitlines()
    assert again[1].startswith("Add 9 and 9,small,")
    assert (tmp_path / "exports" / "mine" / "router.text.onnx").exists()
    assert "Write a haiku about snow" in printed
    assert "close calls answered again in fp32: " in printed


def test_files_in_bulk(command: Command, router_path: Path, tmp_path: Path) -> None:
    shutil.copytree(router_path, tmp_path / "exports" / "mine")
    (script,) = blocks("bash")
    pyarrow.parquet.write_table(
        pyarrow.table({"query": ["Add 9 and 9", None], "n": [1, 2]}), tmp_path / "prompts.parquet"
    )
    (tmp_path / "logs").mkdir()
    for day in ("mon", "tue"):
        lines = f'{{"query": "Add {len(day)} and 4"}}\nno JSON\n'
        (tmp_path / "logs" / f"{day}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for line in script.splitlines():
        _, _, module, *arguments = shlex.split(line)
        done = command(module.removeprefix("zooter_lite."), *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    table = pyarrow.parquet.read_table(tmp_path / "routed.parquet")
    assert table.column_names == ["query", "n", "expert", "probability"]
    assert table["expert"][0].as_py() in Router.load(router_path).experts
    assert table["expert"][1].as_py() is None
    for day in ("mon", "tue"):
        (row,) = gzip.decompress((tmp_path / f"routed/{day}.jsonl.gz").read_bytes()).splitlines()
        assert json.loads(row)["expert"] == table["expert"][0].as_py()
        (reject,) = (tmp_path / f"routed/{day}.jsonl.gz.rejects.jsonl").read_text().splitlines()
        assert json.loads(reject)["line"] == 2


def test_from_prompts_to_rewards_to_a_router(command: Command, tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> str:
        prompt = prompt_of(request)
        if request["model"] == "tagger":
            return json.dumps([{"tag": "sums" if "Add" in prompt else "songs", "explanation": ""}])
        return prompt.split()[-1] if ("Add" in prompt) == (request["model"] == "small") else "no"

    lines = ["query,answer", *(f"{w} {n},{n}" for n in range(30) for w in ("Add", "Sing of"))]
    (tmp_path / "prompts.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (script,) = blocks("sh")
    with serving(reply) as server:
        for file, names in (("experts", ("small", "large")), ("tagger", ("tagger",))):
            pool = "".join(
                f'[[expert]]\nname = "{name}"\nmodel = "{name}"\nbase_url = "{server.url}"\n'
                "price_output = 1.0\nsampling = { max_tokens = 8 }\n"
                for name in names
            )
            (tmp_path / f"{file}.toml").write_text(pool, "utf-8")
        for line in script.splitlines():
            _, _, module, *arguments = shlex.split(line, comments=True)
            done = command(module.removeprefix("zooter_lite."), *arguments, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    router = Router.load(tmp_path / "exports/mine")
    assert [d.expert for d in router.route(["Add 5", "Sing of 5"])] == ["small", "large"]


def test_the_results_table_is_the_one_the_bench_wrote() -> None:
    written = (ROOT / "recipes/bench/quality.md").read_text("utf-8").strip()
    assert written
    assert written in README


def test_every_recipe_of_the_readme_exists() -> None:
    for folder in re.findall(r"\| `(recipes/\w+)` \|", README):
        assert (ROOT / folder / "run.sh").exists() or list((ROOT / folder).glob("*.sh")), folder
