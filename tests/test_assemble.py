"""The graphs of a router: compared with independent computations, calibrated apart, refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from tests.helpers import softmax, table, toy_head
from tests.tiny_encoders import DIM, MAX_LENGTH, TEXTS
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.load import load_encoder
from zooter_lite.graph.quantise import activation_ranges, n_products
from zooter_lite.onnx import graphs as assemble
from zooter_lite.onnx import parity
from zooter_lite.onnx.graphs import export_graphs
from zooter_lite.onnx.parity import ParityError, graph_probs
from zooter_lite.onnx.router_graph import int8_encoder
from zooter_lite.router.directory.config import Parity
from zooter_lite.router.head import Head
from zooter_lite.router.session import TextSession
from zooter_lite.table.reward_table import RewardTable

_FITTED = toy_head("linear", dim=DIM)
HEAD = Head.from_tensors(_FITTED.tensors(), _FITTED.temperature)  # float32, as it is stored
BOTH = ["fp32", "int8"]


@pytest.fixture(scope="module")
def encoder(tiny: Path, cache: Path) -> Encoder:
    return load_encoder(str(tiny), cache)


def rows(n: int) -> RewardTable:
    """Different queries of several lengths, with random rewards of three experts."""
    random = np.random.default_rng(4)
    letters = np.asarray(list("abcdefgh"))
    queries = [
        f"{i} " + " ".join("".join(random.choice(letters, 3)) for _ in range(random.integers(0, 9)))
        for i in range(n)
    ]
    return table(random.random((n, 3)), queries=queries)


def by_sentence_transformers(tiny: Path, queries: Sequence[str]) -> NDArray[np.float64]:
    """Probabilities of a linear head on what sentence-transformers embeds."""
    encoder = SentenceTransformer(str(tiny), device="cpu")
    units = encoder.encode(list(queries), normalize_embeddings=True).astype(np.float64)
    return softmax((units @ HEAD.weight.T + HEAD.bias) / HEAD.temperature)


def probs(graph: bytes, encoder: Encoder, queries: Sequence[str]) -> NDArray[np.float32]:
    return TextSession(graph, encoder.tokenizer, MAX_LENGTH).run(queries, ["probs"])[0]


def test_fp32_equals_an_independent_computation_and_says_how_closely(
    tiny: Path, cache: Path, encoder: Encoder
) -> None:
    train = table(np.ones((len(TEXTS), 3)), queries=TEXTS)
    exports = export_graphs(encoder, HEAD, train, ["fp32"], cache)
    assert sorted(exports.files) == ["router.onnx", "tokenizer.json"]
    assert exports.refused == ""
    expected = by_sentence_transformers(tiny, TEXTS)
    found = probs(exports.files["router.onnx"], encoder, TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    figures = exports.parity.fp32
    assert figures is not None
    assert figures.queries == len(TEXTS)
    assert figures.max_difference == pytest.approx(np.abs(found - expected).max(), abs=1e-6)
    assert (figures.changed_decisions, figures.lost) == (0, 0)


def test_int8_figures_by_an_independent_computation(
    tiny: Path, cache: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MAX_LOST", 100.0)  # the rewards are random
    train = rows(60)  # fewer than calibrate: both are all of them
    exports = export_graphs(encoder, HEAD, train, BOTH, cache)
    assert sorted(exports.files) == ["router.int8.onnx", "router.onnx", "tokenizer.json"]
    expected = by_sentence_transformers(tiny, train.queries)
    found = probs(exports.files["router.int8.onnx"], encoder, train.queries)
    figures = exports.parity.int8
    assert figures is not None
    assert figures.queries == 60
    assert 1e-5 < figures.max_difference < 0.2
    assert figures.max_difference == pytest.approx(np.abs(found - expected).max(), abs=1e-5)
    ours, theirs = found.argmax(axis=1), expected.argmax(axis=1)
    assert figures.changed_decisions == pytest.approx(float(np.mean(ours != theirs)))
    each = np.arange(60)
    reward = train.rewards.astype(np.float64)
    lost = 100 * (reward[each, theirs] - reward[each, ours]).mean() / np.ptp(reward)
    assert figures.lost == pytest.approx(lost, abs=1e-5)


def test_int8_keeps_the_costliest_product_in_fp32_where_it_would_lose_too_much(
    cache: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def losing_at_first(_: str, found: Any, expected: Any, rewards: Any) -> Parity:
        tried.append(len(found))
        if len(tried) == 1:
            raise ParityError("too much")
        return Parity(len(found), 0.0, 0.0, 0.0)

    monkeypatch.setattr(assemble, "check_smaller", losing_at_first)
    monkeypatch.setattr(assemble, "SPARED", (1,))
    exports = export_graphs(encoder, HEAD, rows(40), BOTH, cache)
    assert exports.parity.int8 is not None
    assert exports.parity.int8.spared == 1
    assert exports.refused == ""
    small = onnx.load_model_from_string(exports.files["router.int8.onnx"])
    products = [n for n in small.graph.node if n.op_type == "MatMulIntegerToFloat"]
    assert len(products) == n_products(encoder.graph) - 1 > 0
    assert len(tried) == 2


def test_the_costliest_product_is_the_one_that_pays_to_spare(encoder: Encoder) -> None:
    ranges = activation_ranges(encoder.graph, encoder.session().feeds(TEXTS))
    (exact,) = encoder.session().run(TEXTS, ["unit"])
    steps: list[int] = []
    order = assemble._costliest(encoder, ranges, TEXTS, steps.append).tolist()
    assert sorted(order) == list(range(n_products(encoder.graph)))
    assert sum(steps) == len(TEXTS) * len(order)

    def drift(spared: int) -> float:
        (found,) = int8_encoder(encoder, ranges, [spared]).session().run(TEXTS, ["unit"])
        return float(np.square(found - exact).sum())

    assert drift(order[0]) < drift(order[-1])


@pytest.mark.parametrize("n", [30, 500])
def test_int8_is_compared_on_other_queries_than_it_is_calibrated_on(
    cache: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    monkeypatch.setattr(parity, "MAX_LOST", 100.0)
    monkeypatch.setattr(assemble, "EXACT_ROWS", 5)
    monkeypatch.setattr(assemble, "CALIBRATION_ROWS", 20)
    monkeypatch.setattr(assemble, "COMPARED_ROWS", 300)
    calibrated: list[str] = []
    compared: list[list[str]] = []
    feeds = TextSession.feeds

    def calibrating(session: TextSession, queries: Sequence[str]) -> Any:
        calibrated.extend(queries)
        return feeds(session, queries)

    def comparing(graph: bytes, encoder: Encoder, queries: Sequence[str], progress: Any) -> Any:
        compared.append(list(queries))
        return graph_probs(graph, encoder, queries, progress)

    embed = Encoder.embed

    def embedding(own: Encoder, queries: Sequence[str], *rest: Any) -> Any:
        if own.graph != encoder.graph:
            compared.append(list(queries))
        return embed(own, queries, *rest)

    monkeypatch.setattr(TextSession, "feeds", calibrating)
    monkeypatch.setattr(assemble, "graph_probs", comparing)
    monkeypatch.setattr(Encoder, "embed", embedding)
    train = rows(n)
    steps: list[int] = []
    export_graphs(encoder, HEAD, train, BOTH, cache, steps.append)
    fp32, int8 = compared
    assert (len(calibrated), len(fp32)) == (20, 5)
    if n < 40:  # too few to keep apart: all of them are compared
        assert sorted(int8) == sorted(train.queries)
    else:
        assert not set(calibrated) & set(int8)
        assert len(int8) == len(set(int8)) == min(n - 20, 300)
    assert set(int8) | set(calibrated) <= set(train.queries)
    assert sum(steps) == 2 * len(fp32) + len(int8)  # by the graph and by torch, and by int8
