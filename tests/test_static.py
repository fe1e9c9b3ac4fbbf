"""Static encoders: the graph against model2vec's own encode, refusals, and a fitted router."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.conftest import ROOT
from tests.tiny_encoders import TEXTS
from zooter_lite import Router, evaluate, explain, export, fit
from zooter_lite.cli import run
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import DEFAULT, EncoderError
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.static import (
    MAX_LENGTH,
    MEASURED,
    static_embeddings,
    static_graph,
)
from zooter_lite.errors import MissingPackageError
from zooter_lite.onnx.parity import reference_embeddings
from zooter_lite.table import read_table, sample_path, write_table

TINY_TEXTS = [*TEXTS, "[PAD] a [UNK]", "cab " * (MAX_LENGTH + 50), "é", "\ud800 a", "x" * 4000]


@pytest.fixture(scope="module")
def name(tiny: Path) -> str:
    """Name of the static encoder distilled from a tiny one with random weights."""
    return f"static:{tiny}"


@pytest.fixture(scope="module")
def static(name: str, cache: Path) -> Encoder:
    return load_encoder(name, cache)


def test_the_graph_sums_the_vectors_of_known_tokens() -> None:
    table = np.asarray([[9, 9], [5, 5], [3, 0], [0, 4]], dtype=np.float16)
    session = onnxruntime.InferenceSession(static_graph(table, unknown=1))
    ids = np.asarray([[2, 3, 0], [2, 1, 0], [1, 1, 1], [3, 3, 2], [2, 3, 2]])
    mask = np.asarray([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0]])
    (unit,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    expected = [[0.6, 0.8], [1, 0], [0, 0], np.asarray([3, 8]) / np.sqrt(73), [0, 0]]
    np.testing.assert_allclose(unit, expected, atol=1e-6)
    unknown_counts = onnxruntime.InferenceSession(static_graph(table, unknown=None))
    (unit,) = unknown_counts.run(None, {"input_ids": ids[2:3], "attention_mask": mask[2:3]})
    np.testing.assert_allclose(unit, [[np.sqrt(0.5)] * 2], atol=1e-6)


@pytest.mark.slow
def test_the_graph_equals_model2vec_for_each_text_in_any_batch(
    static: Encoder, cache: Path
) -> None:
    session = static.session()
    (units,) = session.run(TINY_TEXTS, ["unit"])
    np.testing.assert_allclose(units, static_embeddings(static, TINY_TEXTS), atol=1e-6)
    np.testing.assert_allclose(
        reference_embeddings(static, ["a cab"], cache)[0], units[0], atol=1e-6
    )
    for text, row in zip(TINY_TEXTS, units, strict=True):
        np.testing.assert_allclose(session.run([text], ["unit"])[0][0], row, atol=1e-6)
    lengths = np.linalg.norm(units, axis=1)
    empty = [TINY_TEXTS.index(text) for text in ("", "\n\t")]
    assert lengths[empty].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(lengths[0], 1.0, atol=1e-6)
    # words count, their order does not
    one, other, third = session.run(["face cab", "cab face", "face bad"], ["unit"])[0]
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(one - third).max() > 0.01


@pytest.mark.slow
def test_the_distillation_is_the_same_every_time_and_kept(
    name: str,
    static: Encoder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_encoder(name, tmp_path) == static
    assert capfd.readouterr().err == ""  # model2vec's progress bar is for terminals
    (kept,) = (tmp_path / "encoders").iterdir()
    before = {file.name: file.stat().st_mtime_ns for file in kept.iterdir()}
    assert load_encoder(name, tmp_path) == static
    assert {file.name: file.stat().st_mtime_ns for file in kept.iterdir()} == before
    (kept / "encoder.json").write_bytes(b"damaged")
    assert load_encoder(name, tmp_path) == static
    with monkeypatch.context() as patch:
        patch.setattr("zooter_lite.encode.static.SIF", 1e-3)
        assert load_encoder(name, tmp_path).spec.sha256 != static.spec.sha256
    parts = json.loads(static.tokenizer)
    assert [parts[key] for key in ("post_processor", "padding", "truncation")] == [None] * 3


def test_a_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="takes no prompt, found 'query: '"):
        load_encoder("static", tmp_path, "query: ")


@pytest.mark.slow
def test_a_teacher_that_cannot_be_distilled_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such layer")

    monkeypatch.setattr("model2vec.distill.distill_from_model", broken)
    with pytest.raises(EncoderError, match=r"model2vec cannot distil it \(no such layer\)"):
        load_encoder(name, tmp_path)
    assert not (tmp_path / "encoders").exists()


def test_a_missing_package_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    wanted = r"a static encoder needs the package 'model2vec': pip install 'zooter-lite\[fit\]'"
    with pytest.raises(MissingPackageError, match=wanted):
        load_encoder(name, tmp_path)


def test_static_alone_is_distilled_from_the_default_encoder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def find(teacher: str, _: Path) -> Path:
        asked.append(teacher)
        return Path(name.partition(":")[2])

    monkeypatch.setattr("zooter_lite.encode.load.find_encoder", find)
    assert load_encoder("static", tmp_path).spec.name == "static"
    assert asked == [DEFAULT]


def test_what_a_fit_says_of_the_measured_loss_is_what_the_page_says() -> None:
    page = (ROOT / "recipes/bench/static.md").read_text("utf-8").splitlines()
    gaps = [float(line.split("|")[-2].split("[")[0]) for line in page if line.endswith("] |")]
    ratios = [int(line.split("|")[-2]) for line in page if line.startswith("| p50")]
    assert len(gaps) == 13
    assert f"by {min(gaps):+.1f} to {max(gaps):+.1f} points" in MEASURED
    assert f"1/{max(ratios)} to 1/{min(ratios)} of" in MEASURED


@pytest.mark.slow
def test_fit_evaluate_explain_and_export(
    name: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the tiny encoder's static one: 30,000 tokens of the default one's take minutes."""

    def call(command: Any, *arguments: object) -> str:
        words = [str(word) for word in arguments]
        assert run(command.Options, command.main, "", "", words) == 0
        printed: str = capsys.readouterr().out
        return printed

    path = tmp_path / "static"
    rows = read_table(sample_path())
    part = rows.take(np.arange(0, len(rows), 3))
    write_table(part, str(tmp_path / "part.parquet"))
    data = ("--data", tmp_path / "part.parquet", "--cache", cache)
    printed = call(fit, "--encoder", name, "--out", path, "--head", "linear", *data)
    config = json.loads((path / "config.json").read_text("utf-8"))
    assert (config["encoder"]["name"], config["encoder"]["pooling"]) == (name, "static")
    assert list(config["parity"]) == ["fp32"]
    assert "fp32 against model2vec on 256 training queries" in printed
    assert "no int8 graph: a static encoder is a table of vectors" in printed
    assert "recipes/bench/static.md" in printed
    router = Router.load(path)
    queries = part.take(part.rows("test")).queries
    expected = router.head.probs(
        static_embeddings(load_encoder(name, cache), queries).astype(np.float64)
    )
    np.testing.assert_allclose(router.predict_proba(queries), expected, atol=1e-4)

    assert "router" in call(evaluate, "--router", path, *data)
    report = json.loads((path / "report.json").read_text("utf-8"))
    test = next(one for one in report["slices"] if one["split"] == "test")
    score = {system["name"]: system["micro"]["value"] for system in test["systems"]}
    assert score["router"] > score["random"] + 0.03
    (decision,) = router.route(["17 * 23 = ?"])
    assert decision.expert in call(explain, "--router", path, "17 * 23 = ?")

    before = (path / "router.onnx").read_bytes()
    call(export, "--router", path, "--text", *data)
    assert (path / "router.onnx").read_bytes() == before
    text = onnxruntime.InferenceSession(path / "router.text.onnx")
    (probs,) = text.run(["probs"], {"query": np.asarray(queries[:3], dtype=object)})
    np.testing.assert_allclose(probs, router.predict_proba(queries[:3]), atol=1e-6)
    int8 = [str(word) for word in ("--router", path, "--precision", "int8", *data)]
    assert run(export.Options, export.main, "", "", int8) == 2
    assert "a static encoder is a table of vectors" in capsys.readouterr().err
