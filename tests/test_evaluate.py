"""`python -m zooter_lite.evaluate` as a user drives it, and how it fails; in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Call
from tests.test_routed import toy_table
from zooter_lite import Router
from zooter_lite.errors import MissingPackageError
from zooter_lite.evaluate import Options, main
from zooter_lite.table import RewardTable, sample_path, write_table

Json = dict[str, Any]


@pytest.fixture
def report_of(call: Call, tmp_path: Path) -> Callable[..., tuple[Json, str]]:
    """Run the command, which must succeed; returns the content of --json, and what it printed."""

    def evaluate(*arguments: object) -> tuple[Json, str]:
        code, out, err = call("evaluate", *arguments, "--json", tmp_path / "report.json")
        assert code == 0, err
        return json.loads((tmp_path / "report.json").read_text("utf-8")), out

    return evaluate


@pytest.fixture
def toys(toy: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A toy router and a table for it."""
    write_table(toy_table(), str(tmp_path / "toy.jsonl"))
    return toy, tmp_path / "toy.jsonl"


@pytest.fixture(scope="module")
def sample() -> RewardTable:
    return RewardTable.read(sample_path())


def test_evaluate_agrees_with_the_report_of_the_fit(router_path: Path, report_of: Any) -> None:
    report, out = report_of("--router", router_path, "--data", sample_path())
    at_fit = json.loads((router_path / "report.json").read_text("utf-8"))["slices"]
    assert [c["split"] for c in report["slices"]] == [c["split"] for c in at_fit]
    for before, after in zip(at_fit, report["slices"], strict=True):
        assert set(before) == set(after)
        for first, second in zip(before["systems"], after["systems"], strict=True):
            assert first["name"] == second["name"]
            assert second["micro"]["value"] == pytest.approx(first["micro"]["value"], abs=3e-3)
            assert second["macro"]["low"] == pytest.approx(first["macro"]["low"], abs=5e-3)
        assert before["verdict"]["outcome"] == after["verdict"]["outcome"]
    assert "beats the best single expert (calculator)" in out


def test_the_precision_is_what_is_evaluated_and_stated(
    router_path: Path, report_of: Any, sample: RewardTable
) -> None:
    options = ("--data", sample_path(), "--split", "shift", "--precision", "int8")
    report, out = report_of("--router", router_path, *options)
    assert report["made"]["precision"] == "int8"
    # the same mean from the library, by hand
    shift = sample.take(sample.rows("shift"))
    decisions = Router.load(router_path, "int8").route(shift.queries)
    places = [shift.experts.index(decision.expert) for decision in decisions]
    mean = shift.rewards[np.arange(len(shift)), places].mean()
    assert report["slices"][0]["systems"][0]["micro"]["value"] == pytest.approx(float(mean))
    assert f"router: {router_path}, int8\n" in out


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_queries_of_the_fit_are_told_in_every_precision(
    router_path: Path, report_of: Any, sample: RewardTable, tmp_path: Path, precision: str
) -> None:
    kept = np.sort(np.concatenate([sample.rows("train")[:60], sample.rows("test")[:40]]))
    write_table(replace(sample.take(kept), splits=None), str(tmp_path / "mixed.jsonl"))
    options = ("--data", tmp_path / "mixed.jsonl", "--precision", precision)
    report, out = report_of("--router", router_path, *options)
    said = "60 of 100 queries are among those the router was fitted on"
    assert said in out
    assert said in report["notes"][0]
    assert "split all: 40 queries" in out


def test_some_subsets_and_no_training_rows(
    router_path: Path, report_of: Any, sample: RewardTable, tmp_path: Path
) -> None:
    test = replace(sample.take(sample.rows("test")), splits=None)
    write_table(test, str(tmp_path / "test.jsonl"))
    options = ("--data", tmp_path / "test.jsonl", "--subsets", "units,dates")
    _, out = report_of("--router", router_path, *options)
    rows = sum(subset in ("units", "dates") for subset in test.subsets)
    assert f"split all: {rows} queries, 2 subsets" in out
    assert "best single on train (calculator)" in out
    assert "kNN" not in out  # it would need training rows


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--data", "missing.parquet"), "missing.parquet: no such file"),
        (("--router", "missing"), "missing: no such router directory"),
        (("--seed", "-1"), "--seed -1"),
        (("--report", "r.pdf"), "r.pdf: expected a name ending in .html, .htm"),
        (("--report", "no/such/folder/r.html"), "no/such/folder/r.html: no such folder"),
        (("--data", ""), "--data: expected --router and --data, or --suite"),
        (("--suite", "s.toml"), "--router with --suite: the suite file names it for each table"),
        (("--data", "{folder}/other.csv"), "no column 'reward:ant'"),
    ],
)
def test_bad_input_is_one_line(
    call: Call, toys: tuple[Path, Path], options: tuple[str, str], expected: str
) -> None:
    router, data = toys
    (data.parent / "other.csv").write_text("query,reward:a,reward:b\nhi,1,0\n", "utf-8")
    given = {"--router": str(router), "--data": str(data)}
    given[options[0]] = options[1].format(folder=data.parent)
    code, _, err = call("evaluate", *(word for pair in given.items() for word in pair))
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err


