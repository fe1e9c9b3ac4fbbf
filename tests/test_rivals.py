"""The rivals: what each must learn, against plain loops and scikit-learn itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import units
from zooter_lite.compare.rivals import (
    FOLDS,
    RIVALS,
    SHRINKAGE,
    TUNING_ROWS,
    Rival,
    clusters,
    fold_rewards,
    hard_labels,
    logistic,
    ridge,
    tuned_scores,
)
from zooter_lite.compare.torch_rivals import dual_contrastive, factorise

Array = NDArray[np.float64]
NAN = float("nan")
LEARNT = (
    Rival("matrix factorisation", factorise, (0.01,)),
    Rival("RouterDC head", dual_contrastive, (0.1,)),
)
ALL = [pytest.param(rival, id=rival.name) for rival in (*RIVALS, *LEARNT)]


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


@pytest.mark.parametrize("holes", [0.0, 0.4])
@pytest.mark.parametrize("rival", ALL)
def test_every_rival_learns_what_three_heaps_say(rival: Rival, holes: float) -> None:
    embeddings, rewards, _ = heaps(240, 0, holes)
    evaluated, _, best = heaps(90, 1)
    scores, strength = tuned_scores(rival, embeddings, rewards, evaluated)
    assert scores.shape == (90, 3)
    assert np.isfinite(scores).all()
    assert strength in rival.strengths
    assert (scores.argmax(axis=1) == best).mean() > 0.95


@pytest.mark.parametrize("rival", ALL)
def test_equal_inputs_give_equal_scores(rival: Rival) -> None:
    embeddings, rewards, _ = heaps(60, 0, 0.2)
    first = rival.fit(embeddings, rewards, embeddings[:9], rival.strengths[0])
    again = rival.fit(embeddings, rewards, embeddings[:9], rival.strengths[0])
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("rival", ALL)
def test_an_expert_without_rewards_and_a_table_without_differences(rival: Rival) -> None:
    embeddings, rewards, best = heaps(60, 0)
    silent = np.column_stack([rewards, np.full(60, NAN)])
    scores = rival.fit(embeddings, silent, embeddings, rival.strengths[0])
    assert np.isfinite(scores).all()
    flat = rival.fit(embeddings, np.full((60, 3), 0.5), embeddings, rival.strengths[0])
    assert np.isfinite(flat).all()
    if rival.name not in ("matrix factorisation", "RouterDC head"):  # these leave it at chance
        assert (scores.argmax(axis=1) == best).mean() > 0.95


def test_hard_labels_by_hand() -> None:
    rewards = np.array([[1, 0, 1], [0, 0, NAN], [NAN, 0.2, 0.3], [0.4, NAN, NAN], [2, 2, 1.0]])
    rows, experts, weights = hard_labels(rewards)
    # row 1 and row 3 have nothing to tell apart
    assert list(zip(rows, experts, weights, strict=True)) == [
        (0, 0, 0.5), (0, 2, 0.5), (2, 2, 1.0), (4, 0, 0.5), (4, 1, 0.5),
    ]  # fmt: skip


def test_a_strength_is_the_one_whose_held_out_choices_earn_most() -> None:
    embeddings, rewards, _ = heaps(90, 0, 0.3)
    fits: list[tuple[int, int, float]] = []

    def constant(x: Array, r: Array, evaluated: Array, strength: float) -> Array:
        """Score by strength alone: 0 likes expert 0 best, 1 expert 1, 2 expert 2."""
        fits.append((len(x), len(evaluated), strength))
        return np.tile(-np.abs(np.arange(3) - strength), (len(evaluated), 1)).astype(float)

    rival = Rival("constant", constant, (0.0, 1.0, 2.0))
    earned = fold_rewards(rival, embeddings, rewards, seed=0)
    assert len(fits) == FOLDS * 3
    assert all(inside == 60 and outside == 30 for inside, outside, _ in fits)
    for strength, mean in earned.items():  # each row is held out once
        order = np.argsort(np.abs(np.arange(3) - strength), kind="stable")
        by_hand = [next(row[e] for e in order if not np.isnan(row[e])) for row in rewards]
        assert mean == pytest.approx(np.mean(by_hand))
    _, chosen = tuned_scores(rival, embeddings, rewards, embeddings)
    assert chosen == max(earned, key=lambda s: earned[s])


def test_the_evaluated_rows_do_not_move_the_strength() -> None:
    embeddings, rewards, _ = heaps(90, 0, 0.3)
    chosen = [
        tuned_scores(rival, embeddings, rewards, heaps(30, seed)[0])[1]
        for seed in (1, 2)
        for rival in RIVALS[:1]
    ]
    assert chosen[0] == chosen[1]


def test_many_rows_are_tuned_on_some_and_fitted_on_all() -> None:
    sizes: list[int] = []

    def count(x: Array, r: Array, evaluated: Array, strength: float) -> Array:
        sizes.append(len(x))
        return np.zeros((len(evaluated), 2))

    n = TUNING_ROWS + 500
    tuned_scores(
        Rival("c", count, (1.0, 2.0)), np.zeros((n, 2)), np.zeros((n, 2)), np.zeros((1, 2))
    )
    assert max(sizes[:-1]) < TUNING_ROWS
    assert sizes[-1] == n


def test_ridge_is_scikit_learns_per_expert() -> None:
    from sklearn.linear_model import RidgeCV

    embeddings, rewards, _ = heaps(80, 0, 0.3)
    scores = ridge(embeddings, rewards, embeddings[:7], 1.0)
    for expert in range(3):
        seen = ~np.isnan(rewards[:, expert])
        alone = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(embeddings[seen], rewards[seen, expert])
        np.testing.assert_allclose(scores[:, expert], alone.predict(embeddings[:7]))


def test_logistic_regression_is_scikit_learns_where_nothing_is_tied() -> None:
    from sklearn.linear_model import LogisticRegression

    embeddings, rewards, _ = heaps(80, 0)
    inputs = embeddings.astype(np.float32)
    alone = LogisticRegression(C=2.0, tol=1e-3).fit(inputs, rewards.argmax(axis=1))
    np.testing.assert_allclose(
        logistic(embeddings, rewards, embeddings, 2.0), alone.predict_proba(inputs), atol=1e-6
    )


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
