"""`python -m zooter_lite.evaluate` as a user drives it, and how it fails."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Command
from tests.test_fit import write_planted
from zooter_lite import Router
from zooter_lite.errors import MissingPackageError
from zooter_lite.evaluate import Options, main
from zooter_lite.table import read_table, sample_path, write_table


def test_evaluate_agrees_with_the_report_of_the_fit(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    done = command("evaluate", "--router", router_path, "--data", sample_path(), "--json", out)
    assert done.returncode == 0, done.stderr
    at_fit = json.loads((router_path / "report.json").read_text("utf-8"))["slices"]
    now = json.loads(out.read_text("utf-8"))["slices"]
    assert [c["split"] for c in now] == [c["split"] for c in at_fit] == ["shift", "test"]
    for before, after in zip(at_fit, now, strict=True):
        assert set(before) == set(after)
        for first, second in zip(before["systems"], after["systems"], strict=True):
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
    assert found["made"]["precision"] == precision
    # the same mean from the library, by hand
    table = read_table(sample_path())
    shift = table.take(table.rows("shift"))
    router = Router.load(router_path, precision)
    means = [
        shift.rewards[row, shift.experts.index(decision.expert)]
        for row, decision in enumerate(router.route(shift.queries))
    ]
    router_score = found["slices"][0]["systems"][0]
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
        (("--subsets", "cooking"), "split 'shift' has no subset 'cooking'; found "),
        (("--data", "missing.parquet"), "missing.parquet: no such file"),
        (("--router", "missing"), "missing: no such router directory"),
        (("--seed", "-1"), "--seed -1"),
        (("--json", "no/such/folder/r.json"), "no/such/folder/r.json: cannot write"),
        (("--report", "no/such/folder/r.html"), "no/such/folder/r.html: cannot write"),
        (("--also", "missing"), "missing: no such router directory"),
        (("--data", ""), "--data: expected --router and --data, or --suite"),
        (("--router", ""), "--router: expected --router and --data, or --suite"),
        (("--suite", "s.toml"), "--router with --suite: the suite file names it for each table"),
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


def small_sample(folder: Path) -> tuple[str, str]:
    """Write a part of the bundled sample with costs, and a suite file over it; their paths."""
    table = read_table(sample_path())
    random = np.random.default_rng(0)
    sizes = {"train": 240, "test": 60, "shift": 30}
    drawn = [random.permutation(table.rows(split))[:size] for split, size in sizes.items()]
    rows = np.sort(np.concatenate(drawn))
    part = table.take(rows)
    costs = np.tile(np.arange(1, len(part.experts) + 1, dtype=np.float32), (len(part), 1))
    write_table(replace(part, costs=costs), str(folder / "part.jsonl"))
    return str(folder / "part.jsonl"), str(folder / "suite.toml")


SUITE = """
[[table]]
name = "pocket"
data = "part.jsonl"
router = "{router}"
groups = {{ maths = ["algebra", "arithmetic"] }}
splits = ["test", "shift"]

