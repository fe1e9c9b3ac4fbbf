"""The Python API: frames in, routers and reports out; every option of a fit reaches its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.test_fit import PROMPTS, write_planted
from zooter_lite import DataError, Recipe, Router, evaluate_router, fit, fit_router
from zooter_lite.cli import parse

OTHER: dict[str, Any] = {  # for every field of Recipe a value that is not the default
    "encoder": "./other", "prompt": "query: ", "precision": "fp32", "finetune": 2,
    "layers": 2, "head": "linear", "tags": "auto", "domains": False, "labels": "hard",
    "kl": "router-label",
    "temperature": 0.5, "beta": 0.3, "l2": 0.1, "folds": 3, "hold_out": 0.4, "drop_leaks": True,
    "keep_queries": True, "long": "m,r", "separator": ";", "seed": 7, "jobs": 1,
    "cache": "somewhere", "add": "new.csv", "without": "ant", "rename": "ant=bee", "tune": True,
    "point": "match", "give": 3.5, "prices": "pool.toml", "context": "user",
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe)])
def test_every_option_of_the_command_reaches_the_api(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(fit, "fit_router", lambda table, out, **given: calls.append(given))
    value = OTHER[name]
    word = f"--{name.replace('_', '-')}"
    words = ["--no-domains"] if name == "domains" else [word] if value is True else [word, value]
    fit.main(parse(fit.Options, "fit", "", [str(part) for part in words]))
    (given,) = calls
    given.pop("say")
    assert given == asdict(Recipe()) | {name: value}


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("api") / "planted.csv"
    write_planted(path)
    return pd.read_csv(path)


Fit = Callable[..., tuple[Router, list[str]]]


@pytest.fixture
def fitting(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """Fit in this process, with the cache of the whole run; the router and what was said."""

    def call(table: Any, out: str = "r", **options: Any) -> tuple[Router, list[str]]:
        said: list[str] = []
        options = {"cache": str(cache), "tags": "none", "precision": "fp32"} | options
        return fit_router(table, tmp_path / out, say=said.append, **options), said

    return call


def test_a_frame_is_fitted_routed_and_evaluated(
    fitting: Fit, frame: pd.DataFrame, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    router, said = fitting(frame)
    assert [decision.expert for decision in router.route(PROMPTS)] == ["sums", "words"]
    assert capsys.readouterr().out == ""
    report = evaluate_router(router, frame)
    assert report.slices["test"].router.micro.mean == 1.0
    assert report.slices["test"].verdict.pays
    assert report.slices["test"].verdict.text in "\n".join(said)
    assert "<svg" in report._repr_html_() or "<img" in report._repr_html_()
    assert router.config.experts == ("sums", "words")
    page = router._repr_html_()
    assert "sums" in page
    assert f"test: {escape(report.slices['test'].verdict.text)}" in page
    report.save(tmp_path / "report.html")
    assert escape(report.slices["test"].verdict.text) in (tmp_path / "report.html").read_text()
    assert json.loads(json.dumps(report.to_dict()))["slices"]
    card = (tmp_path / "r" / "README.md").read_text("utf-8")
    assert "fit_router(table, precision='fp32', tags='none')" in card


def test_options_that_are_not_of_the_head_have_their_effect(
    fitting: Fit, frame: pd.DataFrame, tiny: Path, tmp_path: Path
) -> None:
    fixed: dict[str, Any] = {"temperature": 1.0, "beta": 1.0, "l2": 0.1, "head": "linear"}
    fixed["encoder"] = str(tiny)
    router, _ = fitting(frame, prompt="query: ", **fixed)
    assert router.config.encoder.prompt == "query: "
    router, said = fitting(frame.drop(columns="split"), hold_out=0.4, **fixed)
    assert "40% of the queries are held out" in said[0]
    leaking = pd.concat([frame, frame[frame.split == "train"].head(1).assign(split="test")])
    for drop, rows, word in ((False, 31, "(kept"), (True, 30, "(dropped)")):
        printed = "\n".join(fitting(leaking, drop_leaks=drop, **fixed)[1])
        assert "1 evaluated rows have a query that also stands in train " + word in printed
        assert f"split test: {rows} queries" in printed
    costly = frame.assign(**{"cost:sums": 1.0, "cost:words": 3.0})
    router, _ = fitting(costly, **fixed)
    assert router.config.training.mean_costs == (1.0, 3.0)
    fitting(frame, tags="auto", keep_queries=True, encoder=str(tiny))
    assert "What is 1 plus 10?" in (tmp_path / "r" / "queries.json").read_text("utf-8")
    fitting(frame, cache=str(tmp_path / "own"), **fixed)
    assert (tmp_path / "own" / "encoders").is_dir()


def test_bad_frames_and_options_are_one_line(fitting: Fit, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="'n/a' is not a number"):
        fitting(frame.assign(**{"reward:sums": "n/a"}))
    with pytest.raises(DataError, match="query"):
        fitting(frame.drop(columns="query"))
    for point in ("match", "economy"):
        with pytest.raises(DataError, match=f"--point {point}: the table has no columns"):
            fitting(frame, point=point)
    with pytest.raises(TypeError, match="fold"):
        fitting(frame, fold=5)
