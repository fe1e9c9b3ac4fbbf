"""The rivals: what each must learn, against plain loops and scikit-learn itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import table, units
from zooter_lite.compare.rivals import (
    FOLDS,
    RIVALS,
    SHRINKAGE,
    Rival,
    clusters,
    factorise,
    hard_labels,
    tuned_scores,
)

Array = NDArray[np.float64]
NAN = float("nan")
ALL = [pytest.param(rival, id=rival.name) for rival in RIVALS]


def heaps(n: int, seed: int, holes: float = 0.0) -> tuple[Array, Array, NDArray[np.intp]]:
    """Three heaps of unit vectors; on heap i expert (i + 1) % 3 earns 0.9 and the rest 0.2."""
    random = np.random.default_rng(seed)
    heap = random.integers(0, 3, size=n)
    points = units(3, 12, 4)[heap] + 0.1 * random.normal(size=(n, 12))
    best = (heap + 1) % 3
    rewards = np.where(np.arange(3) == best[:, None], 0.9, 0.2)
    rewards = rewards + 0.05 * random.normal(size=rewards.shape)
    rewards[random.random(rewards.shape) < holes] = NAN
    rewards[np.isnan(rewards).all(axis=1), 0] = 0.2
    return points / np.linalg.norm(points, axis=1, keepdims=True), rewards, best


@pytest.mark.parametrize("rival", ALL)
def test_every_rival_learns_what_three_heaps_say(rival: Rival) -> None:
    embeddings, rewards, _ = heaps(240, 0, holes=0.4)
    evaluated, _, best = heaps(90, 1)
    rows = (embeddings.astype(np.float32), evaluated.astype(np.float32))
    rival = replace(rival, strengths=rival.strengths[1:2] or rival.strengths)
    scores = tuned_scores(rival, table(rewards), *rows)
    assert scores.shape == (90, 3)
    assert np.isfinite(scores).all()
    assert (scores.argmax(axis=1) == best).mean() > 0.95


@pytest.mark.parametrize("rival", ALL)
def test_an_expert_without_rewards_a_table_without_differences_and_equal_inputs(
    rival: Rival,
) -> None:
    embeddings, rewards, best = heaps(60, 0)
    silent = np.column_stack([rewards, np.full(60, NAN)])
    scores = rival.fit(embeddings, silent, embeddings, rival.strengths[0])
    assert np.isfinite(scores).all()
    again = rival.fit(embeddings, silent, embeddings, rival.strengths[0])
    np.testing.assert_array_equal(again, scores)
    flat = rival.fit(embeddings, np.full((60, 3), 0.5), embeddings, rival.strengths[0])
    assert np.isfinite(flat).all()
    if rival.name != "matrix factorisation":  # it leaves an unseen expert at chance
        assert (scores.argmax(axis=1) == best).mean() > 0.95


def test_hard_labels_by_hand() -> None:
    rewards = np.array([[1, 0, 1], [0, 0, NAN], [NAN, 0.2, 0.3], [0.4, NAN, NAN], [2, 2, 1.0]])
    rows, experts, weights = hard_labels(rewards)
    # row 1 and row 3 have nothing to tell apart
    assert list(zip(rows, experts, weights, strict=True)) == [
        (0, 0, 0.5), (0, 2, 0.5), (2, 2, 1.0), (4, 0, 0.5), (4, 1, 0.5),
    ]  # fmt: skip


def constant(_: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Score by strength alone: 0 likes expert 0 best, 1 expert 1, 2 expert 2."""
    experts = np.arange(rewards.shape[1])
    return np.tile(-np.abs(experts - strength), (len(evaluated), 1)).astype(float)


def test_a_strength_is_the_one_whose_held_out_choices_earn_most_where_all_are_known() -> None:
    embeddings, rewards, _ = heaps(90, 0, 0.3)
    rewards[:, 2] += 0.2
    rewards[:30, 0], rewards[:30, 1] = 5.0, NAN  # rows of expert 0 alone do not count
    rival = Rival("constant", constant, (0.0, 1.0, 2.0))
    complete = rewards[~np.isnan(rewards).any(axis=1)].mean(axis=0)
    inputs = embeddings.astype(np.float32)
    scores = tuned_scores(rival, table(rewards), inputs, inputs)
    assert complete.argmax() != np.nanmean(rewards, axis=0).argmax()
    assert set(scores.argmax(axis=1)) == {complete.argmax()}


def test_some_rows_are_held_out_once_equal_queries_together_and_all_are_fitted_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[set[float], list[float]]] = []

    def spy(inside: Array, rewards: Array, outside: Array, strength: float) -> Array:
        calls.append((set(inside[:, 0].tolist()), outside[:, 0].tolist()))
        return np.zeros((len(outside), 2))

    monkeypatch.setattr("zooter_lite.compare.rivals.TUNING_ROWS", 50)
    numbers = np.repeat(np.arange(35.0), 2)[:, None].astype(np.float32)
    train = table(np.zeros((70, 2)), queries=[f"query {i // 2}" for i in range(70)])
    tuned_scores(Rival("spy", spy, (1.0, 2.0)), train, numbers, numbers[:1])
    *tuning, (everything, _) = calls
    assert len(tuning) == 2 * FOLDS
    assert everything == set(range(35))
    assert not any(inside & set(outside) for inside, outside in tuning)
    assert sum(len(outside) for _, outside in tuning) == 2 * 50


def test_cluster_means_by_loops() -> None:
    from sklearn.cluster import KMeans

    embeddings, rewards, _ = heaps(80, 0, 0.3)
    scores = clusters(embeddings, rewards, embeddings, 3.0)
    labels = KMeans(3, n_init=3, random_state=0).fit_predict(embeddings)
    for row in range(80):
        for expert in range(3):
            inside = [
                rewards[other, expert]
                for other in range(80)
                if labels[other] == labels[row] and not np.isnan(rewards[other, expert])
            ]
            overall = np.nanmean(rewards[:, expert])
            mean = (sum(inside) + SHRINKAGE * overall) / (len(inside) + SHRINKAGE)
            assert scores[row, expert] == pytest.approx(mean)


def test_factorised_scores_are_logits_of_the_mean_reward_where_nothing_else_is_known() -> None:
    # queries that say nothing about a reward of 0 or 1: the logit is that of its mean
    random = np.random.default_rng(2)
    embeddings = random.normal(size=(2000, 3))
    rewards = (random.random((2000, 2)) < [0.8, 0.3]).astype(float)
    scores = factorise(embeddings, 20 * rewards - 7, np.zeros((1, 3)), 0.01)  # in any unit
    probabilities = 1 / (1 + np.exp(-scores[0]))
    np.testing.assert_allclose(probabilities, rewards.mean(axis=0), atol=0.05)
