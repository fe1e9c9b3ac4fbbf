"""Logs of routed prompts: the truth lies in the intervals, whatever the log's policy favoured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import table, units
from zooter_lite.compare.analysis import analyse
from zooter_lite.compare.routed import sliced
from zooter_lite.measure.metrics import draw
from zooter_lite.measure.partial import logged_means
from zooter_lite.measure.system import TrainedOn
from zooter_lite.router.decision import Predictions

N = 800
NAN = float("nan")


def test_the_truth_lies_in_the_intervals_and_the_plain_mean_is_off() -> None:
    held, plain = np.zeros(2), 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        easy = random.random(N) < 0.5
        means = np.where(easy, 0.9, 0.2)[:, None] + np.array([0.0, 0.05, -0.1])
        rewards = (random.random((N, 3)) < means).astype(np.float64)
        # the log sends easy queries to the last expert, and explores with the rest
        favoured = np.where(easy, 2, 0)
        chances = np.full((N, 3), 0.1)
        chances[np.arange(N), favoured] = 0.8
        logged = np.array([random.choice(3, p=p) for p in chances])
        seen = np.where(logged[:, None] == np.arange(3), rewards, NAN)
        choices = np.full(N, 2)
        rows = replace(table(seen), propensities=chances[np.arange(N), logged])
        found = logged_means(rows, choices, np.full((N, 3), 0.5), draw(rows.subsets, 0, 200))
        assert found is not None
        assert found.rows == N
        assert found.agreed == (logged == 2).sum()
        truth = rewards[:, 2].mean()
        held += [
            estimate.low <= truth <= estimate.high
            for estimate in (found.inverse_propensity, found.doubly_robust)
        ]
        plain += abs(np.nanmean(seen[:, 2]) - truth) > 0.1
    assert held.min() >= 0.95 * 200, held
    assert plain == 200


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


def test_the_report_tells_both_estimates() -> None:
    random = np.random.default_rng(0)
    whole = random.random((60, 2))
    logged = random.integers(0, 2, 60)
    seen = np.where(logged[:, None] == np.arange(2), whole, NAN)
    part = replace(table(seen), propensities=np.full(60, 0.5))
    train = table(whole)
    probs = np.tile(np.asarray([0.9, 0.1], dtype=np.float32), (60, 1))
    known = TrainedOn(whole.mean(axis=0), train, units(60, 2, 0).astype(np.float32))
    outputs = (Predictions(probs), units(60, 2, 1).astype(np.float32))
    one = analyse([sliced(("log", "test"), part, known, outputs)]).slices["test"]
    found = one.router.logged
    assert found is not None
    assert found.inverse_propensity.value == pytest.approx(np.nanmean(seen[:, 0]), abs=1e-6)
    assert "By the propensities of 60 logged choices, of which it agrees with" in one.verdict.text
    assert "(doubly robust)" in one.verdict.text
