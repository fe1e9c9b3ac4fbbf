"""Means on partial rows and logs: the truth of the whole table lies within their intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table
from zooter_lite.measure.metrics import draw, measured, reward_of
from zooter_lite.measure.partial import levels_of, logged_means, subset_means

Array = NDArray[np.float64]
Hidden = NDArray[np.bool_]
NAN = float("nan")
N, LOGGED, SEEDS = 600, 800, 200
SUBSETS = [f"s{row % 4}" for row in range(N)]
BEST = np.zeros(N, dtype=np.intp)  # always the first expert


def answers(seed: int) -> tuple[Array, NDArray[np.intp]]:
    """Right or wrong by the query's difficulty and the expert's skill; a router's choices.

    The first expert is the best of four on average; the router knows on half of the queries
    who is better.
    """
    random = np.random.default_rng(seed)
    easy = random.normal(size=(N, 1)) * 1.5
    skill = np.array([0.8, 0.4, 0.2, -0.3]) + random.normal(size=(4, 4)) * 0.4
    own = random.normal(size=(N, 4)) * 0.7
    odds = easy + skill[[row % 4 for row in range(N)]] + own
    rewards = (random.random((N, 4)) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    knows = random.random(N) < 0.5
    return rewards, np.where(knows, odds.argmax(axis=1), 0).astype(np.intp)


def random_share(share: float) -> object:
    return lambda rewards, random: random.random(rewards.shape) < share


def by_level(expert: int, easy: float, hard: float) -> object:
    """Observe one expert on shares of the queries that the others find easy and hard."""

    def hide(rewards: Array, random: np.random.Generator) -> Hidden:
        level = np.delete(rewards, expert, axis=1).mean(axis=1)
        seen = np.ones(rewards.shape, dtype=bool)
        chance = np.where(level >= np.median(level), easy, hard)
        seen[:, expert] = random.random(len(rewards)) < chance
        return seen

    return hide


def by_subset(rewards: Array, random: np.random.Generator) -> Hidden:
    chance = np.where(random.random((4, 4)) < 0.5, 1.0, 0.2)
    return np.asarray(random.random(rewards.shape) < chance[[row % 4 for row in range(N)]])


PATTERNS = {
    "30% at random": random_share(0.3),
    "70% at random": random_share(0.7),
    "one expert mostly on easy queries": by_level(2, 0.8, 0.1),
    "the best hidden on most easy queries": by_level(0, 0.2, 1.0),
    "the best hidden on most hard queries": by_level(0, 1.0, 0.2),
    "by subset": by_subset,
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_truth_lies_in_the_interval(pattern: str) -> None:
    """Means of the router and of the best single expert, and their gap: 95% of the draws."""
    held = np.zeros(3)
    for seed in range(SEEDS):
        rewards, routed = answers(seed)
        random = np.random.default_rng(1000 + seed)
        seen = PATTERNS[pattern](rewards, random)  # type: ignore[operator]
        nothing = ~seen.any(axis=1)
        seen[nothing, random.integers(0, 4, int(nothing.sum()))] = True
        partial, draws = np.where(seen, rewards, NAN), draw(SUBSETS, seed, 200)
        levels = levels_of(partial, SUBSETS, [routed, BEST])
        router, best = (
            subset_means(reward_of(choices, partial), level, draws)
            for choices, level in zip((routed, BEST), levels, strict=True)
        )
        found = measured(np.stack([router, best, router - best], axis=2), draws).micro
        true = [reward_of(choices, rewards).mean() for choices in (routed, BEST)]
        held += [
            f.low <= t <= f.high for f, t in zip(found, [*true, true[0] - true[1]], strict=True)
        ]
    assert held.min() >= 0.95 * SEEDS, held


def test_a_complete_column_has_its_plain_means() -> None:
    rewards, routed = answers(0)
    draws, earned = draw(SUBSETS, 0, 50), reward_of(routed, rewards)
    level = levels_of(rewards, SUBSETS, [routed])[0]
    found = subset_means(earned, level, draws)
    by_hand = [earned[np.asarray(SUBSETS) == name].mean() for name in draws.subsets]
    np.testing.assert_allclose(found[0], by_hand)
    np.testing.assert_allclose(measured(found[..., None], draws).micro[0].value, earned.mean())


def test_a_level_leaves_the_chosen_expert_out() -> None:
    rewards = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [NAN, NAN, 1.0], [0.5, 0.5, 0.5]])
    (first, all_of_them) = levels_of(rewards, ["a"] * 4, [np.array([0, 0, 2, 1]), None])
    changed = rewards.copy()
    changed[0, 0] = 0.2
    (again, other) = levels_of(changed, ["a"] * 4, [np.array([0, 0, 2, 1]), None])
    assert abs(again[0] - first[0]) < 0.2  # by the effects of the experts alone
    assert all_of_them[0] - other[0] > 0.2
    # nobody else was observed on the third row: the mean of its subset
    assert first[2] == pytest.approx(first[[0, 1, 3]].mean())


def test_a_system_that_was_never_observed_has_no_mean() -> None:
    draws = draw(["a", "a", "b"], 0, 20)
    assert np.isnan(subset_means(np.full(3, NAN), np.zeros(3), draws)).all()
    # a subset without a row is taken for the mean of all, at its level
    found = subset_means(np.array([1.0, 0.0, NAN]), np.array([1.0, 0.0, 1.0]), draws)
    assert found[0, 0] == pytest.approx(0.5)
    assert 0.5 < found[0, 1] <= 1.0


def test_the_truth_of_a_log_lies_in_the_intervals_and_the_plain_mean_is_off() -> None:
    held, plain = np.zeros(2), 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        easy = random.random(LOGGED) < 0.5
        means = np.where(easy, 0.9, 0.2)[:, None] + np.array([0.0, 0.05, -0.1])
        rewards = (random.random((LOGGED, 3)) < means).astype(np.float64)
        # the log sends easy queries to the last expert, and explores with the rest
        favoured = np.where(easy, 2, 0)
        chances = np.full((LOGGED, 3), 0.1)
        chances[np.arange(LOGGED), favoured] = 0.8
        logged = np.array([random.choice(3, p=p) for p in chances])
        seen = np.where(logged[:, None] == np.arange(3), rewards, NAN)
        choices = np.full(LOGGED, 2)
        rows = replace(table(seen), propensities=chances[np.arange(LOGGED), logged])
        found = logged_means(rows, choices, np.full((LOGGED, 3), 0.5), draw(rows.subsets, 0, 200))
        assert found is not None
        assert found.rows == LOGGED
        assert found.agreed == (logged == 2).sum()
        truth = rewards[:, 2].mean()
        held += [
            estimate.low <= truth <= estimate.high
            for estimate in (found.inverse_propensity, found.doubly_robust)
        ]
        plain += abs(np.nanmean(seen[:, 2]) - truth) > 0.1
    assert held.min() >= 0.95 * SEEDS, held
    assert plain == SEEDS


def test_rows_without_a_propensity_do_not_count() -> None:
    rewards = np.array([[1.0, NAN], [NAN, 0.0], [1.0, 1.0]])
    draws = draw(["a"] * 3, 0, 20)
    choices, model = np.array([0, 0, 0]), np.full((3, 2), 0.25)
    assert logged_means(table(rewards), choices, model, draws) is None
    rows = replace(table(rewards), propensities=np.array([0.5, 0.5, NAN]))
    found = logged_means(rows, choices, model, draws)
    assert found is not None
    assert (found.rows, found.agreed) == (2, 1)
    assert found.inverse_propensity.value == 1.0
    # the model on both rows, and twice what it is off by on the one observed
    assert found.doubly_robust.value == (0.25 + 2 * 0.75 + 0.25) / 2
