"""What to expect is learned from simulated tables, of which the truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeCV

from tests.helpers import softmax, units
from zooter_lite.head.cross_validation import Score, Selection
from zooter_lite.head.estimate import (
    KNOTS,
    LEAST,
    PENALTIES,
    Expected,
    _ridge,
    calibration_temperature,
    learn_estimates,
)
from zooter_lite.head.fit_setting import Setting
from zooter_lite.labels.soft import harden
from zooter_lite.router.estimates import CostModel
from zooter_lite.tags.tagging import Tags, given_tags

Array = NDArray[np.float64]
N, DIM = 1500, 5
EMBEDDINGS = units(N, DIM, 0)
TOKENS = np.random.default_rng(1).integers(2, 400, N)
# log costs of three experts: by the text, by its length, and by neither
WEIGHT = np.array([[0.9, -0.6, 0.0, 0.3, 0.0], [0.0, 0.4, 0.4, 0.0, -0.8], [0.0] * 5])
LENGTH, BIAS = np.array([1.0, 0.5, 0.0]), np.log([1e-4, 2e-3, 1e-2])


def costs_of(model: CostModel, embeddings: Array) -> Any:
    return model(embeddings @ model.weight.T + model.bias, TOKENS)


def true_costs(scatter: float = 0.0) -> Array:
    """(N, 3) costs whose logarithms scatter so far; with e^1 the third cannot be told."""
    logs = EMBEDDINGS @ WEIGHT.T + np.log(TOKENS)[:, None] * LENGTH + BIAS
    return np.asarray(np.exp(logs + scatter * np.random.default_rng(2).normal(size=(N, 3))))


def learn(
    costs: Array | None = None,
    *,
    logits: Array | None = None,
    rewards: Array | None = None,
    tags: Tags | None = None,
    tokens: NDArray[np.int64] | None = TOKENS,
) -> Expected:
    """Learn from a selection of three folds whose logits and rewards are given, by default none."""
    setting = Setting(None, 0.25, 1.0, 0.01)
    score = Score(setting, 0.0, 0.0, 0.0)
    nothing = np.zeros((N, 3))
    selection = Selection(
        *(setting, [score], score),
        nothing if logits is None else logits,
        nothing if rewards is None else rewards,
        np.arange(N) % 3,
    )
    return learn_estimates(EMBEDDINGS, selection, tags, costs, tokens)


def model_of(found: Expected) -> CostModel:
    assert found.estimates.costs is not None
    return found.estimates.costs


def test_linear_costs_are_recovered() -> None:
    costs = true_costs()
    found = learn(costs)
    model = model_of(found)
    np.testing.assert_allclose(model.weight, WEIGHT, atol=0.02)
    np.testing.assert_allclose(model.length, LENGTH, atol=0.01)
    np.testing.assert_allclose(costs_of(model, EMBEDDINGS), costs, rtol=0.03)
    assert found.costs is not None
    np.testing.assert_allclose(found.costs, costs, rtol=0.03)  # out of fold, too
    # and what lies beyond those of train stays at its ends
    odd = costs_of(model, 20 * EMBEDDINGS)
    np.testing.assert_allclose(odd.max(axis=0)[:2], costs.max(axis=0)[:2], rtol=0.03)
    np.testing.assert_allclose(odd.min(axis=0)[:2], costs.min(axis=0)[:2], rtol=0.03)


def test_without_tokens_the_length_is_left_out() -> None:
    model = model_of(learn(true_costs(), tokens=None))
    np.testing.assert_allclose(model.length, 0.0, atol=1e-9)
    assert np.abs(model.weight[0] - WEIGHT[0]).max() < 0.2


def test_an_expert_that_cannot_be_told_costs_its_mean() -> None:
    costs = true_costs(scatter=1.0)
    model = model_of(learn(costs))
    assert np.abs(model.weight[2]).max() < 0.1
    assert abs(model.length[2]) < 0.05
    found = costs_of(model, EMBEDDINGS)
    np.testing.assert_allclose(found.mean(axis=0), costs.mean(axis=0), rtol=0.03)
    assert found[:, 2].std() < 0.1 * costs[:, 2].mean()
    assert np.corrcoef(np.log(found[:, 0]), np.log(costs[:, 0]))[0, 1] > 0.7  # unlike the first


@pytest.mark.parametrize("some", [slice(None), slice(0, N, 3)], ids=["all", "a third"])
def test_an_expert_that_costs_nothing(some: slice) -> None:
    costs = true_costs()
    costs[some, 1] = 0.0
    model = model_of(learn(costs))
    assert np.isfinite(np.concatenate([model.bias, model.low, model.high])).all()
    found = costs_of(model, EMBEDDINGS).mean(axis=0)
    np.testing.assert_allclose(found, costs.mean(axis=0), rtol=0.05, atol=1e-6 * costs.mean())


def test_costs_that_were_not_observed() -> None:
    costs = true_costs()
    holes = np.random.default_rng(3).random(costs.shape) < [0.4, 0.0, 0.9]
    found = learn(np.where(holes, np.nan, costs))
    assert found.costs is not None
    for expected in (costs_of(model_of(found), EMBEDDINGS), found.costs):
        seen = np.where(holes, 0.0, expected).sum(axis=0)
        np.testing.assert_allclose(seen, np.where(holes, 0.0, costs).sum(axis=0), rtol=0.01)
        np.testing.assert_allclose(expected[:, 1:], costs[:, 1:], rtol=0.05)
        assert np.corrcoef(np.log(expected[:, 0]), np.log(costs[:, 0]))[0, 1] > 0.99


def test_an_expert_without_any_cost_leaves_the_router_without() -> None:
    costs = true_costs()
    costs[:, 1] = np.nan
    for found in (learn(costs), learn(None)):
        assert (found.estimates.costs, found.costs) == (None, None)


@pytest.mark.parametrize("temperature", [0.05, 3.0])
def test_a_logit_is_worth_what_its_rewards_differ_by(temperature: float) -> None:
    random = np.random.default_rng(4)
    logits = random.normal(size=(N, 3))
    centred = logits - logits.mean(axis=1, keepdims=True)
    level = 0.5 + EMBEDDINGS @ np.array([0.3, 0.0, -0.2, 0.0, 0.1])
    truth = level[:, None] + temperature * centred
    judged = np.arange(N) % 3 != 2  # a fold that is not judged
    noisy = np.where(judged[:, None], truth + 0.02 * random.normal(size=(N, 3)), np.nan)
    found = learn(logits=np.where(judged[:, None], logits, np.nan), rewards=noisy)
    estimates = found.estimates
    np.testing.assert_allclose(estimates.slope, temperature, rtol=0.03)
    np.testing.assert_array_equal(found.rows, np.flatnonzero(judged))
    np.testing.assert_allclose(found.rewards, truth[judged], atol=0.02 + 0.01 * temperature)
    levels = EMBEDDINGS @ estimates.level + estimates.level_bias
    expected = estimates.rewards(levels[:, None], logits)
    np.testing.assert_allclose(expected, truth, atol=0.02 + 0.01 * temperature)


@pytest.mark.parametrize("n_rows", [N, 60, 9], ids="{} rows of 80 numbers".format)
def test_the_ridge_regressions_are_those_of_scikit_learn(n_rows: int) -> None:
    random = np.random.default_rng(6)
    inputs, folds = units(n_rows, 80, 7), np.arange(n_rows) % 3
    noise = np.geomspace(0.05, 5.0, 40) * random.normal(size=(n_rows, 40))
    targets = 1.0 + inputs @ random.normal(size=(80, 40)) + noise
    weight, bias, out_of_fold = _ridge(inputs, targets, folds)
    model: Any = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit(inputs, targets)
    assert len(set(model.alpha_)) > 1
    np.testing.assert_allclose(weight, model.coef_, atol=1e-12)
    np.testing.assert_allclose(bias, model.intercept_, atol=1e-12)
    for fold in range(3):
        seen = folds != fold
        part: Any = Ridge(alpha=model.alpha_).fit(inputs[seen], targets[seen])
        np.testing.assert_allclose(out_of_fold[~seen], part.predict(inputs[~seen]), atol=1e-12)


@pytest.mark.parametrize("sign", [0.0, -1.0], ids=["nothing", "the opposite"])
def test_logits_that_tell_nothing_keep_their_order(sign: float) -> None:
    rewards = np.random.default_rng(5).random((N, 3))
    assert learn(logits=sign * rewards, rewards=rewards).estimates.slope.tolist() == [LEAST]


def test_novelty_is_the_share_of_nearer_training_queries() -> None:
    sides = EMBEDDINGS[:, :2].argmax(axis=1)
    tags = given_tags(EMBEDDINGS.astype(np.float32), [[f"t{side}"] for side in sides])
    assert tags is not None
    estimates = learn(tags=tags).estimates
    assert estimates.nearness is not None
    assert estimates.nearness.shape == (KNOTS,)
    assert (np.diff(estimates.nearness.astype(np.float32)) > 0).all()
    nearest = (EMBEDDINGS @ tags.centroids.T).max(axis=1)
    ranks = (-nearest).argsort().argsort() / N
    np.testing.assert_allclose(estimates.novelty(nearest), ranks, atol=0.03)
    assert learn().estimates.nearness is None


@pytest.mark.parametrize("true_temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("holes", [False, True])
def test_calibration_recovers_a_known_temperature(true_temperature: float, holes: bool) -> None:
    random = np.random.default_rng(0)
    logits = true_temperature * random.normal(size=(20_000, 3)) * 1.5
    uniform = random.gumbel(size=logits.shape)  # arg max of logit + Gumbel draws from the softmax
    winner = (logits / true_temperature + uniform).argmax(axis=1)
    rewards = np.eye(3)[winner]
    if holes:
        loser = (winner + 1 + random.integers(0, 2, len(winner))) % 3
        rewards[np.arange(len(winner)), loser] = np.nan
    assert calibration_temperature(logits, rewards) == pytest.approx(true_temperature, rel=0.06)


def test_calibration_minimises_the_cross_entropy_with_shared_ties() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 3))
    rewards = np.round(logits + random.normal(size=(200, 3)))
    target = harden(rewards)

    def loss(temperature: float) -> float:
        return float(-(target * np.log(softmax(logits / temperature))).sum(axis=1).mean())

    best = calibration_temperature(logits, rewards)
    assert (target == 0.5).any()
    assert loss(best) < min(loss(best * 1.05), loss(best / 1.05))
