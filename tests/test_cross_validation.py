"""Cross-validation: grid, folds, paired comparison, the one-standard-error rule, fold safety."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table, units
from zooter_lite.errors import DataError
from zooter_lite.head import distil
from zooter_lite.head.candidates import (
    GRID,
    SETTINGS,
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
    simplest,
)
from zooter_lite.head.fit_setting import Setting, fit_setting
from zooter_lite.labels.soft import Filled, TagAssignment
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
    folds, subsets = fold_ids(len(rewards), 3, 0), ["all"] * len(rewards)
    return cross_validate(embeddings, rewards, subsets, folds, grid, None, recipe, **options)


def alone(setting: Setting, tags: Tags) -> Candidates:
    """One setting to choose from."""
    return Candidates([tags], [setting], [setting])


def fake_tags(n_tags: int) -> Tags:
    """Tags of twelve queries, each with one."""
    assignment = TagAssignment.from_lists([[f"t{i % n_tags}"] for i in range(12)])
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


@pytest.mark.parametrize("tune", [False, True])
def test_candidates_are_the_open_settings_or_what_the_recipe_fixes(tune: bool) -> None:
    embeddings, rewards, _ = problem()
    train = table(rewards)
    spread = reward_spread(train.rewards)

    def found(**options: Any) -> list[tuple[float, ...]]:
        recipe = Recipe(tune=tune, **options)
        settings = candidates_for(train, embeddings.astype(np.float32), recipe).settings
        return [(s.temperature, s.beta, s.l2) for s in settings]

    open_ones = [(t * spread, beta, l2) for t, beta, l2 in (GRID if tune else SETTINGS)]
    assert found(tags="auto") == open_ones
    assert {beta for _, beta, _ in found(tags="none")} == {1.0}
    assert found(tags="auto", temperature=0.25, beta=0.3, l2=0.01) == [(0.25, 0.3, 0.01)]
    assert {t for t, *_ in found(tags="auto", labels="hard")} == {spread}
    inputs = embeddings.astype(np.float32)
    for tags, known in (("auto", {False, True}), ("none", {False})):
        recipe = Recipe(tags=tags)  # type: ignore[arg-type]
        grid = candidates_for(train, inputs, recipe, domains=True)
        assert {setting.domains for setting in grid.settings} == known


def test_tuning_tells_what_it_gained() -> None:
    embeddings, rewards, tags = problem()
    usual = [Setting(0, 0.3, 0.3, 1e4)]  # all but the tags alone
    grid = Candidates([tags], [*usual, Setting(0, 0.3, 1.0, 1e-3)], usual)
    selection = choose(embeddings, rewards, grid, Recipe(jobs=1))
    scores = {score.setting: score for score in selection.scores}
    assert selection.usual.setting == usual[0] != selection.chosen
    assert selection.usual == scores[usual[0]]
    assert selection.usual.gap > selection.usual.gap_se > 0
    inputs = embeddings.astype(np.float32)
    tuned = candidates_for(table(rewards), inputs, Recipe(tune=True))
    assert set(tuned.usual) < set(tuned.settings)


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


def test_settings_are_compared_row_by_row() -> None:
    a, b = (replace(SETTING, l2=l2) for l2 in (1.0, 0.1))
    scores = scores_of({a: np.array([0.8, 0.2]), b: np.array([0.9, 0.5])})
    assert [score.setting for score in scores] == [b, a]
    assert scores[1].mean == pytest.approx(0.5)
    assert scores[1].gap == pytest.approx(0.2)  # 0.1 and 0.3
    assert scores[1].gap_se == pytest.approx(0.1 / np.sqrt(2))


ROUGHEST = Setting(1, 1.0, 1.0, 0.01, domains=True)


@pytest.mark.parametrize(
    ("others", "winner"),
    [
        ([(replace(ROUGHEST, tagging=0), 0.01)], 1),  # within one standard error, more support
        ([(replace(ROUGHEST, tagging=0), 0.03)], 0),  # beyond it
        ([(replace(ROUGHEST, l2=0.1), 0.01)], 1),  # larger L2
        ([(replace(ROUGHEST, l2=0.001), 0.01)], 0),  # smaller L2
        ([(replace(ROUGHEST, beta=0.3), 0.01)], 1),  # more tag share
        ([(replace(ROUGHEST, temperature=3.0), 0.01)], 1),  # higher temperature
        ([(replace(ROUGHEST, tagging=None), 0.01)], 1),  # no tags at all
        ([(replace(ROUGHEST, domains=False), 0.01)], 1),
        # temperature counts before L2 and tag share, tags before these, domains before all
        (
            [
                (replace(ROUGHEST, beta=0.0, l2=0.1), 0.01),
                (replace(ROUGHEST, temperature=3.0, l2=0.001), 0.01),
            ],
            2,
        ),
        (
            [
                (replace(ROUGHEST, temperature=3.0), 0.01),
                (replace(ROUGHEST, tagging=0), 0.01),
                (replace(ROUGHEST, domains=False), 0.01),
            ],
            3,
        ),
    ],
)
def test_the_simplest_setting_within_one_standard_error_wins(
    others: list[tuple[Setting, float]], winner: int
) -> None:
    grid = Candidates([fake_tags(2), fake_tags(4)], [])
    scores = [Score(ROUGHEST, 0.5, 0.0, 0.0)]
    scores += [Score(setting, 0.5 - gap, gap, 0.02) for setting, gap in others]
    assert simplest(scores, grid) == scores[winner].setting


@pytest.mark.parametrize("head", ["prior", "linear"])
def test_logits_are_those_of_a_head_that_never_saw_the_folds_rewards(head: Any) -> None:
    embeddings, rewards, tags = problem()
    grid = alone(Setting(0, 0.3, 0.3, 0.01), tags)
    folds, recipe = fold_ids(len(rewards), 3, 0), Recipe(head=head, jobs=1)
    selection = choose(embeddings, rewards, grid, recipe)
    for fold in range(3):
        rest = np.flatnonzero(folds != fold)
        own = tags.centred_on(embeddings, rest).take(rest)
        fitted = fit_setting(
            embeddings[rest], Filled(rewards[rest]), own, None, selection.chosen, recipe
        )
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
    grid = alone(Setting(0, 0.3, 0.3, 0.01), tags)
    every = choose(embeddings, rewards, grid, Recipe(jobs=1))
    one = choose(embeddings, rewards, grid, Recipe(jobs=1), judged=2)
    rows = one.folds == 2
    assert np.isnan(one.logits[~rows]).all()
    np.testing.assert_array_equal(one.logits[rows], every.logits[rows])
    earned = reward_of_choice(one.logits[rows], rewards[rows])
    assert one.scores[0].mean == pytest.approx(earned.mean())


def test_what_fills_a_fold_has_not_seen_its_rewards() -> None:
    embeddings, rewards, tags = problem()
    random = np.random.default_rng(1)
    rewards[random.random(rewards.shape) < 0.3] = NAN
    rewards[np.isnan(rewards).all(axis=1), 0] = 0.5
    grid, recipe = alone(Setting(0, 0.3, 0.3, 0.01), tags), Recipe(jobs=1)
    before = choose(embeddings, rewards, grid, recipe)
    assert np.isfinite(before.logits).all()
    assert np.isfinite(before.rewards).all()
    seen = ~np.isnan(rewards)
    np.testing.assert_array_equal(before.rewards[seen], rewards[seen])
    earned = reward_of_choice(before.logits, before.rewards)
    assert before.scores[0].mean == pytest.approx(earned.mean())
    held = before.folds == 1
    changed = rewards.copy()
    changed[held] += 1  # a level of its own in every row of the fold
    after = choose(embeddings, changed, grid, recipe)
    np.testing.assert_array_equal(after.logits[held], before.logits[held])
    several = seen.sum(axis=1) > 1
    np.testing.assert_allclose(
        after.rewards[held & several], before.rewards[held & several] + 1, atol=1e-12
    )


def test_a_single_hole_is_filled_in_the_fold_that_holds_it_out() -> None:
    embeddings, rewards, tags = problem()
    whole = rewards.copy()
    rewards[7, 1] = NAN
    found = choose(embeddings, rewards, alone(Setting(0, 0.3, 0.3, 0.01), tags), Recipe(jobs=1))
    assert np.isfinite(found.rewards).all()
    assert np.isfinite(found.logits).all()
    assert abs(found.rewards[7, 1] - whole[7, 1]) < 1.0


def test_fits_that_do_not_converge_are_counted_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    embeddings, rewards, _ = problem()
    monkeypatch.setattr(distil, "MAX_ITERATIONS", 1)
    grid = Candidates([], [Setting(None, 0.1, 1.0, l2) for l2 in (1e-5, 1e-6)])
    grid = replace(grid, usual=grid.settings)
    choose(embeddings, rewards, grid, Recipe(head="linear", jobs=1))
    assert [m for m in caplog.messages if m.startswith("6 of 6 fits of the cross-validation")]
