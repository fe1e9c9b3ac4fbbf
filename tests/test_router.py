"""The router as an application uses it: a toy one against its numpy twin, and a real one."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import (
    DIM,
    EXPERTS,
    edit_config,
    replace_file,
    toy_embedding,
    toy_encoder,
    toy_router,
)
from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.router import Router

QUERIES = ["one two", "", "\ud800", "eight " * 1000, "日本語", "one two", "six seven", "three"]
REAL = [
    "What is 17 * 23?", "", " \n", "\ud83d", "💡" * 50, "word " * 20_000, "Übersetze das.",
    "def f(x):\n    return x", "What is 17 * 23?", "a\0b",
]  # fmt: skip


@pytest.fixture(scope="module")
def real(router_path: Path) -> Router:
    return Router.load(router_path)


@pytest.mark.parametrize("kind", ["prior", "linear", "mlp", "domain"])
def test_probs_embeddings_and_decisions_are_the_twins(tmp_path: Path, kind: str) -> None:
    head = toy_router(tmp_path / "r", kind)
    router = Router.load(str(tmp_path / "r"))
    texts = [query.replace("\ud800", "?") for query in QUERIES]
    embeddings = np.stack([toy_embedding(text) for text in texts])
    expected = head.probs(embeddings)
    probs, found = router.embed(QUERIES)
    np.testing.assert_allclose(found, embeddings, atol=1e-5)
    np.testing.assert_allclose(probs, expected, atol=1e-5)
    np.testing.assert_array_equal(router.predict_proba(QUERIES), probs)
    decisions = router.route(QUERIES)
    assert [d.expert for d in decisions] == [EXPERTS[i] for i in expected.argmax(axis=1)]
    for decision, row in zip(decisions, expected, strict=True):
        assert decision.probability == pytest.approx(row.max(), abs=1e-5)
        assert list(decision.probabilities) == EXPERTS
        assert list(decision.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)


def test_no_queries_give_no_rows_and_one_text_is_no_list(toy: Path) -> None:
    router = Router.load(toy)
    assert router.predict_proba([]).shape == (0, 3)
    assert router.embed([])[1].shape == (0, DIM)
    assert router.route([]) == []
    with pytest.raises(DataError, match="put it in a list"):
        router.route("one two")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["experts"].reverse(), "experts"),
        (lambda config: config["encoder"].update(max_length=15), "max_lengths"),
    ],
)
def test_the_graph_must_name_what_config_does(
    own_toy: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_config(own_toy, change)
    with pytest.raises(
        RouterError, match=rf"router\.onnx and config\.json name different {message}"
    ):
        Router.load(own_toy)


def test_a_graph_without_the_contracts_outputs_is_refused(own_toy: Path) -> None:
    replace_file(own_toy, "router.onnx", toy_encoder().graph)
    with pytest.raises(RouterError, match=r"has the outputs .'unit': 6., expected .'probs': 3"):
        Router.load(own_toy)


EVIL = '<script>alert("x")</script>'


def test_a_notebook_shows_picture_and_verdict_and_runs_no_script(tmp_path: Path) -> None:
    toy_router(tmp_path / "r", experts=["ant", EVIL, "cat"])
    edit_config(tmp_path / "r", lambda config: config["encoder"].update(name=EVIL))
    picture = f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>".encode()
    report = {"slices": [{"split": EVIL, "verdict": {"text": f"It wins. {EVIL}"}}]}
    replace_file(tmp_path / "r", "report.svg", picture)
    replace_file(tmp_path / "r", "report.json", json.dumps(report).encode())
    page = Router.load(tmp_path / "r")._repr_html_()
    assert set(re.findall(r"<(\w+)", page)) == {"div", "b", "img"}
    (shown,) = re.findall('<img [^>]*src="data:image/svg\\+xml;base64,([^"]*)"', page)
    assert base64.b64decode(shown) == picture
    assert html.unescape(re.sub("<[^>]*>", "", page)).count(EVIL) == 4  # as text, once each
    assert "It wins." in page


@pytest.mark.parametrize("report", [b"[]", b"[" * 100_000, b'{"slices": [{"split": 1}]}'])
def test_a_notebook_shows_a_router_without_figures_too(own_toy: Path, report: bytes) -> None:
    assert Router.load(own_toy)._repr_html_().count("<div>") == 2
    replace_file(own_toy, "report.json", report)
    router = Router.load(own_toy)
    (own_toy / "report.svg").write_bytes(b"unlisted")
    assert router._repr_html_().count("<div>") == 2
    assert "<img" not in router._repr_html_()
    assert repr(router) == f"<Router {own_toy}: ant, bee, cat; encoder toy>"


@pytest.mark.slow
def test_real_probs_are_the_numpy_heads_on_the_graphs_embeddings(real: Router) -> None:
    probs, embeddings = real.embed(REAL)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(probs, real.head.probs(embeddings.astype(np.float64)), atol=1e-5)
    np.testing.assert_allclose(probs[0], probs[8], atol=1e-5)
    assert np.ptp(probs, axis=0).max() > 0.05
    assert real.route(["What is 17 * 23?"])[0].expert == "calculator"
