"""Refits: what varies and what does not, and that evaluated rows take no part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table, units
from zooter_lite.compare.ablation import (
    BETAS,
    SHARES,
    ablate,
    base_recipe,
    learning_curve,
    n_refits,
    own_recipe,
    refit,
    variants,
)
from zooter_lite.head.fit_head import fit_head
from zooter_lite.recipe import Recipe
from zooter_lite.table.reward_table import RewardTable

FloatArray = NDArray[np.float32]
CONFIG = {"labels": {"beta": 0.3, "tags": "auto 8+16+32", "temperature": 0.5}}
FAST = Recipe(head="linear", tags="none", temperature=0.3, l2=0.01, folds=2, jobs=1)


def heaps(n: int, seed: int) -> tuple[RewardTable, FloatArray, NDArray[np.intp]]:
    """Two heaps; on heap i expert i earns 1 and the others 0."""
    heap = np.random.default_rng(seed).integers(0, 2, size=n)
    points = units(2, 8, 3)[heap] + 0.1 * np.random.default_rng(seed + 1).normal(size=(n, 8))
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    rewards = np.eye(3)[heap]
    return table(rewards), points.astype(np.float32), heap


def test_the_base_is_the_papers_head_under_the_routers_labels() -> None:
    base = base_recipe(CONFIG, has_tags=True, seed=3)
    assert (base.head, base.labels, base.kl) == ("linear", "soft", "label-router")
    assert (base.tags, base.temperature, base.beta, base.l2) == ("auto", 0.5, 0.3, None)
    given = {"labels": CONFIG["labels"] | {"tags": "given"}}
    assert base_recipe(given, has_tags=True).tags == "given"
    assert base_recipe(given, has_tags=False).tags == "auto"
    own = own_recipe({"head": {"kind": "prior"}}, base)
    assert own == replace(base, head="prior")
    assert own_recipe({"head": {"kind": "mlp"}}, base).head == "mlp"
    assert own_recipe({"head": {"kind": "linear"}}, replace(base, tags="given")).tags == "best"
    bare = base_recipe({"labels": {"tags": None}}, has_tags=True)
    assert (bare.tags, bare.temperature, bare.beta) == ("auto", None, 1.0)


def test_each_ablation_varies_one_thing() -> None:
    base = base_recipe(CONFIG, has_tags=False)
    found = variants(base)
    assert list(found) == ["beta", "labels", "kl"]
    assert [r.beta for label, r in found["beta"].items() if label != "hard label"] == list(BETAS)
    for recipe in list(found["beta"].values())[1:]:
        assert replace(recipe, beta=base.beta) == base
    hard = replace(base, labels="hard", beta=1.0)
    assert found["labels"] == {"soft": base, "hard": hard}
    assert found["beta"]["hard label"] == hard
    for recipe in found["kl"].values():
        assert replace(recipe, kl="label-router") == base
    assert len({recipe.kl for recipe in found["kl"].values()}) == 2
    # soft is beta 0.3 and KL(label || router) at once, hard stands twice
    assert n_refits(base) == len(BETAS) + 1 + 1


def test_every_variant_learns_two_heaps_and_equal_recipes_are_fitted_once() -> None:
    train, embeddings, _ = heaps(60, 0)
    _, evaluated, best = heaps(30, 5)
    done: list[int] = []
    base = replace(FAST, tags="auto", beta=0.5)
    found = ablate(train, embeddings, evaluated, base, done.append)
    assert done == [1] * n_refits(base)
    for by_label in found.values():
        for choices in by_label.values():
            np.testing.assert_array_equal(choices, best)
    assert found["labels"]["soft"] is found["beta"]["beta 0.5"]


def test_a_refit_is_the_fit() -> None:
    train, embeddings, _ = heaps(40, 0)
    evaluated = units(25, 8, 9).astype(np.float32)
    head = fit_head(train, embeddings, FAST).head
    np.testing.assert_array_equal(
        refit(train, embeddings, evaluated, FAST), head.logits(evaluated).argmax(axis=1)
    )


def test_the_learning_curve_grows_and_ends_with_all_rows() -> None:
    train, embeddings, _ = heaps(80, 0)
    _, evaluated, best = heaps(30, 5)
    done: list[int] = []
    curve = learning_curve(train, embeddings, evaluated, FAST, done.append)
    assert [rows for rows, _ in curve] == [8, 20, 40, 80]
    assert done == [1] * len(SHARES)
    np.testing.assert_array_equal(curve[-1][1], refit(train, embeddings, evaluated, FAST))
    np.testing.assert_array_equal(curve[-1][1], best)


@pytest.mark.parametrize("rows", [10, 24])
def test_a_part_that_is_too_small_is_left_out(rows: int) -> None:
    train, embeddings, _ = heaps(rows, 0)
    recipe = replace(FAST, folds=3)
    curve = learning_curve(train, embeddings, embeddings, recipe)
    sizes = [round(share * rows) for share in SHARES]
    assert [size for size, _ in curve] == [size for size in sizes if size >= 6]
