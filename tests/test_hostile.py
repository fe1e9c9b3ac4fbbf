"""Hundreds of hostile directories: refused with one line or harmless, never more than that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.hostile import Case, base_router, cases
from zooter_lite import route
from zooter_lite.bulk.options import Options
from zooter_lite.cli import run

WORKERS = 2
MAX_SECONDS = 60.0  # of one directory: three precisions, four graphs, slow and busy cores
MAX_MEBIBYTES = 1024

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is measured by /proc"
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, dict[str, Any]]]:
    """Every case with what the workers report of it; a case without a report ended its worker."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "canary").write_text("untouched")
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.hostile_worker", str(folder), str(i), str(WORKERS)],
            cwd=ROOT,
            env=os.environ | {"MALLOC_ARENA_MAX": "2", "RUST_BACKTRACE": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for i in range(WORKERS)
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    lines = [json.loads(line) for output in outputs for line in output.splitlines()]
    ends = {line["end"]: line for line in lines if "end" in line}
    begun = {line["begin"]: line for line in lines if "begin" in line}
    lost = [line for number, line in begun.items() if number not in ends]
    assert lost == []
    assert [worker.returncode for worker in workers] == [0] * WORKERS
    assert (folder / "canary").read_text() == "untouched"
    return [(case, ends[number]) for number, case in enumerate(cases())]


@pytest.mark.slow
def test_every_directory_is_refused_with_one_line_or_harmless(
    reports: list[tuple[Case, dict[str, Any]]],
) -> None:
    assert len({(case.kind, case.name) for case, _ in reports}) == len(reports) > 400
    assert [(case.kind, case.name, r["wrong"]) for case, r in reports if r["wrong"]] == []
    refused = Counter(case.kind for case, report in reports if report["outcome"] == "refused")
    assert refused["truncation"] == 9  # all but a graph that the other precision does without
    assert refused["graph"] > 45


@pytest.mark.slow
def test_none_hangs_or_takes_a_gigabyte(reports: list[tuple[Case, dict[str, Any]]]) -> None:
    slow = [(case.name, r["seconds"]) for case, r in reports if r["seconds"] > MAX_SECONDS]
    large = [(case.name, r["mebibytes"]) for case, r in reports if r["mebibytes"] > MAX_MEBIBYTES]
    assert (slow, large) == ([], [])


HARMFUL = ["a loop", "expand", "router.onnx a pipe", "split 0", "nested"]


@pytest.mark.parametrize("name", HARMFUL)
def test_the_command_ends_with_one_line_and_code_2(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = next(case for case in cases() if case.name == name and case.kind != "head")
    base_router(tmp_path / "router")
    case.apply(tmp_path / "router")
    prompts, target = tmp_path / "prompts.jsonl", tmp_path / "o.jsonl"
    prompts.write_text('{"query": "one two"}\n')
    files = ("--router", tmp_path / "router", "--input", prompts, "--output", target)
    arguments = [*map(str, files), "--workers", "1"]
    assert run(Options, route.main, "route", "", arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not target.exists()
