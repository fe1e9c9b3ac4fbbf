"""The router as an application uses it: a toy one against its numpy twin, and a real one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import (
    DIM,
    EXPERTS,
    edit_config,
    replace_file,
    toy_embedding,
    toy_encoder,
    toy_files,
    toy_head,
    toy_router,
)
from zooter_lite.errors import DataError, RouterError
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.router.router import Router

QUERIES = ["one two", "", "\ud800", "eight " * 1000, "日本語", "one two", "six seven", "three"]
REAL = [
    "What is 17 * 23?", "", " \n", "\ud83d", "💡" * 50, "word " * 20_000, "Übersetze das.",
    "def f(x):\n    return x", "What is 17 * 23?", "a\0b",
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    toy_router(tmp_path / "router")
    return tmp_path / "router"


@pytest.fixture(scope="module")
def real(router_path: Path) -> Router:
    return Router.load(router_path)


@pytest.mark.parametrize("kind", ["prior", "linear", "mlp"])
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


def test_properties(path: Path) -> None:
    router = Router.load(path)
    assert router.experts == EXPERTS
    router.experts.append("x")
    assert router.experts == EXPERTS  # a copy
    assert router.config.encoder.dim == DIM
    np.testing.assert_array_equal(router.head.weight, toy_head("prior").weight)
    assert router.tag_index is not None
    assert router.tag_index.names == ["a", "b", "c", "d"]


def test_no_queries_give_no_rows(path: Path) -> None:
    router = Router.load(path)
    assert router.predict_proba([]).shape == (0, 3)
    assert router.embed([])[1].shape == (0, DIM)
    assert router.route([]) == []


def test_one_text_instead_of_a_list_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match="put it in a list"):
        Router.load(path).route("one two")


def test_progress_adds_up(path: Path) -> None:
    steps: list[int] = []
    Router.load(path).predict_proba(QUERIES, steps.append)
    assert sum(steps) == len(QUERIES)


def test_the_graph_must_name_the_experts_of_config(path: Path) -> None:
    edit_config(path, lambda config: config["experts"].reverse())
    with pytest.raises(RouterError, match=r"router\.onnx and config\.json name different experts"):
        Router.load(path)


@pytest.mark.parametrize("max_length", [3, 15, 60_000])
def test_the_graph_must_name_the_max_length_of_config(path: Path, max_length: int) -> None:
    edit_config(path, lambda config: config["encoder"].update(max_length=max_length))
    with pytest.raises(RouterError, match="name different max_lengths"):
        Router.load(path)


def test_a_graph_that_is_none_names_the_folder(path: Path) -> None:
    replace_file(path, "router.onnx", b"nothing")
    with pytest.raises(RouterError, match=f"{path.name}: router.onnx: the graph is not one"):
        Router.load(path)


def test_a_graph_without_the_contracts_outputs_is_refused(path: Path) -> None:
    replace_file(path, "router.onnx", toy_encoder().graph)
    with pytest.raises(RouterError, match=r"has the outputs .'unit': 6., expected .'probs': 3"):
        Router.load(path)


def test_another_routers_graph_is_refused(path: Path) -> None:
    others = ["x", "y", "z"]
    replace_file(path, "router.onnx", router_graph(toy_encoder(), toy_head("linear"), others))
    with pytest.raises(RouterError, match="name different experts"):
        Router.load(path)


def test_expert_names_in_any_script(tmp_path: Path) -> None:
    experts = ["専門家", 'a"b\\c', "é;,"]
    toy_router(tmp_path / "r", experts=experts)
    assert Router.load(tmp_path / "r").experts == experts


def test_toy_files_are_deterministic() -> None:
    assert toy_files(toy_head("prior")) == toy_files(toy_head("prior"))


@pytest.mark.slow
def test_real_probs_are_the_numpy_heads_on_the_graphs_embeddings(real: Router) -> None:
    probs, embeddings = real.embed(REAL)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(probs, real.head.probs(embeddings.astype(np.float64)), atol=1e-5)
    np.testing.assert_allclose(probs[0], probs[8], atol=1e-5)
    assert np.ptp(probs, axis=0).max() > 0.05
    assert real.route(["What is 17 * 23?"])[0].expert == "calculator"


@pytest.mark.slow
def test_a_real_querys_probs_do_not_depend_on_its_batch(real: Router) -> None:
    others = [f"{'long ' * (7 * i)}question number {i}?" for i in range(31)]
    for query in ("What is 17 * 23?", "", "Translate 'sea' to French, please. " * 9):
        alone = real.predict_proba([query])[0]
        for place in (0, 15, 31):
            among = real.predict_proba([*others[:place], query, *others[place:]])[place]
            np.testing.assert_allclose(among, alone, atol=1e-5)


@pytest.mark.slow
def test_a_real_router_is_shared_by_eight_threads(real: Router) -> None:
    parts = [[f"{word} number {i}" for i in range(12)] for word in "abcdefgh"]
    alone = [real.predict_proba(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(real.predict_proba, parts))
    np.testing.assert_array_equal(together, alone)
