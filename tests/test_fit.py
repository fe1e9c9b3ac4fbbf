"""`python -m zooter_lite.fit` as a user drives it, and how it fails."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Call, Command
from zooter_lite import Router, RouterError
from zooter_lite.onnx import graphs, parity
from zooter_lite.table import read_table, sample_path

COLOURS = ("red", "blue", "green", "amber", "white", "black", "violet", "grey", "pink", "teal")


def write_planted(path: Path, rows: int = 60, split: bool = True) -> None:
    """Write a table in which expert `sums` is right on sums and `words` on words."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["query", "reward:sums", "reward:words"] + (["split"] if split else []))
        for i in range(rows):
            colour = COLOURS[i % len(COLOURS)]
            held = ["test" if i % 4 == 0 else "train"] if split else []
            writer.writerow([f"What is {i} plus {i * 7 + 3}?", 1, 0, *held])
            writer.writerow([f"Write a poem, number {i}, about {colour} flowers.", 0, 1, *held])


def digest(path: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(path.iterdir())}


def test_the_sample_is_fitted_reported_and_routed(fitted: tuple[Path, str]) -> None:
    path, printed = fitted
    table = read_table(sample_path())
    assert f"{len(table)} queries" in printed
    assert "chosen of" in printed
    assert "one standard error" in printed or "the best of all" in printed
    assert str(path) in printed
    report = json.loads((path / "report.json").read_text("utf-8"))
    assert {one["split"] for one in report["slices"]} == {"test", "shift"}
    test = next(one for one in report["slices"] if one["split"] == "test")
    scores = {system["name"]: system["micro"]["value"] for system in test["systems"]}

    # the same mean, from the router itself and the table, by hand
    rows = table.rows("test")
    router = Router.load(path)
    decisions = router.route([table.queries[i] for i in rows])
    rewards = [
        table.rewards[row, table.experts.index(decision.expert)]
        for row, decision in zip(rows, decisions, strict=True)
    ]
    assert scores["router"] == pytest.approx(float(np.mean(rewards)), abs=2e-3)
    assert scores["oracle"] == pytest.approx(float(table.rewards[rows].max(axis=1).mean()))
    assert scores["random"] == pytest.approx(float(table.rewards[rows].mean()))
    assert scores["router"] > scores["best single on train"] + 0.3
    assert f"{100 * scores['router']:.2f}" in printed
    assert f"{100 * scores['router']:.2f}" in (path / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_two_fits_give_the_same_bytes(
    command: Command, fitted: tuple[Path, str], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    done = command("fit", "--out", again, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert digest(again) == digest(fitted[0])


PROMPTS = ["What is 1000 plus 41?", "Write a poem, number 99, about orange flowers."]


def test_options_of_the_head_reach_the_router(call: Call, tmp_path: Path) -> None:
    write_planted(tmp_path / "planted.csv", split=False)
    options = ("--head", "mlp", "--kl", "router-label", "--labels", "hard", "--tags", "none")
    files = ("--data", tmp_path / "planted.csv", "--out", tmp_path / "r")
    code, out, err = call("fit", *files, *options)
    assert code == 0, err
    assert "20% of the queries are held out as 'test'" in out
    report = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    router = report["slices"][0]["systems"][0]
    assert (router["name"], router["micro"]["value"]) == ("router", 1.0)
    config = Router.load(tmp_path / "r").config
    assert (config.head.kind, config.labels.direction) == ("mlp", "router-label")
    assert not (tmp_path / "r" / "tags.faiss").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--data", "nowhere.csv"), "nowhere.csv"),
        (("--beta", "1.5"), "--beta 1.5: expected a number from 0 to 1"),
        (("--temperature", "0"), "--temperature 0.0"),
        (("--folds", "1"), "--folds 1: expected a number from 2 to 100"),
        (("--jobs", "0"), "--jobs 0"),
        (("--encoder", "./no-such-encoder"), "encoder './no-such-encoder': no such folder"),
        (("--tags", "given", "--data", "{folder}/planted.csv"), "the table has no column 'tags'"),
        (("--data", "{folder}/bad.csv"), "bad.csv, line 2, column 'reward:b': 'n/a' is not a"),
        (("--data", "{folder}/log.csv"), "log.csv, line 2, column 'propensity': 1.5 is no chance"),
        (("--out", "{folder}"), "not overwritten"),
    ],
)
def test_bad_options_are_one_line_and_the_old_router_stays(
    call: Call, own_toy: Path, options: tuple[str, ...], expected: str
) -> None:
    folder, before = own_toy.parent, digest(own_toy)
    write_planted(folder / "planted.csv")
    (folder / "bad.csv").write_text("query,reward:a,reward:b\nhi,1,n/a\n", "utf-8")
    (folder / "log.csv").write_text("query,reward:a,reward:b,propensity\nhi,1,,1.5\n", "utf-8")
    files = {file.name for file in folder.iterdir()}
    code, _, err = call("fit", "--out", own_toy, *(word.format(folder=folder) for word in options))
    assert (code, err.startswith("error: "), err.count("\n")) == (2, True, 1)
    assert expected in err
    assert {file.name for file in folder.iterdir()} == files
    assert digest(own_toy) == before


def test_a_smaller_graph_that_loses_too_much_is_left_out_and_said_so(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_planted(tmp_path / "planted.csv")
    files = ("--data", tmp_path / "planted.csv", "--out", tmp_path / "r")
    words = ("fit", *files, "--tags", "none", "--precision", "fp32,int8,fp16")
    assert call(*words)[0] == 0
    assert {"router.int8.onnx", "router.fp16.onnx"} <= set(digest(tmp_path / "r"))

    def strict(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:  # for these alone
            patch.setattr(parity, "MAX_LOST", -1.0)  # no graph gains a hundredth of the range
            return parity.check_smaller(*arguments)

    monkeypatch.setattr(graphs, "check_smaller", strict)
    monkeypatch.setattr(graphs, "SPARED", ())  # tests/test_assemble.py tries them
    code, out, err = call(*words)
    assert code == 0, err
    for name in ("int8", "fp16"):
        assert f"  no {name} graph: router.{name}.onnx loses 0.00 points of expected" in out
        assert f"router.{name}.onnx" not in digest(tmp_path / "r")  # the old router's went with it
    assert "int8 against" not in (tmp_path / "r" / "README.md").read_text("utf-8")
    assert Router.load(tmp_path / "r").config.parity.int8 is None
    with pytest.raises(RouterError, match=r"no router\.int8\.onnx"):
        Router.load(tmp_path / "r", "int8")


def test_tuning_tells_what_it_gained(call: Call, tmp_path: Path) -> None:
    write_planted(tmp_path / "planted.csv")
    data = ("--data", tmp_path / "planted.csv", "--out", tmp_path / "r", "--precision", "fp32")
    code, out, err = call("fit", *data, "--tune")
    assert code == 0, err
    assert "tuning gained 0.00 (standard error 0.00) out of fold" in out
    assert "chosen of" in out
