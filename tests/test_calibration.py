"""Calibration against scikit-learn and simulated tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from zooter_lite.measure.calibration import calibration, equal_mass_bins
from zooter_lite.measure.metrics import Draws, draw

Array = NDArray[np.float64]
NAN = float("nan")


def draws_of(n: int, n_resamples: int = 200) -> Draws:
    return draw(["all"] * n, 0, n_resamples)


def sample(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Confidences, and events that come a little less often than they say."""
    random = np.random.default_rng(seed)
    confidence = random.random(n)
    return confidence, (random.random(n) < 0.9 * confidence).astype(np.float64)


def test_bins_and_brier_are_those_of_scikit_learn() -> None:
    confidence, events = sample(1000)
    found = calibration(confidence, events, draws_of(1000))
    accuracy, mean = calibration_curve(events, confidence, n_bins=10, strategy="quantile")
    assert found.brier.value == pytest.approx(brier_score_loss(events, confidence))
    assert found.ece.value == pytest.approx(np.abs(accuracy - mean).mean())


def test_the_interval_is_the_basic_bootstrap_one() -> None:
    events, draws = (np.arange(60) < 10).astype(np.float64), draws_of(60)
    found = calibration(np.full(60, 0.5), events, draws).ece  # all in one bin
    low, high = np.percentile(np.abs(0.5 - draws.counts[0] @ events / 60), [2.5, 97.5])
    assert found.value == pytest.approx(1 / 3)
    assert [found.low, found.high] == pytest.approx([2 / 3 - high, 2 / 3 - low])


def test_the_interval_of_the_error_covers_the_truth() -> None:
    slope, truth = 0.95, 0.025
    # events come with probability slope x confidence; the mean confidence is 1/2
    random, covered, draws = np.random.default_rng(0), 0, draws_of(800, 400)
    for _ in range(100):
        confidence = random.random(800)
        events = (random.random(800) < slope * confidence).astype(np.float64)
        found = calibration(confidence, events, draws).ece
        covered += found.low <= truth <= found.high
    assert covered / 100 >= 0.83


def test_what_is_unknown_counts_nowhere() -> None:
    confidence, events = sample(300)
    gaps = np.array([0.5, 0.6])
    some = calibration(np.append(confidence, gaps), np.append(events, [NAN] * 2), draws_of(302))
    all_known = calibration(confidence, events, draws_of(300))
    assert some.ece.value == pytest.approx(all_known.ece.value)
    assert some.brier.value == pytest.approx(all_known.brier.value)
    nothing = calibration(gaps, np.array([NAN, NAN]), draws_of(2))
    assert np.isnan([*vars(nothing.ece).values(), *vars(nothing.brier).values()]).all()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 8))
def test_bins_keep_equal_values_together_and_in_order(values: list[int], n_bins: int) -> None:
    places = equal_mass_bins(np.array(values, dtype=np.float64), n_bins)
    assert sorted(set(places.tolist())) == list(range(places.max() + 1))
    assert places.max() < n_bins
    for one, bin_of_one in zip(values, places, strict=True):
        for other, bin_of_other in zip(values, places, strict=True):
            if one == other:
                assert bin_of_one == bin_of_other
            if one < other:
                assert bin_of_one <= bin_of_other
