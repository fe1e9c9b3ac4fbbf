"""Ranks against scipy, and mean task rank and uplift by hand and by a plain loop."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import rankdata

from tests.helpers import table
from zooter_lite.measure.metrics import Estimate, draw, macro_mean
from zooter_lite.measure.ranks import common_systems, firsts, rank_systems, ranks
from zooter_lite.measure.system import Role, Slice, System

Array = NDArray[np.float64]
NAN = float("nan")


@given(arrays(np.float64, (4, 5), elements=st.integers(-3, 3).map(lambda k: k / 10)))
def test_ranks_are_those_of_scipy(means: Array) -> None:
    np.testing.assert_array_equal(ranks(means), rankdata(-means, axis=1))


@given(arrays(np.float64, 6, elements=st.floats(-1e3, 1e3)))
def test_ranks_always_share_out_the_same_sum(means: Array) -> None:
    assert ranks(means).sum() == 6 * 7 / 2


def test_means_that_differ_by_rounding_alone_are_tied() -> None:
    close = np.float64(np.float32(0.1)) * 3
    np.testing.assert_array_equal(ranks(np.array([0.3, close, 0.4])), [2.5, 2.5, 1.0])
    np.testing.assert_array_equal(firsts(np.array([0.3, close])), [1.0, 1.0])
    np.testing.assert_array_equal(ranks(np.array([0.3, 0.3 + 1e-5])), [2.0, 1.0])


def test_a_task_with_an_unknown_mean_has_no_ranks() -> None:
    means = np.array([[0.5, NAN, 0.1], [0.5, 0.2, 0.1]])
    np.testing.assert_array_equal(ranks(means), [[NAN] * 3, [1, 2, 3]])
    np.testing.assert_array_equal(firsts(means), [[NAN] * 3, [1, 0, 0]])


def test_a_suite_of_two_tables_by_hand() -> None:
    # one row per subset: a resample is the table itself, so every interval is a point
    one = np.array([[0.9, 0.1, 0.5], [0.4, 0.4, 0.2]])  # ranks 1 3 2 and 1.5 1.5 3
    two = np.array([[0.0, 1.0, 0.3]])  # ranks 3 1 2
    found = rank_systems(
        [one, two],
        [draw(["x", "y"], 0, 20), draw(["x"], 1, 20)],
        [{"x": "maths"}, {"x": "code"}],
    )
    assert (found.tasks, found.left_out) == (3, 0)
    first, second, third = found.systems
    for estimated, value in [
        (first.average, 1.3 / 3),
        (first.mtr, 5.5 / 3),
        (first.uplift, 2 / 3),
        (second.average, 0.5),
        (second.mtr, 5.5 / 3),
        (second.uplift, 2 / 3),
        (third.average, 1.0 / 3),
        (third.mtr, 7 / 3),
        (third.uplift, 0.0),
    ]:
        assert estimated.value == pytest.approx(value)
        assert (estimated.low, estimated.high) == pytest.approx((value, value))
    assert [s.groups for s in found.systems] == [
        {"maths": 1.0, "code": 3.0},
        {"maths": 3.0, "code": 1.0},
        {"maths": 2.0, "code": 2.0},
    ]


def test_a_subset_that_a_system_never_answered_is_left_out() -> None:
    rewards = np.array([[1.0, 0.0], [0.0, 1.0], [NAN, 0.5], [NAN, NAN]])
    found = rank_systems([rewards], [draw([*"aabb"], 0, 50)], [{"a": "g", "b": "h"}])
    assert (found.tasks, found.left_out) == (1, 1)
    assert found.systems[0].mtr.value == 1.5
    assert found.systems[0].average.value == 0.5
    assert found.systems[1].average.value == 0.5
    assert found.systems[0].groups == pytest.approx({"g": 1.5, "h": NAN}, nan_ok=True)


def test_intervals_equal_a_plain_loop_over_the_draws() -> None:
    random = np.random.default_rng(0)
    subsets = [str(s) for s in random.choice([*"pqr"], size=40)]
    rewards = np.round(random.random((40, 3)), 1)
    draws = draw(subsets, seed=3, n_resamples=60)
    averages, mtrs, uplifts = [], [], []
    for i in range(60):
        means = []
        for rows, counts in zip(draws.rows, draws.counts, strict=True):
            drawn = [r for r, c in zip(rows, counts[i], strict=True) for _ in range(c)]
            means.append(rewards[drawn].mean(axis=0))
        ranked = [rankdata(-np.round(mean, 9)) for mean in means]
        averages.append(np.mean(means, axis=0))
        mtrs.append(np.mean(ranked, axis=0))
        uplifts.append(np.mean([np.round(m, 9) == np.round(m, 9).max() for m in means], axis=0))
    found = rank_systems([rewards], [draws], [{}])
    for i, system in enumerate(found.systems):
        for estimated, loop in [
            (system.average, averages),
            (system.mtr, mtrs),
            (system.uplift, uplifts),
        ]:
            low, high = np.percentile(np.array(loop)[:, i], [2.5, 97.5])
            assert (estimated.low, estimated.high) == pytest.approx((low, high))
        assert system.average.value == pytest.approx(macro_mean(rewards[:, i], subsets))
        assert system.groups == {}


def test_the_interval_holds_the_mean_rank_that_tables_of_this_size_show() -> None:
    random = np.random.default_rng(0)
    chances = np.clip(0.5 + random.normal(0, 0.05, (12, 5)), 0, 1).repeat(50, axis=0)
    draws = draw(np.arange(12).repeat(50).astype(str).tolist(), 1, 200)
    values, lows, highs = [], [], []
    for _ in range(60):
        rewards = (random.random((600, 5)) < chances).astype(np.float64)
        found = [system.mtr for system in rank_systems([rewards], [draws], [{}]).systems]
        values.append([mtr.value for mtr in found])
        lows.append([mtr.low for mtr in found])
        highs.append([mtr.high for mtr in found])
    expected = np.mean(values, axis=0)
    held = (np.array(lows) <= expected) & (expected <= np.array(highs))
    assert held.mean() > 0.9


def test_a_system_that_always_wins_has_rank_one_and_full_uplift() -> None:
    rewards = np.random.default_rng(0).random((30, 2))
    rewards = np.column_stack([rewards.max(axis=1) + 0.1, rewards])
    found = rank_systems([rewards], [draw([*"abc"] * 10, 0)], [{}]).systems[0]
    assert found.mtr == Estimate(1.0, 1.0, 1.0)
    assert found.uplift == Estimate(1.0, 1.0, 1.0)


def slice_of(names: list[tuple[str, Role]]) -> Slice:
    nothing = np.zeros((2, 1), dtype=np.float32)
    systems = [System(name, role, np.zeros(2), None) for name, role in names]
    rows = table([[0.0, 1.0]] * 2)
    return Slice("s", "t", "test", rows, {}, 0, nothing, nothing, systems)


def test_only_systems_of_every_slice_are_ranked_and_no_bound() -> None:
    one = slice_of(
        [("router", "router"), ("a", "single"), ("kNN", "baseline"), ("oracle", "bound")]
    )
    two = slice_of(
        [("kNN", "baseline"), ("router", "router"), ("b", "single"), ("oracle", "bound")]
    )
    assert common_systems([one, two]) == ["router", "kNN"]
    assert common_systems([one]) == ["router", "a", "kNN"]


def test_a_large_slice_takes_seconds() -> None:
    rewards = np.random.default_rng(0).random((9408, 20))
    start = time.perf_counter()
    draws = draw([*"abcde"] * 1881 + [*"abc"], 0)
    rank_systems([rewards], [draws], [{}])
    assert time.perf_counter() - start < 20
