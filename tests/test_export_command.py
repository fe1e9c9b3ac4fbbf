"""`python -m zooter_lite.export` as a user drives it, and how it fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.conftest import Command
from tests.helpers import toy_config, toy_head, toy_router
from tests.test_fit import digest, write_planted
from tests.tiny_encoders import DIM, save_tiny
from zooter_lite import Router, export
from zooter_lite.cli import run
from zooter_lite.encode.load import load_encoder
from zooter_lite.onnx import graphs, parity
from zooter_lite.onnx.graphs import export_graphs
from zooter_lite.onnx.text import one_file as text
from zooter_lite.router.directory.store import write_router
from zooter_lite.router.runtime import Precision
from zooter_lite.table import read_table

PROMPTS = ["What is 17 * 23?", "", "请写一个函数 😀", "ÉCOLE naïve [SEP] x", "word " * 400, "\t"]
Failing = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a tiny encoder, and a router of both that holds fp32 alone."""
    folder = tmp_path_factory.mktemp("tiny")
    write_planted(folder / "table.csv")
    save_tiny(folder / "encoder", "mean")
    save_tiny(folder / "other", "cls")
    table = read_table(str(folder / "table.csv"))
    train = table.take(table.rows("train"))
    encoder = load_encoder(str(folder / "encoder"), folder / "cache")
    head = toy_head("prior", dim=DIM, n_experts=2)
    exports = export_graphs(encoder, head, train, ["fp32"], folder / "cache")
    config = toy_config(head, table.experts)
    config = replace(config, encoder=encoder.spec)
    # no parity and no model card: what an export meets in a router of somebody's own making
    write_router(folder / "router", config, exports.files, head)
    return folder


@pytest.fixture
def tiny(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "router", tmp_path / "router")
    return tmp_path / "router"


def called(made: Path, router: Path, *options: object) -> int:
    """Run the command in this process on the table of `made`; return its exit code."""
    given = ("--router", router, "--data", made / "table.csv", "--cache", made / "cache", *options)
    return run(export.Options, export.main, "export", "", [str(word) for word in given])


