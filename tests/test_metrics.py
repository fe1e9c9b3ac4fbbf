"""Means and bootstrap intervals: by hand, by a naive loop, against the normal approximation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from zooter_lite.measure.metrics import (
    Estimate,
    draw,
    estimate,
    measure,
    paired_means,
)

Array = NDArray[np.float64]
NAN = float("nan")


def draws_of(subsets: list[str], seed: int, n: int) -> list[NDArray[np.int64]]:
    """How often each row of each subset is drawn, from the same generator in the same order."""
    random = np.random.default_rng(seed)
    labels = np.asarray(subsets)
    sizes = [int((labels == subset).sum()) for subset in np.unique(labels)]
    return [random.multinomial(size, [1 / size] * size, size=n) for size in sizes]


def test_means_and_intervals_equal_a_naive_loop_over_the_same_draws() -> None:
    random = np.random.default_rng(4)
    subsets = [str(s) for s in random.choice(["x", "y", "z"], size=25)]
    columns = random.random((25, 2))
    columns[[3, 7, 11], 0] = NAN
    columns[np.asarray(subsets) == "y", 1] = NAN  # a subset of nothing else counts nowhere
    measured = measure(columns, draw(subsets, 9, 40))
    draws = draws_of(subsets, 9, 40)
    for k, column in enumerate(columns.T):
        micro, macro = [], []
        for i in range(40):
            everything: list[float] = []
            means = []
            for subset, counts in zip(sorted(set(subsets)), draws, strict=True):
                rows = [r for r in range(25) if subsets[r] == subset]
                drawn = [column[r] for r, c in zip(rows, counts[i], strict=True) for _ in range(c)]
                seen = [float(value) for value in drawn if not math.isnan(value)]
                everything += seen
                means += [sum(seen) / len(seen)] if seen else []
            micro.append(sum(everything) / len(everything))
            macro.append(sum(means) / len(means))
        np.testing.assert_allclose(measured.means[1:, k], micro)
        whole = [column[np.asarray(subsets) == subset] for subset in "xyz"]
        means = [np.nanmean(part) for part in whole if not np.isnan(part).all()]
        assert measured.micro[k].value == pytest.approx(np.nanmean(column))
        assert measured.macro[k].value == pytest.approx(np.mean(means))
        for found, values in ((measured.micro[k], micro), (measured.macro[k], macro)):
            assert (found.low, found.high) == pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_the_interval_covers_the_truth_in_about_95_of_100_tables() -> None:
    random, covered = np.random.default_rng(0), 0
    for seed in range(300):
        values = (random.random((80, 1)) < 0.3).astype(np.float64)
        (found,) = measure(values, draw(["all"] * 80, seed, 300)).micro
        covered += found.low <= 0.3 <= found.high
    assert 0.90 <= covered / 300 <= 0.98


def test_estimate_by_hand() -> None:
    for more in ([], [NAN]):
        assert estimate(np.array([0.5, *range(101), *more])) == Estimate(0.5, 2.5, 97.5)


def test_paired_means_by_hand() -> None:
    columns = np.array([[1.0, 0.0], [NAN, 1.0], [0.0, 0.5], [1.0, NAN]])
    np.testing.assert_array_equal(paired_means(columns), [0.5, 0.25])
    assert np.isnan(paired_means(columns[[1, 3]])).all()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    subsets = ["x"] * 9 + ["y"] * 4
    columns = np.random.default_rng(2).normal(size=(13, 2))
    columns[[0, 5], 1] = NAN
    whole = draw(subsets, seed=(3, 1), n_resamples=11)
    expected = whole.means(columns)
    monkeypatch.setattr("zooter_lite.measure.metrics.CHUNK", 20)
    pieces = draw(subsets, seed=(3, 1), n_resamples=11)
    for one, other in zip(whole.counts, pieces.counts, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(pieces.means(columns), expected)
