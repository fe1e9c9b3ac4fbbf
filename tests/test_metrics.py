"""Means and bootstrap intervals: by hand, by a naive loop, against the normal approximation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from zooter_lite.measure.metrics import (
    Estimate,
    draw,
    estimate,
    macro_mean,
    mean_estimates,
    micro_mean,
    probability_of_gain,
    resample,
    resampled_means,
    reward_of,
    subset_means,
)

Array = NDArray[np.float64]
NAN = float("nan")


def test_reward_of_by_hand() -> None:
    rewards = np.array([[0.1, 0.2], [0.3, NAN], [0.5, 0.6]], dtype=np.float32)
    found = reward_of(np.array([1, 1, 0]), rewards)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [0.2, NAN, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "subsets", "micro", "macro"),
    [
        ([1.0, 0.0, 0.5], "aab", 0.5, 0.5),
        ([1.0, 1.0, 1.0, 0.0], "aaab", 0.75, 0.5),
        ([1.0, NAN, 0.0, 0.0], "aabb", 1 / 3, 0.5),  # NaN counts nowhere
        ([1.0, NAN, NAN], "abb", 1.0, 1.0),  # nor does a subset of nothing else
        ([0.2], "z", 0.2, 0.2),
    ],
)
def test_micro_and_macro_by_hand(
    values: list[float], subsets: str, micro: float, macro: float
) -> None:
    assert micro_mean(np.array(values)) == pytest.approx(micro)
    assert macro_mean(np.array(values), list(subsets)) == pytest.approx(macro)


def test_subset_means_by_hand() -> None:
    found = subset_means(np.array([1.0, 0.0, NAN, 0.25]), ["b", "b", "a", "c"])
    assert found == pytest.approx({"a": NAN, "b": 0.5, "c": 0.25}, nan_ok=True)


def test_the_mean_of_nothing_is_nan() -> None:
    assert math.isnan(micro_mean(np.array([NAN, NAN])))


def draws_of(subsets: list[str], seed: int, n: int) -> list[NDArray[np.int64]]:
    """How often each row of each subset is drawn, from the same generator in the same order."""
    random = np.random.default_rng(seed)
    labels = np.asarray(subsets)
    sizes = [int((labels == subset).sum()) for subset in np.unique(labels)]
    return [random.multinomial(size, [1 / size] * size, size=n) for size in sizes]


def test_resampling_equals_a_naive_loop_over_the_same_draws() -> None:
    random = np.random.default_rng(4)
    subsets = [str(s) for s in random.choice(["x", "y", "z"], size=25)]
    values = random.random(25)
    values[[3, 7, 11]] = NAN
    other = random.random(25)
    found = resample({"a": values, "b": other}, subsets, seed=9, n_resamples=40)
    draws = draws_of(subsets, 9, 40)
    for name, method in (("a", values), ("b", other)):
        for i in range(40):
            everything: list[float] = []
            means = []
            for subset, counts in zip(sorted(set(subsets)), draws, strict=True):
                rows = [r for r in range(25) if subsets[r] == subset]
                drawn = [method[r] for r, c in zip(rows, counts[i], strict=True) for _ in range(c)]
                seen = [float(value) for value in drawn if not math.isnan(value)]
                everything += seen
                means += [sum(seen) / len(seen)] if seen else []
            assert found.micro[name][i] == pytest.approx(sum(everything) / len(everything))
            assert found.macro[name][i] == pytest.approx(sum(means) / len(means))


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).random(4000)
    drawn = resample({"a": values}, ["all"] * 4000, seed=1)
    found = estimate(micro_mean(values), drawn.micro["a"])
    half = 1.96 * values.std() / math.sqrt(4000)
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_interval_covers_the_truth_in_about_95_of_100_tables() -> None:
    random, covered = np.random.default_rng(0), 0
    for seed in range(300):
        values = (random.random(80) < 0.3).astype(np.float64)
        drawn = resample({"a": values}, ["all"] * 80, seed, n_resamples=300).micro["a"]
        found = estimate(float(values.mean()), drawn)
        covered += found.low <= 0.3 <= found.high
    assert 0.90 <= covered / 300 <= 0.98


def test_draws_stay_within_each_subset() -> None:
    # each subset is constant, so the macro mean cannot move; nor can the micro mean
    values = np.array([0.0] * 5 + [1.0] * 15)
    drawn = resample({"a": values}, ["x"] * 5 + ["y"] * 15, seed=0, n_resamples=50)
    np.testing.assert_allclose(drawn.macro["a"], 0.5)
    np.testing.assert_allclose(drawn.micro["a"], 0.75)


def test_methods_are_drawn_together() -> None:
    values = np.random.default_rng(0).random(30)
    drawn = resample({"a": values, "b": values + 0.01}, ["all"] * 30, seed=0, n_resamples=300)
    np.testing.assert_allclose(drawn.micro["b"] - drawn.micro["a"], 0.01)
    assert drawn.micro["a"].std() > 0.02
    assert probability_of_gain(drawn.micro["b"], drawn.micro["a"]) == 1.0


def test_the_seed_decides_the_draws() -> None:
    values = np.random.default_rng(0).random(30)
    runs = [resample({"a": values}, ["all"] * 30, seed).micro["a"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    assert len(runs[0]) == 2000


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 0.0], 0.625),
        ([1.0], [1.0], 0.5),
        ([2.0, 2.0], [1.0, 1.0], 1.0),
        ([0.0, 0.0], [1.0, 1.0], 0.0),
        ([NAN, 1.0, 2.0], [0.0, NAN, 1.0], 1.0),
        ([NAN, 1.0], [0.0, NAN], NAN),
    ],
)
def test_probability_of_gain_by_hand(
    first: list[float], second: list[float], expected: float
) -> None:
    found = probability_of_gain(np.array(first), np.array(second))
    assert found == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_gain_and_loss_add_up_to_one(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    total = probability_of_gain(first, second) + probability_of_gain(second, first)
    assert total == pytest.approx(1.0)


def test_estimate_by_hand() -> None:
    assert estimate(0.5, np.arange(101.0)) == Estimate(0.5, 2.5, 97.5)
    assert estimate(0.5, np.append(np.arange(101.0), NAN)) == Estimate(0.5, 2.5, 97.5)


def test_sums_equal_a_loop_over_the_drawn_rows() -> None:
    subsets = ["b", "a", "b", "b", "a", "b"]
    columns = np.random.default_rng(2).normal(size=(6, 3))
    draws = draw(subsets, seed=5, n_resamples=7)
    assert draws.subsets == ["a", "b"]
    assert [rows.tolist() for rows in draws.rows] == [[1, 4], [0, 2, 3, 5]]
    found = draws.sums(columns)
    for i in range(7):
        for place, (rows, counts) in enumerate(zip(draws.rows, draws.counts, strict=True)):
            assert counts[i].sum() == len(rows)
            drawn = [columns[r] for r, c in zip(rows, counts[i], strict=True) for _ in range(c)]
            np.testing.assert_allclose(found[i, place], np.sum(drawn, axis=0))


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


def test_one_set_of_draws_serves_several_statistics() -> None:
    subsets = [*"aabbbc"]
    values = np.array([1.0, 0.0, NAN, 0.5, 1.0, 0.25])
    draws = draw(subsets, seed=4, n_resamples=200)
    found = resampled_means({"one": values}, draws)
    again = resample({"one": values}, subsets, seed=4, n_resamples=200)
    np.testing.assert_array_equal(found.micro["one"], again.micro["one"])
    np.testing.assert_array_equal(found.micro["one"], draws.means(values[:, None])[:, 0])
    assert mean_estimates(values[:, None], draws) == [estimate(0.55, found.micro["one"])]