[[table]]
name = "again"
data = "part.jsonl"
router = "{router}"
splits = [{{ split = "test", leave_out = ["arithmetic"] }}]
"""


@pytest.mark.slow
def test_a_suite_ends_in_one_report(command: Command, router_path: Path, tmp_path: Path) -> None:
    _, suite = small_sample(tmp_path)
    Path(suite).write_text(SUITE.format(router=router_path), "utf-8")
    out = tmp_path / "report.json"
    done = command("evaluate", "--suite", suite, "--json", out, "--robustness", "--seed", "3")
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text("utf-8"))
    assert report["format"] == 1
    assert report["made"]["command"] == (
        "python -m zooter_lite.evaluate --suite suite.toml --json report.json --robustness --seed 3"
    )
    assert report["made"]["routers"] == {"pocket": router_path.name, "again": router_path.name}
    names = ["pocket test", "pocket shift", "again test"]
    assert [one["name"] for one in report["slices"]] == names
    first, shift, again = report["slices"]
    assert "arithmetic" in first["subset_rows"]
    assert set(first["subset_rows"]) - set(again["subset_rows"]) == {"arithmetic"}
    assert first["groups"] == {"algebra": "maths", "arithmetic": "maths"}
    rivals = ["logistic regression", "MLP", "ridge per expert", "SVM (RBF)", "k-means clusters",
              "matrix factorisation", "RouterDC head"]  # fmt: skip
    assert [s["name"] for s in first["systems"]][:11] == [
        "router", "best single on train", "best per subset on train", "kNN", *rivals,
    ]  # fmt: skip
    for one in report["slices"]:
        scores = {s["name"]: s["micro"]["value"] for s in one["systems"]}
        assert max(scores.values()) == scores["oracle"]
        assert one["costs"]["unit"] == "the table's unit"
        assert len(one["robustness"]) == 7
        assert one["regret"]["mean"]["value"] == pytest.approx(
            scores["oracle"] - scores["router"], abs=1e-6
        )
        # each of these learned something of 240 rows
        if one is not shift:
            assert all(scores[name] > scores["random"] + 0.1 for name in rivals)
    ranked = report["ranking"]
    assert ranked["subsets"] == sum(len(one["subset_rows"]) for one in report["slices"])
    assert [s["name"] for s in ranked["systems"]][:2] == ["router", "best single on train"]
    mtr = [s["mtr"]["value"] for s in ranked["systems"]]
    assert np.mean(mtr) == pytest.approx((len(mtr) + 1) / 2)  # ranks of each task add up
    assert "split test: 60 queries" in done.stdout
    assert f"{ranked['subsets']} subsets of pocket test, pocket shift, again test" in done.stdout
    assert "MTR by group: maths" in done.stdout
    assert report["ablations"] is None


@pytest.mark.slow
def test_ablations_and_the_learning_curve(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    data, _ = small_sample(tmp_path)
    out = tmp_path / "report.json"
    done = command(
        "evaluate", "--router", router_path, "--data", data, "--json", out, "--ablations",
        "--also", router_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text("utf-8"))
    assert set(report["ablations"]) == {"beta", "labels", "kl", "encoder"}
    slices = {one["name"]: one for one in report["slices"]}
    for rows in report["ablations"].values():
        for row in rows:
            assert set(row["values"]) == set(slices)
    encoders = {row["label"]: row["values"] for row in report["ablations"]["encoder"]}
    assert list(encoders) == [
        "all-MiniLM-L6-v2 (router)", f"all-MiniLM-L6-v2 (router {router_path.name})",
    ]  # fmt: skip
    for name, one in slices.items():
        by_name = {s["name"]: s["micro"]["value"] for s in one["systems"]}
        assert by_name[f"router {router_path.name}"] == by_name["router"]
        for values in encoders.values():
            assert values[name]["micro"]["value"] == pytest.approx(by_name["router"])
        assert [point["rows"] for point in report["learning_curve"][name]] == [24, 60, 120, 240]
    test = [point["micro"]["value"] for point in report["learning_curve"]["part test"]]
    assert test[-1] > test[0] + 0.1
    soft = next(r for r in report["ablations"]["labels"] if r["label"] == "soft")
    assert soft["values"]["part test"]["micro"]["value"] > test[0]


def test_the_card_is_rewritten_from_the_evaluation(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    data, _ = small_sample(tmp_path)
    shutil.copytree(router_path, tmp_path / "r")
    before = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    done = command("evaluate", "--router", tmp_path / "r", "--data", data, "--card")
    assert done.returncode == 0, done.stderr
    after = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    assert [one["rows"] for one in after["slices"]] == [30, 60]
    assert {k: after[k] for k in ("command", "options", "cross_validation")} == {
        k: before[k] for k in ("command", "options", "cross_validation")
    }
    assert after["evaluated_by"].endswith("--router r --data part.jsonl --card")
    card = (tmp_path / "r" / "README.md").read_text("utf-8")
    assert after["slices"][1]["verdict"] in card
    assert before["slices"][1]["verdict"] not in card
    assert "## Precision" in card
    router = Router.load(tmp_path / "r")  # the directory is whole
    assert len(router.experts) == 10
    text = (tmp_path / "r" / "report.json").read_text("utf-8") + card
    table = read_table(data)
    assert not any(query in text for query in table.queries)
    assert [row["query"] for row in after["slices"][1]["regret"]["worst"]][:1] == [None]


def test_no_rivals_without_a_report_unless_asked_for(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    data, suite = small_sample(tmp_path)
    plain = command("evaluate", "--router", router_path, "--data", data)
    assert "RouterDC" not in plain.stdout
    Path(suite).write_text(SUITE.format(router=router_path), "utf-8")
    off = command("evaluate", "--suite", suite, "--rivals", "off")
    assert off.returncode == 0, off.stderr
    assert "RouterDC" not in off.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[table]]", "table 1: name: expected a text"),
        ('[[table]]\nname = "a"\ndata = "none.csv"\nrouter = "{router}"', "none.csv"),
        ('[[table]]\nname = "a"\ndata = "part.jsonl"\nrouter = "no"', "no such router directory"),
        (
            '[[table]]\nname = "a"\ndata = "part.jsonl"\nrouter = "{router}"\n'
            'groups = {{ g = ["cooking"] }}',
            "no subset 'cooking', which group 'g' names",
        ),
        (
            '[[table]]\nname = "a"\ndata = "part.jsonl"\nrouter = "{router}"\nsplits = ["dev"]',
            "no row has the split 'dev'; found shift, test, train",
        ),
    ],
)
def test_a_bad_suite_is_one_line(
    command: Command, router_path: Path, tmp_path: Path, text: str, expected: str
) -> None:
    _, suite = small_sample(tmp_path)
    Path(suite).write_text(text.format(router=router_path), "utf-8")
    done = command("evaluate", "--suite", suite)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def test_ablations_need_training_rows(command: Command, router_path: Path, tmp_path: Path) -> None:
    table = read_table(sample_path())
    write_table(table.take(table.rows("test")[:40]), str(tmp_path / "test.jsonl"))
    options = ("--data", tmp_path / "test.jsonl", "--ablations")
    done = command("evaluate", "--router", router_path, *options)
    assert done.returncode == 2
    assert "no row has the split 'train', which --ablations fit on" in done.stderr


def test_a_report_without_its_packages_is_refused_at_once(
    router_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zooter_lite.evaluate.find_spec", lambda name: None)
    options = Options(
        router=str(router_path), data=sample_path(), report=str(tmp_path / "report.html")
    )
    with pytest.raises(MissingPackageError, match=r"zooter-lite\[report\]"):
        main(options)


@pytest.mark.slow
def test_the_report_is_one_page(command: Command, router_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    data, _ = small_sample(tmp_path)
    out = tmp_path / "report.html"
    options = ("--data", data, "--report", out, "--rivals", "off")
    done = command("evaluate", "--router", router_path, *options)
    assert done.returncode == 0, done.stderr
    page = out.read_text("utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "part test" in page
    assert f"report: {out}" in done.stdout