@pytest.fixture
def refused(made: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> Failing:
    """Run the command; it must end with exit code 2, one line, and the router as it was."""

    def refused(*options: object, router: Path = tiny) -> str:
        before = digest(router) if router.exists() else {}
        capsys.readouterr()
        assert called(made, router, *options) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        assert (digest(router) if router.exists() else {}) == before
        return printed.err

    return refused


def copied(router: Path, target: Path) -> Path:
    shutil.copytree(router, target)
    return target


def test_the_sample_exported_again_gives_every_byte_again(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    router = copied(router_path, tmp_path / "router")
    done = command("export", "--router", router)
    assert done.returncode == 0, done.stderr
    assert digest(router) == digest(router_path)
    lines = done.stdout.splitlines()
    assert lines[0] == f"router: {router}"
    assert lines[1].startswith("  fp32 against torch on 256 training queries: ")
    assert lines[2].startswith("  int8 against fp32 on 1024 training queries: ")
    assert [path.name for path in tmp_path.iterdir()] == ["router"]


def test_text_adds_one_file_that_plain_onnxruntime_runs(
    command: Command, router_path: Path, tmp_path: Path
) -> None:
    path = copied(router_path, tmp_path / "router")
    done = command("export", "--router", path, "--text")
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(
        path / "router.text.onnx", providers=["CPUExecutionProvider"]
    )
    found = session.run(["probs", "embedding"], {"query": np.asarray(PROMPTS, dtype=object)})
    router = Router.load(path)
    for values, expected in zip(found, router.embed(PROMPTS), strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-5)
    # the figures, in config.json, in the model card, and on the terminal
    figures = router.config.parity.text
    assert figures is not None
    assert figures.queries == 500
    assert figures.changed_tokens == figures.changed_decisions == 0
    assert 0 < figures.max_difference < 1e-5
    line = (
        "router.text.onnx against router.onnx on 500 prompts: other tokens for 0.00%, 0.00% of "
        f"the decisions changed, largest difference of a probability "
        f"{figures.max_difference:.1e}"
    )
    card = (path / "README.md").read_text("utf-8")
    old = (router_path / "README.md").read_text("utf-8")
    assert done.stdout.endswith(f"  {line}\n")
    assert card.replace(f"- {line}\n", "") == old
    before, after = digest(router_path), digest(path)
    assert {name for name in after if after[name] != before.get(name)} == {
        *("README.md", "config.json", "router.text.onnx")
    }
    assert set(before) <= set(after)


@pytest.mark.parametrize(("precision", "most"), [("int8", 0.2), ("fp16", 1e-3)])
def test_a_smaller_graph_is_added_and_the_rest_stays(
    made: Path, tiny: Path, precision: Precision, most: float
) -> None:
    before = digest(tiny)
    assert called(made, tiny, "--precision", precision) == 0
    after = digest(tiny)
    assert set(after) - set(before) == {f"router.{precision}.onnx"}
    assert {name for name in before if after[name] != before[name]} == {"config.json"}
    queries = read_table(str(made / "table.csv")).queries
    fp32, small = Router.load(tiny), Router.load(tiny, precision)
    difference = np.abs(small.predict_proba(queries) - fp32.predict_proba(queries)).max()
    figures = getattr(small.config.parity, precision)
    assert figures.queries == 90  # the rows of train
    assert 0 < figures.max_difference <= difference + 1e-5
    assert difference < most
    assert small.config.parity.fp32 is not None
    assert small.config.parity.fp32.max_difference < 1e-4
    assert called(made, tiny, "--precision", "fp32") == 0  # which leaves the others as they are
    assert getattr(Router.load(tiny, precision).config.parity, precision) == figures


def test_a_table_without_splits_is_held_out_as_at_the_fit(made: Path, tiny: Path) -> None:
    write_planted(tiny.parent / "plain.csv", split=False)
    table = read_table(str(tiny.parent / "plain.csv"))
    for share in (0.2, 0.5):
        options = ("--data", tiny.parent / "plain.csv", "--precision", "fp32", "--hold-out", share)
        assert called(made, tiny, *options) == 0
        rows = len(table.hold_out(share).rows("train"))
        assert rows < len(table)
        fp32 = Router.load(tiny).config.parity.fp32
        assert fp32 is not None
        assert fp32.queries == rows


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--precision", "fp8"), "--precision 'fp8': expected some of fp32, int8, fp16"),
        (("--data", ""), "no column 'reward:sums'; the router chooses among 'sums', 'words'"),
        (("--encoder", "OTHER"), "has other files than the one the router was fitted on"),
    ],
)
def test_bad_options_are_one_line(
    made: Path, refused: Failing, options: Sequence[str], expected: str
) -> None:
    assert expected in refused(*[made / "other" if o == "OTHER" else o for o in options])


def test_no_router_and_no_train_rows(refused: Failing, tmp_path: Path) -> None:
    assert "no such router directory" in refused(router=tmp_path / "nowhere")
    rows = "query,reward:sums,reward:words,split\nAdd 1 and 2,1,0,test\nSing a song,0,1,test\n"
    (tmp_path / "test.csv").write_text(rows, "utf-8")
    message = refused("--data", tmp_path / "test.csv")
    assert "test.csv: no row has the split 'train'" in message


def test_a_tokenizer_that_no_graph_expresses(refused: Failing, tmp_path: Path) -> None:
    toy_router(tmp_path / "toy")
    assert "WordLevel, expected WordPiece" in refused("--text", router=tmp_path / "toy")


def test_a_breach_of_parity_writes_nothing(
    refused: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:

    def strict(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:  # for int8 alone
            patch.setattr(parity, "MAX_LOST", -1.0)  # no graph gains a hundredth of the range
            return parity.check_smaller(*arguments)

    monkeypatch.setattr(graphs, "check_smaller", strict)
    assert "router.int8.onnx loses" in refused("--precision", "int8")
    monkeypatch.setattr(parity, "MAX_DIFFERENCE", -1.0)
    monkeypatch.setattr(text, "MAX_DIFFERENCE", -1.0)
    message = refused("--precision", "fp32")
    assert "router.onnx differs from its reference by" in message
    assert "(allowed: -1e+00)" in message
    assert "router.text.onnx has other tokens than router.onnx for 0.00%" in refused("--text")