SUITE = """
[[table]]
name = "pocket"
data = "part.jsonl"
router = "{router}"
splits = ["test", "shift"]

[[table]]
name = "again"
data = "part.jsonl"
router = "{router}"
splits = [{{ split = "test", leave_out = ["arithmetic"] }}]
"""


@pytest.fixture
def part(sample: RewardTable, router_path: Path, tmp_path: Path) -> Path:
    """A part of the bundled sample with costs, and a suite file beside it."""
    random = np.random.default_rng(0)
    sizes = {"train": 240, "test": 60, "shift": 30}
    drawn = [random.permutation(sample.rows(split))[:size] for split, size in sizes.items()]
    rows = sample.take(np.sort(np.concatenate(drawn)))
    costs = np.tile(np.arange(1, len(rows.experts) + 1, dtype=np.float32), (len(rows), 1))
    write_table(replace(rows, costs=costs), str(tmp_path / "part.jsonl"))
    (tmp_path / "suite.toml").write_text(SUITE.format(router=router_path), "utf-8")
    return tmp_path / "part.jsonl"


@pytest.mark.slow
@pytest.mark.usefixtures("untuned")
def test_a_suite_ends_in_one_report(router_path: Path, report_of: Any, part: Path) -> None:
    suite = ("--suite", part.parent / "suite.toml")
    report, out = report_of(*suite, "--seed", "3")
    assert report["format"] == 1
    assert report["made"]["command"] == (
        "python -m zooter_lite.evaluate --suite suite.toml --json report.json --seed 3"
    )
    assert report["made"]["routers"] == {"pocket": router_path.name, "again": router_path.name}
    names = ["pocket test", "pocket shift", "again test"]
    assert [one["name"] for one in report["slices"]] == names
    first, shift, again = report["slices"]
    assert set(first["subset_rows"]) - set(again["subset_rows"]) == {"arithmetic"}
    rivals = ["logistic regression", "MLP", "ridge per expert", "SVM (RBF)", "k-means clusters",
              "matrix factorisation"]  # fmt: skip
    assert [s["name"] for s in first["systems"]][4:10] == rivals
    for one in report["slices"]:
        scores = {s["name"]: s["micro"]["value"] for s in one["systems"]}
        assert max(scores.values()) == scores["oracle"]
        assert one["costs"]["systems"]
        lost = scores["oracle"] - scores["router"]
        assert one["regret"]["mean"]["value"] == pytest.approx(lost, abs=1e-6)
        # each of these learned something of 240 rows
        assert one is shift or all(scores[name] > scores["random"] + 0.1 for name in rivals)
    ranked = report["ranking"]
    assert ranked["subsets"] == sum(len(one["subset_rows"]) for one in report["slices"])
    mtr = [s["mtr"]["value"] for s in ranked["systems"]]
    assert np.mean(mtr) == pytest.approx((len(mtr) + 1) / 2)  # ranks of each task add up
    assert "split test: 60 queries" in out
    assert f"{ranked['subsets']} subsets of pocket test, pocket shift, again test" in out


def test_the_card_is_rewritten_from_the_evaluation(
    router_path: Path, report_of: Any, part: Path
) -> None:
    folder = part.parent / "r"
    shutil.copytree(router_path, folder)
    before = json.loads((folder / "report.json").read_text("utf-8"))
    report_of("--router", folder, "--data", part, "--card")
    after = json.loads((folder / "report.json").read_text("utf-8"))
    assert [one["rows"] for one in after["slices"]] == [30, 60]
    for kept in ("command", "options", "cross_validation"):
        assert after[kept] == before[kept]
    assert "--router r --data part.jsonl" in after["evaluated_by"]
    card = (folder / "README.md").read_text("utf-8")
    assert after["slices"][1]["verdict"]["text"] in card
    assert before["slices"][1]["verdict"]["text"] not in card
    assert len(Router.load(folder).experts) == 10  # the directory is whole
    assert "Made by zooter-lite with `python -m zooter_lite.fit" in card
    (router,) = (s for s in after["slices"][1]["systems"] if s["name"] == "router")
    assert f">{100 * router['micro']['value']:.1f}<" in (folder / "report.svg").read_text("utf-8")


@pytest.mark.usefixtures("untuned")
def test_no_rivals_without_a_report_unless_asked_for(
    report_of: Any, toys: tuple[Path, Path]
) -> None:
    router, data = toys
    assert "ridge per expert" not in report_of("--router", router, "--data", data)[1]
    suite = data.parent / "suite.toml"
    suite.write_text(f'[[table]]\nname = "t"\ndata = "toy.jsonl"\nrouter = "{router}"', "utf-8")
    assert "ridge per expert" not in report_of("--suite", suite, "--rivals", "off")[1]
    _, page = report_of("--router", router, "--data", data, "--rivals", "on")
    assert "ridge per expert" in page


def test_the_report_is_one_page(
    call: Call, toys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    router, data = toys
    out = data.parent / "report.html"
    options = ("--router", router, "--data", data, "--report", out, "--rivals", "off")
    code, said, err = call("evaluate", *options)
    assert code == 0, err
    page = out.read_text("utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "toy test" in page
    assert f"report: {out}" in said
    monkeypatch.setattr("zooter_lite.evaluate.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"zooter-lite\[report\]"):
        main(Options(router=str(router), data=str(data), report=str(out)))
