"""Filling in rewards: exact on additive tables, unmoved by who was asked what, bandit logs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import units
from zooter_lite.labels import blocks
from zooter_lite.labels.completion import DOUBT, STRENGTH, completed, learn_completion

Array = NDArray[np.float64]
NAN = float("nan")
N, DIM = 1200, 6
EMBEDDINGS = units(N, DIM, 0)
SUBSETS = [f"s{row % 3}" for row in range(N)]


def additive(seed: int = 0) -> tuple[Array, Array]:
    """Level of each query plus effect of each expert in its subset, and these effects."""
    random = np.random.default_rng(seed)
    effects = random.normal(size=(3, 4)) * 0.2
    levels = random.normal(size=N)
    return levels[:, None] + effects[[row % 3 for row in range(N)]], effects


def test_a_complete_table_is_left_as_it_is() -> None:
    rewards, _ = additive()
    filled = completed(rewards, EMBEDDINGS, SUBSETS)
    assert (filled.rewards is rewards, filled.variances) == (True, None)


@pytest.mark.parametrize("asked", ["at random", "the easy ones", "the hard ones", "one subset"])
def test_which_queries_an_expert_was_asked_does_not_matter(asked: str) -> None:
    whole, _ = additive()
    random = np.random.default_rng(1)
    level = whole.mean(axis=1)
    chance = {
        "at random": np.full(N, 0.3),
        "the easy ones": np.where(level > 0.5, 0.9, 0.05),
        "the hard ones": np.where(level < -0.5, 0.9, 0.05),
        "one subset": np.where(np.arange(N) % 3 == 0, 0.9, 0.1),
    }[asked]
    rewards = whole.copy()
    rewards[random.random(N) > chance, 2] = NAN
    filled = completed(rewards, EMBEDDINGS, SUBSETS).rewards
    holes = np.isnan(rewards)
    np.testing.assert_array_equal(filled[~holes], rewards[~holes])
    # a plain mean would be off by half a unit or more where the levels decided
    assert abs(filled[:, 2].mean() - whole[:, 2].mean()) < 0.03


def test_an_effect_is_shrunk_by_support_and_doubted_by_its_error() -> None:
    whole, _ = additive()
    rewards = whole + 0.3 * np.random.default_rng(2).normal(size=whole.shape)
    few, many = rewards.copy(), rewards.copy()
    few[30:, 1] = NAN
    many[900:, 1] = NAN
    for_few, for_many = (learn_completion(r, EMBEDDINGS, SUBSETS) for r in (few, many))
    assert for_few.errors[0, 1] > 3 * for_many.errors[0, 1]
    # ten rows of a subset against STRENGTH: about a third of the way to its own effect
    apart = np.ptp(for_few.effects[:3, 1]) / np.ptp(for_many.effects[:3, 1])
    assert apart < 0.8
    centred = few[:, 1] - np.nanmean(few - for_few.effects[[r % 3 for r in range(N)]], axis=1)
    own, overall = np.nanmean(centred[:30].reshape(10, 3), axis=0), np.nanmean(centred[:30])
    expected = (10 * own + STRENGTH * overall) / (10 + STRENGTH)
    np.testing.assert_allclose(for_few.effects[:3, 1], expected, atol=0.02)
    filled = for_few.fill(few, EMBEDDINGS, SUBSETS).rewards
    certain = filled[:, 1] + DOUBT * for_few.errors[[r % 3 for r in range(N)], 1]
    assert (filled[30:, 1] < certain[30:]).all()
    unheard = for_few.fill(few[-2:], EMBEDDINGS[-2:], ["s0", "never seen"]).rewards
    assert np.isfinite(unheard).all()


def test_the_ridge_tells_what_an_expert_is_good_at() -> None:
    whole, _ = additive()
    whole[:, 3] += 2 * EMBEDDINGS[:, 0]
    rewards = whole.copy()
    rewards[400:, 3] = NAN
    filled = completed(rewards, EMBEDDINGS, SUBSETS).rewards
    rest = filled[400:, 3] - filled[400:, :3].mean(axis=1)
    assert np.corrcoef(rest, EMBEDDINGS[400:, 0])[0, 1] > 0.9


def test_a_log_with_one_reward_a_query_is_weighted_by_its_propensities() -> None:
    random = np.random.default_rng(3)
    easy = random.random(N) < 0.5
    whole = np.where(easy, 0.9, 0.1)[:, None] + np.array([0.0, 0.05])
    # the better expert is mostly sent the hard ones, as its propensity says
    chance = np.where(easy, 0.1, 0.9)
    second = random.random(N) < chance
    rewards = whole.copy()
    rewards[second, 0] = rewards[~second, 1] = NAN
    propensities = np.where(second, chance, 1 - chance)
    plain = learn_completion(rewards, EMBEDDINGS, ["all"] * N)
    weighted = learn_completion(rewards, EMBEDDINGS, ["all"] * N, propensities)
    assert plain.effects[0, 1] < plain.effects[0, 0] - 0.3
    assert weighted.effects[0, 1] == pytest.approx(weighted.effects[0, 0] + 0.05, abs=0.06)
    some = np.where(random.random(N) < 0.5, NAN, propensities)
    between = learn_completion(rewards, EMBEDDINGS, ["all"] * N, some)
    assert plain.effects[0, 1] < between.effects[0, 1] < weighted.effects[0, 1]


def test_a_single_reward_takes_the_level_of_its_subset() -> None:
    whole, _ = additive()
    rewards = np.where(np.random.default_rng(4).random(whole.shape) < 0.5, whole, NAN)
    rewards[np.isnan(rewards).all(axis=1), 0] = 0.0
    rewards[:3] = [[5.0, NAN, NAN, NAN]] * 3
    learned = learn_completion(rewards, EMBEDDINGS, SUBSETS)
    filled = learned.fill(rewards, EMBEDDINGS, SUBSETS).rewards
    known = np.nanmean(rewards - learned.effects[[r % 3 for r in range(N)]], axis=1)
    single = (~np.isnan(rewards)).sum(axis=1) == 1
    assert filled[:3, 1:].max() < known[~single].max()
    for row in range(3):
        level = known[(np.arange(N) % 3 == row) & ~single].mean()
        expected = level + learned.effects[row, 1] - DOUBT * learned.errors[row, 1]
        expected += float(EMBEDDINGS[row] @ learned.weight[1])
        assert filled[row, 1] == pytest.approx(expected, abs=0.02)


def test_blocks_and_float32_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = additive()
    rewards = np.where(np.random.default_rng(5).random(whole.shape) < 0.6, whole, NAN)
    rewards[np.isnan(rewards).all(axis=1), 0] = 0.0
    learned = learn_completion(rewards, EMBEDDINGS, SUBSETS)
    expected = learned.fill(rewards, EMBEDDINGS, SUBSETS).rewards
    monkeypatch.setattr(blocks, "ROWS", 100)
    short = (rewards.astype(np.float32), EMBEDDINGS.astype(np.float32), SUBSETS)
    found = learned.fill(*short, dtype=np.float32, jobs=2).rewards
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
