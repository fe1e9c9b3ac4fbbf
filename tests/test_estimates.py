"""Expected rewards, costs and novelty: by hand, from a file, and as the router's graph has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from tests.helpers import (
    DIM,
    EXPERTS,
    WORDS,
    replace_file,
    toy_embedding,
    toy_encoder,
    toy_estimates,
    toy_head,
    toy_router,
)
from zooter_lite import Router
from zooter_lite.errors import RouterError
from zooter_lite.onnx.router_graph import router_graph
from zooter_lite.router.decision import Predictions
from zooter_lite.router.directory.store import read_router
from zooter_lite.router.estimates import COSTS, CostModel, Estimates
from zooter_lite.router.head import Head
from zooter_lite.router.session import TextSession

KINDS = ["linear", "mlp", "prior", "domain"]
MAX_LENGTH = 16
LONG = ["seven " * 14, "eight " * 15, "two " * 400]  # with [CLS] and [SEP] 16 tokens and more
QUERIES = ["", "one", "three four five", "nine unknown words", *LONG]


def same(found: Predictions, expected: Predictions, atol: float) -> None:
    """Hold every prediction against its twin."""
    for name in ("probs", "rewards", "costs", "novelty"):
        own, twin = getattr(found, name), getattr(expected, name)
        assert (own is None) == (twin is None), name
        if twin is not None:
            np.testing.assert_allclose(own, twin, rtol=atol, atol=atol, err_msg=name)


def test_costs_by_hand() -> None:
    costs = CostModel(
        weight=np.array([[1.0, 0.0], [0.0, 0.0]]),
        length=np.array([1.0, 0.5]),
        bias=np.array([0.0, np.log(2)]),
        low=np.log([0.25, 3.0]),
        high=np.log([100.0, 9.0]),
    )
    embeddings = np.array([[np.log(3), 5.0], [0.0, 0.0], [np.log(9), 0.0], [-9.0, 0.0]])
    linear = embeddings @ costs.weight.T + costs.bias
    found = costs(linear, np.array([4, 0, 50, 16]))  # no tokens count as one
    # the first: 3 * 4 and 2 * sqrt(4); then what lies beyond 0.25 to 100 and 3 to 9
    expected = np.array([[12, 4], [1, 3], [100, 9], [0.25, 8]])
    np.testing.assert_allclose(found, expected)


def test_rewards_by_hand() -> None:
    estimates = Estimates(np.array([0.5]), np.array([0.2, 0.0]), np.array([0.1]))
    # the mean of the experts is 0.3; a logit above their mean is worth 0.5
    found = estimates.rewards(np.array([[0.3]]), np.array([[3.0, 1.0, 2.0]]))
    np.testing.assert_allclose(found, [[0.8, -0.2, 0.3]])


def test_novelty_by_hand() -> None:
    nothing = np.zeros(1)
    estimates = Estimates(nothing, nothing, nothing, nearness=np.array([0.0, 0.5, 1.0]))
    nearest = np.array([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0])
    np.testing.assert_allclose(estimates.novelty(nearest), [1, 1, 0.75, 0.5, 0.25, 0, 0])
    with pytest.raises(ValueError, match="a head without tags tells no novelty"):
        Estimates(nothing, nothing, nothing).novelty(nearest)


def test_costs_need_tokens_and_a_head_without_estimates_predicts_probabilities() -> None:
    embeddings = np.stack([toy_embedding(query) for query in QUERIES])
    head = toy_estimates(toy_head("prior"))
    assert head.predict(embeddings).costs is None
    assert head.predict(embeddings).rewards is not None
    same(toy_head("prior").predict(embeddings), Predictions(head.probs(embeddings)), 0.0)


@pytest.mark.parametrize("costs", [True, False])
@pytest.mark.parametrize("kind", ["linear", "prior"])
def test_tensors_round_trip_through_safetensors(kind: str, costs: bool) -> None:
    estimates = toy_estimates(toy_head(kind), costs=costs).estimates
    assert estimates is not None
    tensors = estimates.tensors()
    again = Estimates.from_tensors(load(save(tensors)), len(EXPERTS), DIM)
    assert (again.costs is None, again.nearness is None) == (not costs, kind == "linear")
    assert {name: array.tobytes() for name, array in again.tensors().items()} == {
        name: array.tobytes() for name, array in tensors.items()
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": None}, "expected the arrays"),
        ({"extra": np.zeros(3)}, "expected the arrays"),
        *[({name: None}, "expected the arrays") for name in COSTS],
        ({"slope": np.zeros(2)}, "'slope' has shape"),
        ({"level": np.zeros(DIM + 1)}, "'level' has shape"),
        ({"level.bias": np.array(1.0)}, "'level.bias' has shape"),
        ({"cost.weight": np.zeros((2, DIM))}, "'cost.weight' has shape"),
        ({"cost.length": np.zeros(2)}, "'cost.length' has shape"),
        ({"nearness": np.zeros(1)}, "'nearness' has shape"),
        ({"nearness": np.zeros((2, 2))}, "'nearness' has shape"),
        ({"nearness": np.array([0.0, 0.5, 0.5])}, "'nearness' does not rise"),
        ({"slope": np.array([np.nan])}, "'slope' is not finite float32"),
        ({"cost.high": np.full(3, np.inf)}, "'cost.high' is not finite float32"),
        ({"level": np.zeros(DIM, dtype=np.float16)}, "'level' is not finite float32"),
        ({"cost.low": np.array([0.0, 0.0, -61.0])}, "log costs go beyond 60"),
        ({"cost.high": np.array([61.0, 0.0, 0.0])}, "log costs go beyond 60"),
    ],
    ids=str,
)
def test_from_tensors_refuses_what_does_not_fit(
    changes: Mapping[str, NDArray[Any] | None], message: str
) -> None:
    estimates = toy_estimates(toy_head("prior")).estimates
    assert estimates is not None
    changed: dict[str, NDArray[Any] | None] = {**estimates.tensors()}
    for name, array in changes.items():
        wide = array is not None and array.dtype == np.float64
        changed[name] = array.astype(np.float32) if wide and array is not None else array
    tensors = {name: array for name, array in changed.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        Estimates.from_tensors(tensors, len(EXPERTS), DIM)


def session_of(head: Head, tokenizer: str = "", *, exact: bool = False) -> TextSession:
    """The graph of a toy router; `exact` as jobs need it."""
    encoder, experts = toy_encoder(MAX_LENGTH), [f"e{i}" for i in range(len(head.bias))]
    graph = router_graph(encoder, head, experts)
    threads = 1 if exact else None
    return TextSession(graph, tokenizer or encoder.tokenizer, MAX_LENGTH, threads, exact=exact)


def predicted_by(session: TextSession, queries: list[str]) -> tuple[Predictions, NDArray[Any]]:
    """What a graph predicts, and its embeddings."""
    names = list(session.widths)
    found = dict(zip(names, session.run(queries, names), strict=True))
    embeddings = found.pop("embedding").astype(np.float64)
    if "novelty" in found:
        found["novelty"] = found["novelty"][:, 0]
    return Predictions(**found), embeddings


def without_special_tokens() -> str:
    """A tokenizer that makes nothing of the empty prompt, for which a column is masked."""
    return json.dumps(json.loads(toy_encoder().tokenizer) | {"post_processor": None})


@pytest.mark.parametrize("costs", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_predicts_what_the_head_does(kind: str, costs: bool) -> None:
    head = toy_estimates(toy_head(kind), costs=costs)
    session = session_of(head)
    found, embeddings = predicted_by(session, QUERIES)
    lengths = session.tokens.lengths(QUERIES)
    assert lengths.tolist() == [2, 3, 5, 5, 16, 16, 16]
    expected = head.predict(embeddings, lengths)
    assert (expected.costs is None, expected.novelty is None) == (not costs, head.prior is None)
    same(found, expected, 1e-5)
    if found.costs is not None:
        assert np.ptp(found.costs, axis=0).max() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_without_tokens_costs_what_one_token_does(kind: str) -> None:
    head = toy_estimates(toy_head(kind))
    session = session_of(head, without_special_tokens())
    assert session.tokens.lengths(["", "one"]).tolist() == [0, 1]
    for queries in ([""], ["one two", ""]):
        found, embeddings = predicted_by(session, queries)
        assert np.isfinite(embeddings).all()
        same(found, head.predict(embeddings, session.tokens.lengths(queries)), 1e-5)


@pytest.mark.parametrize("n_experts", [3, 11])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_predicted_of_a_prompt_does_not_depend_on_its_batch(
    kind: str, n_experts: int
) -> None:
    """To the bit where a job wants it (`exact`), and nearly so elsewhere."""
    head = toy_estimates(toy_head(kind, n_experts=n_experts))
    others = [f"{word} " * length for word in WORDS[4:] for length in (1, 5, 12, 40)][:31]
    for exact, atol in ((True, 0.0), (False, 1e-5)):
        session = session_of(head, exact=exact)
        for query in QUERIES:
            alone, _ = predicted_by(session, [query])
            for place in (0, 13, 31):
                among, _ = predicted_by(session, [*others[:place], query, *others[place:]])
                rows = {name: v[[place]] for name, v in vars(among).items() if v is not None}
                same(Predictions(**rows), alone, atol)


@pytest.mark.parametrize("kind", KINDS)
def test_a_router_predicts_what_its_files_say(tmp_path: Path, kind: str) -> None:
    head = toy_estimates(toy_head(kind))
    toy_router(tmp_path / "r", head)
    again = read_router(tmp_path / "r").head
    assert again.estimates is not None
    assert again.estimates.tensors().keys() == head.estimates.tensors().keys()  # type: ignore[union-attr]
    router = Router.load(tmp_path / "r")
    probs = router.predict_proba(QUERIES[:2])  # whose other outputs are then remembered
    tokens = np.asarray([min(MAX_LENGTH, len(query.split()) + 2) for query in QUERIES])
    embeddings = np.stack([toy_embedding(query) for query in QUERIES])
    expected = head.predict(embeddings, tokens)
    same(router.predict(QUERIES), expected, 1e-5)
    np.testing.assert_array_equal(router.predict(QUERIES[:2]).probs, probs)
    nothing = router.predict([])
    assert [v.shape for v in vars(nothing).values() if v is not None] == [
        *[(0, len(EXPERTS))] * 3, *([(0,)] if head.prior is not None else []),
    ]  # fmt: skip


def estimates_of(kind: str, n_experts: int = 3, dim: int = DIM) -> bytes:
    """Content of estimates.safetensors of another router."""
    estimates = toy_estimates(toy_head(kind, n_experts=n_experts, dim=dim)).estimates
    assert estimates is not None
    return save(estimates.tensors())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\xff"), "its sha256 is not"),
        (lambda _: b"nothing", ""),
        (lambda _: estimates_of("linear", 4), "array "),
        (lambda _: estimates_of("linear", dim=5), "array "),
        (lambda _: estimates_of("prior"), "nearness to tags of a head without tags"),
    ],
    ids=["flipped", "no file of arrays", "experts", "dim", "tags"],
)
def test_damaged_or_foreign_estimates_are_one_clear_error(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    head, name = toy_estimates(toy_head("linear")), "estimates.safetensors"
    toy_router(tmp_path / "r", head)
    content = damage(tmp_path / "r" / name)
    if isinstance(content, bytes):
        replace_file(tmp_path / "r", name, content)
    with pytest.raises(RouterError) as caught:
        Router.load(tmp_path / "r")
    assert str(caught.value).startswith(str(tmp_path / "r"))
    assert f"{name}: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
