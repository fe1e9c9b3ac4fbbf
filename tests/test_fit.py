"""`python -m zooter_lite.fit` as a user drives it, and how it fails."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Command
from tests.helpers import called
from zooter_lite import Router, RouterError, fit
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


def test_a_planted_table_without_splits_is_learned(command: Command, tmp_path: Path) -> None:
    write_planted(tmp_path / "planted.csv", split=False)
    done = command("fit", "--data", tmp_path / "planted.csv", "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert "20% of the queries are held out as 'test'" in done.stdout
    router = Router.load(tmp_path / "r")
    prompts = ["What is 1000 plus 41?", "Write a poem, number 99, about orange flowers."]
    assert [d.expert for d in router.route(prompts)] == ["sums", "words"]


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("kl", ["label-router", "router-label"])
def test_every_head_and_direction_learns_the_planted_table(
    command: Command, tmp_path: Path, head: str, kl: str
) -> None:
    write_planted(tmp_path / "planted.csv")
    options = ("--head", head, "--kl", kl, "--labels", "hard", "--tags", "none")
    done = command("fit", "--data", tmp_path / "planted.csv", "--out", tmp_path / "r", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    router = report["slices"][0]["systems"][0]
    assert router["name"] == "router"
    assert router["micro"]["value"] == 1.0
    config = json.loads((tmp_path / "r" / "config.json").read_text("utf-8"))
    assert config["head"]["kind"] == head
    assert not (tmp_path / "r" / "tags.faiss").exists()


def test_leaks_are_counted_and_dropped_on_request(command: Command, tmp_path: Path) -> None:
    write_planted(tmp_path / "planted.csv")
    with (tmp_path / "planted.csv").open("a", encoding="utf-8") as stream:
        stream.write("What is 1  plus 10?,1,0,test\n")
    common = ("fit", "--data", tmp_path / "planted.csv", "--head", "linear", "--tags", "none")
    kept = command(*common, "--out", tmp_path / "kept")
    dropped = command(*common, "--out", tmp_path / "dropped", "--drop-leaks")
    assert "1 evaluated rows have a query that also stands in train (kept" in kept.stdout
    assert "(dropped)" in dropped.stdout
    assert "split test: 31 queries" in kept.stdout
    assert "split test: 30 queries" in dropped.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--data", "nowhere.csv"), "nowhere.csv"),
        (("--beta", "1.5"), "--beta 1.5: expected a number from 0 to 1"),
        (("--temperature", "0"), "--temperature 0.0"),
        (("--folds", "1"), "--folds 1"),
        (("--jobs", "0"), "--jobs 0"),
        (("--encoder", "./no-such-encoder"), "encoder './no-such-encoder': no such folder"),
        (("--tags", "given", "--data", "PLANTED"), "the table has no column 'tags'"),
    ],
)
def test_bad_options_are_one_line(
    command: Command, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    write_planted(tmp_path / "planted.csv")
    named = [str(tmp_path / "planted.csv") if o == "PLANTED" else o for o in options]
    done = command("fit", "--out", tmp_path / "r", *named)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert not (tmp_path / "r").exists()


def test_an_old_router_stays_when_the_new_fit_fails(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    before = digest(router_path)
    (tmp_path / "bad.csv").write_text("query,reward:a,reward:b\nhi,1,n/a\n", "utf-8")
    done = command("fit", "--data", tmp_path / "bad.csv", "--out", router_path)
    assert done.returncode == 2
    assert "bad.csv, line 2, column 'reward:b': 'n/a' is not a number" in done.stderr
    assert digest(router_path) == before


def test_a_folder_with_other_files_is_not_overwritten(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep", "utf-8")
    done = command("fit", "--out", tmp_path)
    assert done.returncode == 2
    assert "not overwritten" in done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


def test_int8_that_loses_too_much_is_left_out_and_said_so(
    command: Command,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_planted(tmp_path / "planted.csv")
    options = ("--data", tmp_path / "planted.csv", "--out", tmp_path / "r", "--cache", cache)
    assert command("fit", *options, "--tags", "none").returncode == 0
    assert "router.int8.onnx" in digest(tmp_path / "r")

    def strict(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:  # for int8 alone
            patch.setattr(parity, "MAX_LOST", -1.0)  # no graph gains a hundredth of the range
            return parity.check_int8(*arguments)

    monkeypatch.setattr(graphs, "check_int8", strict)
    monkeypatch.setattr(graphs, "SPARED", ())  # tests/test_assemble.py tries them
    assert called(fit, *options, "--tags", "none") == 0
    assert (
        "  no int8 graph: router.int8.onnx loses 0.00 points of expected" in capsys.readouterr().out
    )
    assert "router.int8.onnx" not in digest(tmp_path / "r")  # the old router's went with it
    assert "int8 against" not in (tmp_path / "r" / "README.md").read_text("utf-8")
    assert Router.load(tmp_path / "r").config.parity.int8 is None
    for precision in ("int8", "auto"):
        with pytest.raises(RouterError, match=r"no router\.int8\.onnx"):
            Router.load(tmp_path / "r", precision)


def test_tuning_tells_what_it_gained(command: Command, tmp_path: Path) -> None:
    write_planted(tmp_path / "planted.csv")
    data = ("--data", tmp_path / "planted.csv", "--out", tmp_path / "r", "--precision", "fp32")
    done = command("fit", *data, "--tune")
    assert done.returncode == 0, done.stderr
    assert "tuning gained 0.00 (standard error 0.00) out of fold" in done.stdout
    assert "chosen of" in done.stdout


def test_a_log_of_routed_prompts_is_fitted_and_evaluated(command: Command, tmp_path: Path) -> None:
    """Every row has one reward; the log mostly sent sums to `sums`, and says so."""
    write_planted(tmp_path / "planted.csv", rows=100)
    with (tmp_path / "planted.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    random = np.random.default_rng(0)
    for row in rows:
        likely = "sums" if "plus" in row["query"] else "words"
        other = "words" if likely == "sums" else "sums"
        right = random.random() < 0.8
        row["propensity"] = 0.8 if right else 0.2
        row[f"reward:{other if right else likely}"] = ""
    log = tmp_path / "log.csv"

    def write() -> None:
        with log.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    write()
    out = ("--data", log, "--out", tmp_path / "r", "--tags", "none", "--precision", "fp32")
    done = command("fit", *out)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 pairs of experts share fewer than 30 training queries" in done.stdout
    assert "By the propensities of 50 logged choices" in done.stdout
    prompts = ["What is 1000 plus 41?", "Write a poem, number 99, about orange flowers."]
    assert [d.expert for d in Router.load(tmp_path / "r").route(prompts)] == ["sums", "words"]
    rows[3]["propensity"] = 1.5
    write()
    done = command("fit", *out)
    assert done.returncode == 2
    assert "log.csv, line 5, column 'propensity': 1.5 is no chance; expected" in done.stderr
