"""From a table to a fitted head: the grid, the errors, and a structure that must be learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from zooter_lite.head.settings import BETAS, L2S, TEMPERATURES, reward_spread
from zooter_lite.head.train import Recipe, candidates_for, fit_head

from tests.helpers import table, units
from zooter_lite.errors import DataError
from zooter_lite.table.reward_table import RewardTable

FloatArray = NDArray[np.float32]
NAN = float("nan")
DIM = 8
TAGS = [["a"], ["a", "b"]] * 50
FAST = Recipe(folds=3, jobs=1, tags="none", temperature=0.25, beta=1.0, l2=0.01)


def heaps(n: int, seed: int) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.float64]]:
    """Two heaps of embeddings; expert 0 is best on one, expert 1 on the other, 2 never."""
    random = np.random.default_rng(seed)
    side = random.integers(0, 2, n)
    centres = units(2, DIM, 99)
    near = centres[side] + 0.15 * random.normal(size=(n, DIM))
    embeddings = near / np.linalg.norm(near, axis=1, keepdims=True)
    means = np.array([[0.8, 0.3, 0.4], [0.2, 0.7, 0.4]])[side]
    return embeddings.astype(np.float32), side, means + 0.2 * random.normal(size=(n, 3))


def planted(n: int = 200, **options: Any) -> tuple[RewardTable, FloatArray]:
    embeddings, _, rewards = heaps(n, 0)
    return table(rewards, **options), embeddings


@pytest.mark.slow
@pytest.mark.parametrize("head", ["prior", "linear", "mlp"])
@pytest.mark.parametrize("direction", ["label-router", "router-label"])
def test_the_planted_structure_is_learned(head: Any, direction: Any) -> None:
    train, embeddings = planted()
    recipe = replace(FAST, head=head, direction=direction, tags="auto")
    fitted = fit_head(train, embeddings, recipe)
    test, side, _ = heaps(500, 1)
    assert (fitted.head.logits(test).argmax(axis=1) == side).mean() > 0.95
    assert (fitted.head.hidden is not None) == (head == "mlp")
    assert (fitted.head.prior is not None) == (head == "prior")


def test_probabilities_are_calibrated_on_the_planted_structure() -> None:
    train, embeddings = planted(600)
    fitted = fit_head(train, embeddings, replace(FAST, l2=0.003))
    test, _, rewards = heaps(2000, 1)
    probs = fitted.head.probs(test)
    right = probs.argmax(axis=1) == rewards.argmax(axis=1)
    assert probs.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.05)
    assert fitted.head.temperature != 1.0


def test_two_fits_give_identical_bytes() -> None:
    train, embeddings = planted()
    recipe = Recipe(folds=3, jobs=2, l2=0.01, temperature=0.25)
    first, second = (fit_head(train, embeddings, recipe) for _ in range(2))
    assert {n: a.tobytes() for n, a in first.head.tensors().items()} == {
        n: a.tobytes() for n, a in second.head.tensors().items()
    }
    assert first.head.temperature == second.head.temperature
    assert first.config() == second.config()
    assert first.selection.scores == second.selection.scores


def test_missing_rewards_end_to_end() -> None:
    embeddings, _, rewards = heaps(300, 0)
    rewards[np.random.default_rng(1).random(rewards.shape) < 0.4] = NAN
    rewards[np.isnan(rewards).all(axis=1), 2] = 0.4
    recipe = replace(FAST, head="prior", tags="auto", beta=None)
    fitted = fit_head(table(rewards), embeddings, recipe)
    test, side, _ = heaps(500, 1)
    assert (fitted.head.logits(test).argmax(axis=1) == side).mean() > 0.95


def test_hard_labels_are_learned_too() -> None:
    train, embeddings = planted()
    fitted = fit_head(train, embeddings, replace(FAST, labels="hard"))
    test, side, _ = heaps(500, 1)
    assert (fitted.head.logits(test).argmax(axis=1) == side).mean() > 0.95
    assert fitted.config()["labels"]["hard"] is True


def test_config_says_what_was_chosen() -> None:
    train, embeddings = planted()
    fitted = fit_head(train, embeddings, replace(FAST, tags="auto", beta=0.3, head="prior"))
    config = fitted.config()
    assert fitted.tagging is not None
    assert config["head"] == {"domains": [], "kind": "prior", "l2": 0.01}
    assert config["labels"]["tags"] == fitted.tagging.name
    assert config["labels"]["n_tags"] == fitted.tagging.n_tags
    assert config["labels"]["beta"] == 0.3
    assert config["labels"]["temperature"] == 0.25
    untagged = fit_head(train, embeddings, replace(FAST, beta=0.3)).config()
    assert untagged["labels"]["tags"] is None
    assert untagged["labels"]["beta"] == 1.0  # without tags there is nothing to mix


def test_few_rows_fall_back_to_a_linear_head() -> None:
    train, embeddings = planted(30)
    fitted = fit_head(train, embeddings, replace(FAST, head="prior", tags="best"))
    assert fitted.tagging is None
    assert fitted.head.prior is None
    assert fitted.config()["head"]["kind"] == "linear"


def test_progress_reports_every_job() -> None:
    train, embeddings = planted(40)
    steps: list[int] = []
    totals: list[int] = []
    fit_head(train, embeddings, FAST, steps.append, totals.append)
    assert (steps, totals) == ([1] * 3, [3])


def test_summary_says_what_was_chosen_and_why() -> None:
    train, embeddings = planted(100, tags=TAGS)
    fitted = fit_head(train, embeddings, replace(FAST, tags="given", head="prior", l2=None))
    text = fitted.summary(3)
    setting, scores = fitted.selection.chosen, fitted.selection.scores
    mean = next(score.mean for score in scores if score.setting == setting)
    assert f"chosen of {len(L2S)} settings by 3-fold cross-validation on train" in text
    assert f"prior head, tags given, temperature 0.25, beta 1.0, L2 {setting.l2}" in text
    assert f": {100 * mean:.2f} (" in text
    assert ("the best of all" in text) == (setting == scores[0].setting)
    assert "tags: 2, carried by 75 training queries in the median" in text


def test_too_few_rows() -> None:
    train, embeddings = planted(5)
    with pytest.raises(
        DataError, match="5 different training queries; 3-fold cross-validation needs at least 6"
    ):
        fit_head(train, embeddings, FAST)


def test_an_expert_that_was_never_rewarded() -> None:
    embeddings, _, rewards = heaps(40, 0)
    rewards[:, 1] = NAN
    with pytest.raises(DataError, match="expert 'e1' has no observed reward in the training rows"):
        fit_head(table(rewards), embeddings, FAST)


@pytest.mark.parametrize(
    ("source", "tags", "names"),
    [
        ("none", TAGS, []),
        ("given", TAGS, ["given"]),
        ("auto", TAGS, ["clusters 8"]),
        ("best", TAGS, ["given", "clusters 8"]),
        ("best", None, ["clusters 8"]),
        ("best", [["rare"]] + [[]] * 99, ["clusters 8"]),
        ("auto", None, ["clusters 8"]),
    ],
)
def test_candidates_hold_the_tags_asked_for(
    source: Any, tags: list[list[str]] | None, names: list[str]
) -> None:
    train, embeddings = planted(100, tags=tags)
    found = candidates_for(train, embeddings, Recipe(tags=source))
    assert [tagging.name for tagging in found.taggings] == names


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (None, "the table has no column 'tags'"),
        ([[]] * 100, "no tag is carried by enough training queries"),
        ([[f"t{i}"] for i in range(100)], "no tag is carried by enough training queries"),
    ],
)
def test_given_tags_that_are_not_there(tags: list[list[str]] | None, message: str) -> None:
    train, embeddings = planted(100, tags=tags)
    with pytest.raises(DataError, match=message):
        candidates_for(train, embeddings, Recipe(tags="given"))


def test_candidates_are_the_open_grid_or_what_the_recipe_fixes() -> None:
    train, embeddings = planted(100)
    spread = reward_spread(train.rewards)
    free = candidates_for(train, embeddings, Recipe(tags="none"))
    assert list(free.temperatures) == pytest.approx([t * spread for t in TEMPERATURES])
    assert (tuple(free.betas), tuple(free.l2s)) == (BETAS, L2S)
    fixed = candidates_for(train, embeddings, replace(FAST, beta=0.3))
    assert list(fixed.temperatures) == [0.25]
    assert (tuple(fixed.betas), tuple(fixed.l2s)) == ((0.3,), (0.01,))
    hard = candidates_for(train, embeddings, Recipe(tags="none", labels="hard"))
    assert list(hard.temperatures) == pytest.approx([spread])


def test_subsets_are_told_apart_where_that_helps() -> None:
    train, embeddings = planted(400)
    _, side, _ = heaps(400, 0)
    named = replace(train, subsets=["left" if s else "right" for s in side])
    recipe = replace(FAST, head="prior", tags="auto")
    fitted = fit_head(named, embeddings, recipe)
    assert fitted.config()["head"]["domains"] == ["left", "right"]
    assert fitted.head.domain is not None
    test, sides, _ = heaps(500, 1)
    assert (fitted.head.logits(test).argmax(axis=1) == sides).mean() > 0.95
    assert (fitted.head.domain.membership(test).argmax(axis=1) == 1 - sides).mean() > 0.95
    for other in (replace(recipe, domains=False), replace(recipe, head="linear")):
        assert fit_head(named, embeddings, other).head.domain is None
    assert fit_head(train, embeddings, recipe).head.domain is None


def test_a_query_far_from_the_training_is_left_to_its_tags() -> None:
    train, embeddings = planted(400)
    _, side, _ = heaps(400, 0)
    named = replace(train, subsets=["left" if s else "right" for s in side])
    fitted = fit_head(named, embeddings, replace(FAST, head="prior", tags="auto"))
    head = fitted.head
    far = -embeddings[:20].astype(np.float64)
    np.testing.assert_allclose(head.logits(far), replace(head, domain=None).logits(far), atol=1e-3)
    near = embeddings[:20].astype(np.float64)
    assert np.abs(head.logits(near) - replace(head, domain=None).logits(near)).max() > 0.01
