"""Cross-validation: grid, folds, paired comparison, the one-standard-error rule, fold safety."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table, units
from zooter_lite.errors import DataError
from zooter_lite.head import distil
from zooter_lite.head.candidates import (
    BETAS,
    L2S,
    TEMPERATURES,
    Candidates,
    candidates_for,
    reward_spread,
)
from zooter_lite.head.cross_validation import (
    Score,
    Selection,
    cross_validate,
    fold_ids,
    reward_of_choice,
    scores_of,
    smoothest,
)
from zooter_lite.head.fit_setting import Setting, fit_setting
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.recipe import Recipe
from zooter_lite.tags.tagging import Tags, cluster_tags

Array = NDArray[np.float64]
NAN = float("nan")
SETTING = Setting(None, 1.0, 1.0, 0.01)
TAGS = [["a"], ["a", "b"]] * 50


def problem(n: int = 90, seed: int = 0) -> tuple[Array, Array, Tags]:
    """Embeddings, rewards that depend on them, and cluster tags."""
    embeddings = units(n, 4, seed)
    rewards = embeddings[:, :3] + 0.1 * np.random.default_rng(seed).normal(size=(n, 3))
    (tags,) = cluster_tags(embeddings.astype(np.float32), [(3,)], seed=0)
    return embeddings, rewards, tags


def choose(
    embeddings: Array, rewards: Array, grid: Candidates, recipe: Recipe, **options: Any
) -> Selection:
    """Cross-validate in three folds, without domains."""
    folds = fold_ids(len(rewards), 3, 0)
    return cross_validate(embeddings, rewards, folds, grid, None, recipe, **options)


def fake_tags(n_tags: int) -> Tags:
    assignment = TagAssignment.from_lists([[f"t{i}"] for i in range(n_tags)])
    return Tags(str(n_tags), assignment, np.eye(n_tags))


@pytest.mark.parametrize(
    ("source", "tags", "names"),
    [
        ("auto", TAGS, ["clusters 8"]),
        ("best", TAGS, ["given", "clusters 8"]),
        ("best", [["rare"]] + [[]] * 99, ["clusters 8"]),
    ],
)
def test_candidates_hold_the_tags_asked_for(
    source: Any, tags: list[list[str]] | None, names: list[str]
) -> None:
    embeddings, rewards, _ = problem(100)
    train = table(rewards, tags=tags)
    recipe = Recipe(tags=source)
    grid = candidates_for(train, embeddings.astype(np.float32), recipe)
    assert [tags.name for tags in grid.taggings] == names
    if "given" in names:
        one = candidates_for(train, embeddings.astype(np.float32), recipe, tagging="given")
        assert [tags.name for tags in one.taggings] == ["given"]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (None, "the table has no column 'tags'"),
        ([[f"t{i}"] for i in range(100)], "no tag is carried by enough training queries"),
    ],
)
def test_given_tags_that_are_not_there(tags: list[list[str]] | None, message: str) -> None:
    embeddings, rewards, _ = problem(100)
    with pytest.raises(DataError, match=message):
        candidates_for(
            table(rewards, tags=tags), embeddings.astype(np.float32), Recipe(tags="given")
        )


def test_candidates_are_the_open_grid_or_what_the_recipe_fixes() -> None:
    embeddings, rewards, _ = problem()
    train, spread = table(rewards), reward_spread(rewards)

    def grid(**options: Any) -> tuple[list[float], ...]:
        found = candidates_for(train, embeddings.astype(np.float32), Recipe(tags="none", **options))
        return list(found.temperatures), list(found.betas), list(found.l2s)

    temperatures, betas, l2s = grid()
    assert temperatures == pytest.approx([t * spread for t in TEMPERATURES])
    assert (betas, l2s) == (list(BETAS), list(L2S))
    assert grid(temperature=0.25, beta=0.3, l2=0.01) == ([0.25], [0.3], [0.01])
    assert grid(labels="hard")[0] == pytest.approx([spread])


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([[0.0, 1.0], [0.0, 1.0]], 0.5),
        ([[0.0, NAN, 2.0]], 1.0),
        ([[1.0, NAN], [NAN, 5.0]], 1.0),
    ],
)
def test_reward_spread_by_hand(rewards: list[list[float]], expected: float) -> None:
    assert reward_spread(np.array(rewards)) == pytest.approx(expected)


def test_settings_are_compared_on_the_rows_that_observed_both_choices() -> None:
    """A setting that is seen on easy rows alone has the higher mean, and is not the better."""
    a, b, c = (replace(SETTING, l2=l2) for l2 in (1.0, 0.1, 0.01))
    earned = {
        a: np.array([0.8, 0.8, NAN, NAN]),  # mean 0.8, but behind b on both rows
        b: np.array([0.9, 0.9, 0.1, 0.1]),  # mean 0.5
        c: np.array([0.9, 0.8, NAN, 0.0]),
    }
    for order in permutations(earned):
        scores = scores_of({setting: earned[setting] for setting in order})
        by_setting = {score.setting: score for score in scores}
        assert scores[0].setting == b
        assert by_setting[a].mean == pytest.approx(0.8)
        assert by_setting[a].gap == pytest.approx(0.1)
        assert by_setting[a].gap_se == pytest.approx(0.0)
        assert by_setting[c].mean == pytest.approx(1.7 / 3)
        assert by_setting[c].gap == pytest.approx(0.2 / 3)  # 0, 0.1 and 0.1
    assert smoothest(scores, Candidates([], [1.0], [1.0], [0.01])) == b


def test_settings_without_a_row_in_common_are_not_called_near() -> None:
    rough = replace(SETTING, l2=0.1)
    scores = scores_of({SETTING: np.array([0.5, 0.5, NAN]), rough: np.array([NAN, NAN, 0.9])})
    assert smoothest(scores, Candidates([], [1.0], [1.0], [0.01])) == SETTING
    assert np.isnan(scores[1].gap)


ROUGHEST = Setting(1, 1.0, 1.0, 0.01)


@pytest.mark.parametrize(
    ("others", "winner"),
    [
        ([(Setting(0, 1.0, 1.0, 0.01), 0.01)], 1),  # within one standard error, fewer tags
        ([(Setting(0, 1.0, 1.0, 0.01), 0.03)], 0),  # beyond it
        ([(Setting(1, 1.0, 1.0, 0.1), 0.01)], 1),  # larger L2
        ([(Setting(1, 1.0, 1.0, 0.001), 0.01)], 0),  # smaller L2
        ([(Setting(1, 1.0, 0.3, 0.01), 0.01)], 1),  # more tag share
        ([(Setting(1, 3.0, 1.0, 0.01), 0.01)], 1),  # higher temperature
        ([(Setting(None, 1.0, 1.0, 0.01), 0.01)], 1),  # no tags at all
        # temperature counts before L2 and tag share, fewer tags before everything
        ([(Setting(1, 1.0, 0.0, 0.1), 0.01), (Setting(1, 3.0, 1.0, 0.001), 0.01)], 2),
        ([(Setting(1, 3.0, 0.0, 0.1), 0.01), (Setting(0, 1.0, 1.0, 0.001), 0.01)], 2),
    ],
)
def test_the_smoothest_setting_within_one_standard_error_wins(
    others: list[tuple[Setting, float]], winner: int
) -> None:
    grid = Candidates([fake_tags(2), fake_tags(4)], [1.0], [1.0], [0.01])
    scores = [Score(ROUGHEST, 0.5, 0.0, 0.0)]
    scores += [Score(setting, 0.5 - gap, gap, 0.02) for setting, gap in others]
    assert smoothest(scores, grid) == scores[winner].setting


@pytest.mark.parametrize("head", ["prior", "linear"])
def test_logits_are_those_of_a_head_that_never_saw_the_folds_rewards(head: Any) -> None:
    embeddings, rewards, tags = problem()
    grid = Candidates([tags], [0.3], [0.3], [0.01])
    folds, recipe = fold_ids(len(rewards), 3, 0), Recipe(head=head, jobs=1)
    selection = choose(embeddings, rewards, grid, recipe)
    for fold in range(3):
        rest = np.flatnonzero(folds != fold)
        own = tags.take(rest)
        fitted = fit_setting(embeddings[rest], rewards[rest], own, None, selection.chosen, recipe)
        expected = fitted.logits(embeddings[folds == fold])
        np.testing.assert_allclose(selection.logits[folds == fold], expected, atol=1e-5)
    earned = reward_of_choice(selection.logits, rewards)
    assert selection.scores[0].mean == pytest.approx(earned.mean())
    assert earned.mean() > rewards.mean(axis=0).max() + 0.1
    held = folds == 1
    changed = rewards.copy()
    changed[held] = changed[held][:, ::-1] * 7
    after = choose(embeddings, changed, grid, recipe).logits
    np.testing.assert_array_equal(after[held], selection.logits[held])
    assert np.abs(after[~held] - selection.logits[~held]).max() > 0.01


def test_one_judged_fold_alone_scores_and_has_logits() -> None:
    embeddings, rewards, tags = problem()
    grid = Candidates([tags], [0.3], [0.3], [0.01])
    every = choose(embeddings, rewards, grid, Recipe(jobs=1))
    one = choose(embeddings, rewards, grid, Recipe(jobs=1), judged=2)
    rows = one.folds == 2
    assert np.isnan(one.logits[~rows]).all()
    np.testing.assert_array_equal(one.logits[rows], every.logits[rows])
    earned = reward_of_choice(one.logits[rows], rewards[rows])
    assert one.scores[0].mean == pytest.approx(earned.mean())


@pytest.mark.parametrize("head", ["prior", "linear"])
def test_hidden_rewards_are_not_replaced_by_flattering_ones(head: Any) -> None:
    """Even with an expert that was seen once: the score is that of the observed choices."""
    embeddings, rewards, tags = problem()
    random = np.random.default_rng(1)
    rewards[random.random(rewards.shape) < 0.3] = NAN
    rewards[:, 2] = NAN
    rewards[4, 2] = 0.1
    rewards[np.isnan(rewards).all(axis=1), 0] = 0.5
    grid = Candidates([tags], [0.3], [0.3], [0.01])
    selection = choose(embeddings, rewards, grid, Recipe(head=head, jobs=1))
    assert np.isfinite(selection.logits).all()
    earned = rewards[np.arange(len(rewards)), selection.logits.argmax(axis=1)]
    assert np.isnan(earned).any()
    assert selection.scores[0].mean == pytest.approx(earned[~np.isnan(earned)].mean())


def test_fits_that_do_not_converge_are_counted_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    embeddings, rewards, _ = problem()
    monkeypatch.setattr(distil, "MAX_ITERATIONS", 1)
    grid = Candidates([], [0.1], [1.0], [1e-5, 1e-6])
    choose(embeddings, rewards, grid, Recipe(head="linear", jobs=1))
    assert [m for m in caplog.messages if m.startswith("6 of 6 fits of the cross-validation")]
