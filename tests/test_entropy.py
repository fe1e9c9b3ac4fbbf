"""Entropy curve by hand, Spearman against scipy on the same resamples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy
from scipy.stats import spearmanr

from tests.helpers import softmax
from zooter_lite.measure.entropy import entropy_curve, spearman
from zooter_lite.measure.metrics import draw

NAN = float("nan")


def test_bins_by_hand() -> None:
    rewards = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0], [NAN, 3.0]])
    choices = np.array([0, 0, 1, 0, 0])
    found = entropy_curve(rewards, choices, draw(["all"] * 5, 0, 50), n_bins=2)
    sharp = float(scipy_entropy(softmax(np.array([[2.0, 0.0]]))[0]))
    first, second = found.bins
    assert (first.low, first.high, first.entropy) == pytest.approx((sharp,) * 3)
    assert (first.quality, first.count) == (0.0, 2)  # one choice 1 above the mean, one 1 below
    assert first.quality_low == -1.0
    assert first.quality_high == 1.0
    assert (second.low, second.high, second.entropy) == pytest.approx((math.log(2),) * 3)
    assert (second.quality, second.quality_low, second.quality_high) == (0.0, 0.0, 0.0)
    assert second.count == 2


def test_spearman_is_that_of_scipy_on_every_resample() -> None:
    random = np.random.default_rng(1)
    first = random.integers(6, size=40).astype(np.float64)
    second = first + random.integers(8, size=40)
    first[3], second[7] = NAN, NAN
    draws = draw([*"aabb"] * 10, 2, 30)
    correlations = []
    for i in range(30):
        rows = np.concatenate(
            [np.repeat(r, c[i]) for r, c in zip(draws.rows, draws.counts, strict=True)]
        )
        correlations.append(spearmanr(first[rows], second[rows], nan_policy="omit").statistic)
    found = spearman(first, second, draws)
    low, high = np.percentile(correlations, [2.5, 97.5])
    expected = spearmanr(first, second, nan_policy="omit").statistic
    assert (found.value, found.low, found.high) == pytest.approx((expected, low, high))


def test_without_variation_or_rows_there_is_no_correlation() -> None:
    draws = draw(["all"] * 3, 0, 10)
    assert math.isnan(spearman(np.ones(3), np.arange(3.0), draws).value)
    assert math.isnan(spearman(np.full(3, NAN), np.arange(3.0), draws).value)
    unseen = np.array([[NAN, 1.0]] * 3)
    found = entropy_curve(unseen, np.zeros(3, dtype=np.int64), draws)
    assert found.bins == []
    assert math.isnan(found.spearman.value)
