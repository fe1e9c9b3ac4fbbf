"""A static router in numpy: what its graph computes, and when the graph itself is asked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.helpers import (
    DIM,
    EXPERTS,
    toy_config,
    toy_encoder,
    toy_estimates,
    toy_head,
    toy_vectors,
)
from zooter_lite import Router
from zooter_lite.encode.static import static_graph
from zooter_lite.errors import RouterError
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.router import static_session
from zooter_lite.router.directory.config import STATIC_POOLING
from zooter_lite.router.directory.store import write_router
from zooter_lite.router.head import Head
from zooter_lite.untrusted.onnx_check import check_graph, constant_of

QUERIES = ["", "one", "three four five", "nine unknown words", "two " * 400, "\ud800 seven"]


def static_router(path: Path, head: Head, table: NDArray[np.floating] | None = None) -> Path:
    """Write a router whose encoder is a table of vectors, `toy_vectors` by default."""
    vectors = toy_vectors() if table is None else table
    encoder = toy_encoder()
    spec = replace(encoder.spec, pooling=STATIC_POOLING)
    encoder = replace(encoder, spec=spec, graph=static_graph(vectors.astype(np.float16), None))
    files = {
        "router.onnx": router_graph(encoder, head, EXPERTS),
        "tokenizer.json": encoder.tokenizer.encode(),
    }
    write_router(path, replace(toy_config(head), encoder=spec), files, head)
    return path


@pytest.mark.parametrize("kind", ["linear", "mlp", "prior", "domain"])
@pytest.mark.parametrize("costs", [True, False])
def test_every_output_is_that_of_the_graph(tmp_path: Path, kind: str, costs: bool) -> None:
    folder = static_router(tmp_path / "r", toy_estimates(toy_head(kind), costs=costs))
    router, graph = Router.load(folder, remember=0), Router.load(folder, exact=True)
    assert (router.provider, graph.provider) == ("numpy", "CPUExecutionProvider")
    (found, embeddings), (expected, others) = (
        one.predict_and_embed(QUERIES) for one in (router, graph)
    )
    np.testing.assert_allclose(embeddings, others, atol=1e-6)
    for name in ("probs", "rewards", "costs", "novelty"):
        own, theirs = getattr(found, name), getattr(expected, name)
        assert (own is None) == (theirs is None)
        if own is not None:
            assert own.dtype == np.float32
            np.testing.assert_allclose(own, theirs, rtol=1e-5, atol=1e-6)
    for query, row in zip(QUERIES, found.probs, strict=True):  # alone as among others
        np.testing.assert_allclose(router.predict_proba([query])[0], row, atol=1e-6)
    assert router.tokens.cut > 0
    assert [d.expert for d in router.route(QUERIES)] == [d.expert for d in graph.route(QUERIES)]


def test_a_token_without_a_vector_is_told(tmp_path: Path) -> None:
    router = Router.load(static_router(tmp_path / "r", toy_head("prior"), toy_vectors()[:5]))
    with pytest.raises(RouterError, match="the graph cannot be run: no vector of a token"):
        router.route(["one two three four five"])


def test_a_graph_of_another_kind_or_size_gets_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, encoder = toy_head("prior"), toy_encoder()
    spec = replace(encoder.spec, pooling=STATIC_POOLING)
    files = {
        "router.onnx": router_graph(encoder, head, EXPERTS),
        "tokenizer.json": encoder.tokenizer.encode(),
    }
    write_router(tmp_path / "other", replace(toy_config(head), encoder=spec), files, head)
    assert Router.load(tmp_path / "other").provider == "CPUExecutionProvider"
    folder = static_router(tmp_path / "r", head)
    for largest in (10, 8 * 16 * DIM - 1):  # the table, and the vectors of one text
        monkeypatch.setattr(static_session, "LARGEST", largest)
        assert Router.load(folder).provider == "CPUExecutionProvider"


def test_a_static_decision_needs_no_onnxruntime(tmp_path: Path) -> None:
    folder = static_router(tmp_path / "r", toy_head("prior"))
    code = (
        "import sys; from zooter_lite import Router\n"
        f"print(Router.load({str(folder)!r}).route(['one'])[0].expert)\n"
        "print('onnxruntime' in sys.modules, 'faiss' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expert, loaded = found.stdout.splitlines()
    assert expert == Router.load(folder, exact=True).route(["one"])[0].expert
    assert loaded == "False False"


def test_constants_and_metadata_are_read_without_onnx(tmp_path: Path) -> None:
    content = (static_router(tmp_path / "r", toy_head("prior")) / "router.onnx").read_bytes()
    model = onnx.load_model_from_string(content)
    table = constant_of(content, "encoder.table")
    assert table is not None
    assert table.dtype == np.float16
    np.testing.assert_array_equal(table, toy_vectors().astype(np.float16))
    weights = next(t for t in model.graph.initializer if t.name == "head.weights")
    found = constant_of(content, "head.weights")
    np.testing.assert_array_equal(np.asarray(found), numpy_helper.to_array(weights))
    assert constant_of(content, "head.biases") is None  # no matrix
    assert constant_of(content, "encoder.none") is None
    assert check_graph(content) == {entry.key: entry.value for entry in model.metadata_props}
    # a table whose bytes are not its shape is none
    stored = next(t for t in model.graph.initializer if t.name == "encoder.table")
    for data in (stored.raw_data + b"x", stored.raw_data[:-2], b""):
        stored.raw_data = data
        assert constant_of(model.SerializeToString(), "encoder.table") is None


def test_many_prompts_go_through_the_head_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = static_router(tmp_path / "r", toy_estimates(toy_head("domain")))
    queries = [f"one two {n % 7} three" for n in range(50)]
    expected = Router.load(folder, remember=0).predict(queries)
    router = Router.load(folder, remember=0)
    monkeypatch.setattr(static_session, "TOGETHER", 7 * router.head.columns)
    steps: list[int] = []
    found = router.predict(queries, steps.append)
    assert sum(steps) == 50
    assert max(steps) <= 43  # those that repeat are told at once
    np.testing.assert_allclose(found.probs, expected.probs, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(found.novelty), np.asarray(expected.novelty), atol=1e-6)


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    head = toy_estimates(toy_head("prior"))
    assert head.estimates is not None
    level = np.full_like(head.estimates.level, 3e38)
    wild = replace(head, estimates=replace(head.estimates, level=level))
    router = Router.load(static_router(tmp_path / "r", wild))
    with pytest.raises(RouterError, match="output 'rewards' is not finite"):
        router.route(["one two three"])
