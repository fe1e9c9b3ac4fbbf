"""Encoders that only torch can export, such as ELECTRA: against sentence-transformers."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_encoders import DIM, MAX_LENGTH, TEXTS, save_tiny
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import EncoderError
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.reference import load_torch, torch_embeddings
from zooter_lite.graph.bert import read_bert
from zooter_lite.graph.quantise import activation_ranges
from zooter_lite.onnx.router_graph import int8_encoder

pytestmark = pytest.mark.slow
PROMPT = "face: "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private-encoders") / "electra"
    save_tiny(folder, "mean", "electra", prompt=PROMPT)
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    assert read_bert(folder) is None
    return load_encoder(str(folder), tmp_path_factory.mktemp("kept"))


def test_the_export_equals_sentence_transformers(folder: Path, exported: Encoder) -> None:
    spec = exported.spec
    assert (spec.dim, spec.max_length, spec.pooling, spec.prompt) == (
        DIM, MAX_LENGTH, "mean", PROMPT,
    )  # fmt: skip
    reference = load_torch(folder, "electra")
    expected = reference.encode(TEXTS, prompt=PROMPT, normalize_embeddings=True)
    np.testing.assert_allclose(torch_embeddings(reference, TEXTS, PROMPT), expected, atol=1e-6)
    session = exported.session()
    (found,) = session.run(TEXTS, ["unit"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for text, row in zip(TEXTS, found, strict=True):  # padding: alone as among others
        np.testing.assert_allclose(session.run([text], ["unit"])[0][0], row, atol=1e-5)


def test_int8_works_on_a_graph_of_torchs_making(exported: Encoder) -> None:
    ranges = activation_ranges(exported.graph, exported.session().feeds(TEXTS))
    small = int8_encoder(exported, ranges)
    assert b"MatMulIntegerToFloat" in small.graph
    (expected,) = exported.session().run(TEXTS, ["unit"])
    session = small.session()
    (found,) = session.run(TEXTS, ["unit"])
    cosine = (expected * found).sum(axis=1)
    assert 0.99 < cosine.min() < 0.999999
    for text, row in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(session.run([text], ["unit"])[0][0], row, atol=1e-5)


def test_no_trace_of_this_machine_is_in_the_graph(folder: Path, exported: Encoder) -> None:
    traces = [str(folder.parent), sys.prefix, "site-packages", "private-encoders", ".py"]
    if len(getpass.getuser()) > 4:  # a short name may stand there by chance
        traces.append(getpass.getuser())
    assert [trace for trace in traces if trace.encode() in exported.graph] == []


def test_what_torch_cannot_export_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(EncoderError, match="torch cannot export it"):
        load_encoder(str(folder), tmp_path)
