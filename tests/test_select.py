"""Cross-validation: paths, folds, the one-standard-error rule, fold safety."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from zooter_lite.head.select import (
    Score,
    _paths,
    _scores,
    _smoothest,
    fold_ids,
    n_jobs,
    reward_of_choice,
    select,
)
from zooter_lite.head.settings import Candidates, Method, Setting

from tests.helpers import units
from zooter_lite.head.prior import fit_setting
from zooter_lite.labels.soft import TagAssignment
from zooter_lite.tags.tagging import Tagging, cluster_tags

Array = NDArray[np.float64]
NAN = float("nan")
SETTING = Setting(None, 1.0, 1.0, 0.01)


def problem(n: int = 90, seed: int = 0) -> tuple[Array, Array, Tagging]:
    """Embeddings, rewards that depend on them, and cluster tags."""
    embeddings = units(n, 4, seed)
    rewards = embeddings[:, :3] + 0.1 * np.random.default_rng(seed).normal(size=(n, 3))
    (tagging,) = cluster_tags(embeddings.astype(np.float32), [(3,)], seed=0)
    return embeddings, rewards, tagging


def fake_tagging(n_tags: int) -> Tagging:
    assignment = TagAssignment.from_lists([[f"t{i}"] for i in range(n_tags)])
    return Tagging(str(n_tags), assignment, np.eye(n_tags), np.eye(n_tags), np.eye(n_tags))


def test_paths_hold_what_differs_in_l2_alone_strongest_first() -> None:
    grid = Candidates([fake_tagging(2), fake_tagging(3)], [1.0, 2.0], [0.0, 1.0], [0.01, 1.0, 0.1])
    paths = _paths(grid)
    assert len(paths) == 2 * 2 * 2
    assert paths[0] == [Setting(0, 1.0, 0.0, l2) for l2 in (1.0, 0.1, 0.01)]
    assert len({setting for path in paths for setting in path}) == 24
    assert n_jobs(grid, folds=5) == 40


def test_without_tags_beta_has_nothing_to_choose() -> None:
    paths = _paths(Candidates([], [1.0], [0.0, 0.3], [0.1]))
    assert paths == [[Setting(None, 1.0, 1.0, 0.1)]]


@pytest.mark.parametrize(("n_rows", "folds"), [(10, 5), (11, 5), (13, 3)])
def test_fold_ids_are_equal_shares_shuffled_by_the_seed(n_rows: int, folds: int) -> None:
    ids = fold_ids(n_rows, folds, 0)
    counts = np.bincount(ids, minlength=folds)
    assert counts.sum() == n_rows
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(ids, fold_ids(n_rows, folds, 0))
    assert ids.tolist() != fold_ids(n_rows, folds, 1).tolist()
    assert ids.tolist() != (np.arange(n_rows) % folds).tolist()


def test_reward_of_choice_takes_the_best_observed_expert() -> None:
    logits = np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0], [-1.0, 5.0, -2.0]])
    rewards = np.array([[0.1, 0.2, 0.3], [0.4, NAN, 0.6], [NAN, NAN, 0.9]])
    assert reward_of_choice(logits, rewards).tolist() == [0.2, 0.4, 0.9]


def test_scores_by_hand() -> None:
    other = replace(SETTING, l2=0.1)
    scores = _scores({SETTING: np.array([1.0, 0, 0, 0]), other: np.array([1.0, 1, 0, 1])})
    assert [score.setting for score in scores] == [other, SETTING]
    assert [score.mean for score in scores] == [0.75, 0.25]
    # the gaps are 0, 1, 0, 1: standard deviation 0.5 over four rows
    assert [score.gap_se for score in scores] == [0.0, 0.25]


@pytest.mark.parametrize(
    ("others", "winner"),
    [
        ([(Setting(0, 1.0, 1.0, 0.01), 0.49, 0.02)], 1),  # within one standard error, fewer tags
        ([(Setting(0, 1.0, 1.0, 0.01), 0.47, 0.02)], 0),  # beyond it
        ([(Setting(1, 1.0, 1.0, 0.1), 0.49, 0.02)], 1),  # larger L2
        ([(Setting(1, 1.0, 1.0, 0.001), 0.49, 0.02)], 0),  # smaller L2
        ([(Setting(1, 1.0, 0.3, 0.01), 0.49, 0.02)], 1),  # more tag share
        ([(Setting(1, 3.0, 1.0, 0.01), 0.49, 0.02)], 1),  # higher temperature
        (  # temperature counts before L2 and tag share
            [
                (Setting(1, 1.0, 0.0, 0.1), 0.49, 0.02),
                (Setting(1, 3.0, 1.0, 0.001), 0.49, 0.02),
            ],
            2,
        ),
        (  # fewer tags count before everything
            [
                (Setting(1, 3.0, 0.0, 0.1), 0.49, 0.02),
                (Setting(0, 1.0, 1.0, 0.001), 0.49, 0.02),
            ],
            2,
        ),
    ],
)
def test_the_smoothest_setting_within_one_standard_error_wins(
    others: list[tuple[Setting, float, float]], winner: int
) -> None:
    grid = Candidates([fake_tagging(2), fake_tagging(4)], [1.0], [1.0], [0.01])
    scores = [Score(Setting(1, 1.0, 1.0, 0.01), 0.5, 0.0), *(Score(*other) for other in others)]
    assert _smoothest(scores, grid) == scores[winner].setting


def test_no_tags_are_smoother_than_any() -> None:
    grid = Candidates([fake_tagging(2)], [1.0], [1.0], [0.01])
    scores = [Score(Setting(0, 1.0, 1.0, 0.01), 0.5, 0.0), Score(SETTING, 0.5, 0.0)]
    assert _smoothest(scores, grid) == SETTING


@pytest.mark.parametrize("kind", ["prior", "linear"])
def test_the_held_out_rewards_do_not_reach_their_own_logits(kind: Any) -> None:
    embeddings, rewards, tagging = problem()
    grid = Candidates([tagging], [0.3], [0.3], [0.01])
    fold = fold_ids(len(rewards), 3, 0) == 1
    changed = rewards.copy()
    changed[fold] = changed[fold][:, ::-1] * 7
    before, after = (
        select(embeddings, values, grid, Method(kind), folds=3, jobs=1).logits
        for values in (rewards, changed)
    )
    np.testing.assert_array_equal(after[fold], before[fold])
    assert np.abs(after[~fold] - before[~fold]).max() > 0.01


@pytest.mark.parametrize("kind", ["prior", "linear"])
def test_out_of_fold_logits_are_those_of_a_head_fitted_on_the_other_rows(kind: Any) -> None:
    embeddings, rewards, tagging = problem()
    grid = Candidates([tagging], [0.3], [0.3], [0.01])
    found = select(embeddings, rewards, grid, Method(kind), folds=3, jobs=1)
    ids = fold_ids(len(rewards), 3, 0)
    for fold in range(3):
        rest = np.flatnonzero(ids != fold)
        head = fit_setting(
            embeddings[rest], rewards[rest], tagging.take(rest), found.chosen, Method(kind)
        )
        expected = head.logits(embeddings[ids == fold])
        np.testing.assert_allclose(found.logits[ids == fold], expected, atol=1e-5)
    chosen = rewards[np.arange(len(rewards)), found.logits.argmax(axis=1)]
    assert found.scores[0].mean == pytest.approx(chosen.mean())
    assert chosen.mean() > rewards.mean(axis=0).max() + 0.1


def test_a_path_of_warm_starts_scores_as_each_setting_alone() -> None:
    embeddings, rewards, _ = problem()
    whole = select(
        embeddings, rewards, Candidates([], [0.3], [1.0], [1.0, 0.003]), Method("linear"),
        folds=3, jobs=1,
    )  # fmt: skip
    alone = select(
        embeddings, rewards, Candidates([], [0.3], [1.0], [0.003]), Method("linear"),
        folds=3, jobs=1,
    )  # fmt: skip
    score = next(score for score in whole.scores if score.setting.l2 == 0.003)
    assert score.mean == pytest.approx(alone.scores[0].mean, abs=1e-3)


def test_the_result_does_not_depend_on_jobs_and_progress_counts_them() -> None:
    embeddings, rewards, tagging = problem()
    grid = Candidates([tagging], [0.3, 1.0], [0.0, 1.0], [0.1, 0.01])
    steps: list[int] = []
    one = select(embeddings, rewards, grid, Method(), folds=3, jobs=1)
    four = select(embeddings, rewards, grid, Method(), folds=3, jobs=4, progress=steps.append)
    assert one.chosen == four.chosen
    assert one.scores == four.scores
    np.testing.assert_array_equal(one.logits, four.logits)
    assert steps == [1] * n_jobs(grid, 3)
    assert len(one.scores) == 8
    assert one.best == one.scores[0].setting


def test_missing_rewards_even_of_an_expert_seen_once() -> None:
    embeddings, rewards, tagging = problem()
    random = np.random.default_rng(1)
    rewards[random.random(rewards.shape) < 0.3] = NAN
    rewards[:, 2] = NAN
    rewards[4, 2] = 0.1
    rewards[np.isnan(rewards).all(axis=1), 0] = 0.5
    for kind in ("prior", "linear"):
        grid = Candidates([tagging], [0.3], [0.3], [0.01])
        found = select(embeddings, rewards, grid, Method(kind), folds=3, jobs=1)
        assert np.isfinite(found.logits).all()
        chosen = np.where(np.isnan(rewards), -np.inf, found.logits).argmax(axis=1)
        expected = rewards[np.arange(len(rewards)), chosen]
        assert found.scores[0].mean == pytest.approx(expected.mean())
