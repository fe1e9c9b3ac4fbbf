"""`python -m zooter_lite.evaluate` as a user drives it, and how it fails."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Command
from tests.test_fit import write_planted
from zooter_lite import Router
from zooter_lite.data import read_table, sample_path, write_table


def test_evaluate_agrees_with_the_report_of_the_fit(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    done = command("evaluate", "--router", router_path, "--data", sample_path(), "--json", out)
    assert done.returncode == 0, done.stderr
    at_fit = json.loads((router_path / "report.json").read_text("utf-8"))["comparisons"]
    now = json.loads(out.read_text("utf-8"))["comparisons"]
    assert [c["split"] for c in now] == [c["split"] for c in at_fit] == ["shift", "test"]
    for before, after in zip(at_fit, now, strict=True):
        for first, second in zip(before["methods"], after["methods"], strict=True):
            assert first["name"] == second["name"]
            assert second["micro"]["value"] == pytest.approx(first["micro"]["value"], abs=3e-3)
            assert second["macro"]["low"] == pytest.approx(first["macro"]["low"], abs=5e-3)
    assert "beats the best single expert (calculator)" in done.stdout


@pytest.mark.parametrize("precision", ["int8", "auto"])
def test_the_precision_is_what_is_evaluated_and_stated(
    command: Command, router_path: Path, tmp_path: Path, precision: Any
) -> None:
    out = tmp_path / "report.json"
    options = ("--data", sample_path(), "--split", "shift", "--json", out)
    done = command("evaluate", "--router", router_path, *options, "--precision", precision)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text("utf-8"))
    assert found["precision"] == precision
    # the same mean from the library, by hand
    table = read_table(sample_path())
    shift = table.take(table.rows("shift"))
    router = Router.load(router_path, precision)
    means = [
        shift.rewards[row, shift.experts.index(decision.expert)]
        for row, decision in enumerate(router.route(shift.queries))
    ]
    router_score = found["comparisons"][0]["methods"][0]
    assert router_score["name"] == "router"
    assert router_score["micro"]["value"] == pytest.approx(float(np.mean(means)))
    # shares are over train and shift, which are both computed
    first = done.stdout.splitlines()[0]
    assert first.startswith(f"router: {router_path}, {precision}")
    assert bool(re.search(r"with \d+\.\d% of the queries answered again in fp32", first)) == (
        precision == "auto"
    )


@pytest.mark.parametrize("precision", ["int8", "auto"])
def test_queries_of_the_fit_are_told_in_every_precision(
    command: Command, router_path: Path, tmp_path: Path, precision: str
) -> None:
    table = read_table(sample_path())
    kept = np.sort(np.concatenate([table.rows("train")[:150], table.rows("test")[:80]]))
    write_table(replace(table.take(kept), splits=None), str(tmp_path / "mixed.jsonl"))
    options = ("--data", tmp_path / "mixed.jsonl", "--precision", precision)
    done = command("evaluate", "--router", router_path, *options)
    assert done.returncode == 0, done.stderr
    assert "150 of 230 queries are among those the router was fitted on" in done.stdout
    assert "split all: 80 queries" in done.stdout


def test_one_split_some_subsets_and_no_training_rows(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    table = read_table(sample_path())
    test = replace(table.take(table.rows("test")), splits=None)
    write_table(test, str(tmp_path / "test.jsonl"))
    done = command(
        "evaluate", "--router", router_path, "--data", tmp_path / "test.jsonl",
        "--subsets", "units,dates",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = sum(subset in ("units", "dates") for subset in test.subsets)
    assert f"split all: {rows} queries, 2 subsets" in done.stdout
    assert "best single on train (calculator)" in done.stdout
    assert "kNN" not in done.stdout  # it would need training rows


def test_a_router_that_is_no_better_is_said_so(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    table = read_table(sample_path())
    arithmetic = [i for i in table.rows("test") if table.subsets[i] in ("algebra", "calculus")]
    write_table(table.take(arithmetic), str(tmp_path / "maths.csv"))
    done = command("evaluate", "--router", router_path, "--data", tmp_path / "maths.csv")
    assert done.returncode == 0, done.stderr
    assert "does NOT reliably beat the best single expert (calculator)" in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--split", "validation"), "no row has the split 'validation'; found shift, test, train"),
        (("--subsets", "cooking"), "has no subset ['cooking']"),
        (("--data", "missing.parquet"), "missing.parquet: no such file"),
        (("--router", "missing"), "missing: no such router directory"),
        (("--seed", "-1"), "--seed -1"),
        (("--json", "no/such/folder/r.json"), "no/such/folder/r.json: cannot write"),
    ],
)
def test_bad_input_is_one_line(
    command: Command, router_path: Path, options: tuple[str, ...], expected: str
) -> None:
    given = {"--router": str(router_path), "--data": sample_path()}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    done = command("evaluate", *[word for pair in given.items() for word in pair])
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def test_a_table_of_other_experts_is_refused(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("query,reward:a,reward:b\nhi,1,0\n", "utf-8")
    done = command("evaluate", "--router", router_path, "--data", tmp_path / "t.csv")
    assert done.returncode == 2
    assert "no column 'reward:calculator'" in done.stderr


def test_queries_of_the_fit_are_not_evaluated_in_a_table_without_splits(
    command: Command, tmp_path: Path
) -> None:
    write_planted(tmp_path / "planted.csv", split=False)
    options = ("--data", tmp_path / "planted.csv")
    fitted = command("fit", *options, "--out", tmp_path / "r")
    assert fitted.returncode == 0, fitted.stderr
    held_out = next(line for line in fitted.stdout.splitlines() if line.startswith("split test: "))
    done = command("evaluate", "--router", tmp_path / "r", *options)
    assert done.returncode == 0, done.stderr
    rows = int(held_out.split()[2])
    assert f"{120 - rows} of 120 queries are among those the router was fitted on" in done.stdout
    assert f"split all: {rows} queries" in done.stdout
