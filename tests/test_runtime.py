"""Precision and memory: what is computed, what is remembered, from many threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from zooter_lite import Router, RouterError
from zooter_lite.errors import DataError
from zooter_lite.router.runtime import Recent, Runtime
from zooter_lite.router.session import TextSession

Float = NDArray[np.float32]
BOTH = ["probs", "embedding"]


class Fake:
    """Probabilities that a test states by query; remembers what it was asked."""

    def __init__(self, answers: dict[str, list[float]]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []
        self.widths = dict.fromkeys(BOTH, 2)

    def run(
        self, texts: Sequence[str], _: Sequence[str], progress: Callable[[int], object] = abs
    ) -> list[Float]:
        self.asked.append(list(texts))
        progress(len(texts))
        probs = np.asarray([self.answers[text] for text in texts], dtype=np.float32)
        return [probs, np.ones((len(texts), 2), dtype=np.float32)]


def session(fake: Fake) -> TextSession:
    return cast(TextSession, fake)


ANSWERS = {"a": [0.9, 0.1], "b": [0.52, 0.48], "c": [0.2, 0.8]}


def silent(_: int) -> None:
    pass


@pytest.mark.parametrize(
    "probs",
    [[0.6, 0.6], [0.4, 0.4], [1.5, -0.5], [float("nan"), 0.5], [0.5, float("nan")]],
    ids=str,
)
def test_what_is_no_distribution_is_refused(probs: list[float]) -> None:
    runtime = Runtime(session(Fake(ANSWERS | {"odd": probs})), 8)
    with pytest.raises(RouterError, match="'probs' is no distribution; damaged or foreign"):
        runtime.run(["a", "odd"], silent)


def test_each_different_query_is_computed_once() -> None:
    fake = Fake(ANSWERS)
    runtime = Runtime(session(fake), 8)
    steps: list[int] = []
    probs = runtime.run(["b", "a", "b", "b"], steps.append)["probs"]
    np.testing.assert_allclose(probs, np.asarray([ANSWERS[q] for q in "babb"]), rtol=1e-6)
    assert fake.asked == [["b", "a"]]
    assert sum(steps) == 4
    probs = runtime.run(["a", "c"], silent)["probs"]  # across calls, too
    np.testing.assert_allclose(probs, np.asarray([ANSWERS[q] for q in "ac"]), rtol=1e-6)
    assert fake.asked == [["b", "a"], ["c"]]
    runtime.run(["a"], steps.append)
    assert len(fake.asked) == 2
    assert sum(steps) == 5


def test_the_oldest_are_forgotten_and_zero_remembers_none() -> None:
    recent: Any = Recent(2)
    recent.put({"x": 1, "y": 2})
    recent.get(["x"])  # used again, so y is the oldest now
    recent.put({"z": 3})
    assert recent.get(["x", "y", "z"]) == {"x": 1, "z": 3}
    recent.put({"a": 4, "b": 5, "c": 6})
    assert recent.get("abcxz") == {"b": 5, "c": 6}
    nothing: Any = Recent(0)
    nothing.put({"x": 1})
    assert nothing.get(["x"]) == {}


def test_what_is_remembered_is_not_the_callers_to_change() -> None:
    runtime = Runtime(session(Fake(ANSWERS)), 8)
    probs = runtime.run(["a"], silent)["probs"]
    probs[:] = 7
    np.testing.assert_allclose(runtime.run(["a"], silent)["probs"], [[0.9, 0.1]], rtol=1e-6)


def test_one_router_shared_by_many_threads(toy: Path) -> None:
    words = ["one", "two", "three", "four five", "six", "seven eight", "zero", ""]
    queries = [f"{a} {b}" for a in words for b in words]
    expected = Router.load(toy, remember=0).predict_proba(queries)
    router = Router.load(toy, remember=16)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(queries)) for _ in range(40)]

    def work(order: NDArray[Any]) -> Float:
        return router.predict_proba([queries[i] for i in order])

    with ThreadPoolExecutor(8) as pool:
        for order, found in zip(orders, pool.map(work, orders), strict=True):
            np.testing.assert_allclose(found, expected[order], atol=1e-6)


def test_a_precision_that_is_not_there(toy: Path) -> None:
    with pytest.raises(RouterError, match=r"no router\.int8\.onnx; python -m zooter_lite\.ex"):
        Router.load(toy, precision="int8")
    with pytest.raises(RouterError, match="precision 'auto': expected fp32, fp16 or int8"):
        Router.load(toy, precision=cast(Any, "auto"))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("threads", 0, "threads 0: expected a number from 1 to 256"),
        ("threads", 100_000, "threads 100000: expected"),
        ("remember", -1, "remember -1: expected a number from 0"),
        ("device", "gpu", "device 'gpu': expected 'cpu' or 'cuda'"),
    ],
)
def test_options_that_are_not_as_told(toy: Path, option: str, value: int, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        Router.load(toy, **cast(Any, {option: value}))


def test_two_precisions_of_a_fitted_router(router_path: Path) -> None:
    prompts = ["What is 17 * 23?", "请写一个函数", "", "😀" * 50, "How many feet is a mile?"] * 3
    prompts = [f"{prompt} {number}" for number, prompt in enumerate(prompts)]
    exact, small = Router.load(router_path), Router.load(router_path, "int8")
    expected, found = exact.predict_proba(prompts), small.predict_proba(prompts)
    assert 1e-6 < np.abs(found - expected).max() < 0.2
    alone = np.concatenate([small.predict_proba([prompt]) for prompt in prompts])
    np.testing.assert_allclose(alone, found, atol=1e-5)
