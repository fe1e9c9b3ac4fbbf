"""Ranks against scipy, and mean task rank and uplift by hand and by a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import rankdata

from tests.helpers import table
from zooter_lite.measure.metrics import Draws, draw, macro_mean
from zooter_lite.measure.partial import subset_means
from zooter_lite.measure.ranks import rank_means, ranked_systems, ranking
from zooter_lite.measure.system import Role, Slice, System, TrainedOn
from zooter_lite.router.decision import Predictions

Array = NDArray[np.float64]
NAN = float("nan")


def means_of(rewards: Array, draws: Draws) -> Array:
    """(1 + n_resamples, n_subsets, k) means of the columns."""
    return np.stack([subset_means(column, None, draws) for column in rewards.T], axis=2)


def ranked(means: list[float]) -> tuple[list[float], list[float]]:
    """Mean task ranks and uplifts of systems with these rewards on a table of one row."""
    rows, draws = np.array([means], dtype=np.float64), draw(["all"], 0, 2)
    figures = rank_means([means_of(rows, draws)], [draws], [{}])[2]
    return [f["mtr"].value for f in figures], [f["uplift"].value for f in figures]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=6))
def test_ranks_are_those_of_scipy(tenths: list[int]) -> None:
    means = [k / 10 for k in tenths]
    ranks, firsts = ranked(means)
    np.testing.assert_array_equal(ranks, rankdata([-mean for mean in means]))
    assert firsts == [float(mean == max(means)) for mean in means]


def test_means_that_differ_by_rounding_alone_are_tied() -> None:
    close = float(np.float32(0.1)) * 3
    assert ranked([0.3, close, 0.4]) == ([2.5, 2.5, 1.0], [0.0, 0.0, 1.0])
    assert ranked([0.3, close]) == ([1.5, 1.5], [1.0, 1.0])
    assert ranked([0.3, 0.3 + 1e-5]) == ([2.0, 1.0], [0.0, 1.0])


def test_a_suite_of_two_tables_by_hand() -> None:
    # one row per subset: a resample is the table itself, so every interval is a point
    one = np.array([[0.9, 0.1, 0.5], [0.4, 0.4, 0.2]])  # ranks 1 3 2 and 1.5 1.5 3
    two = np.array([[0.0, 1.0, 0.3]])  # ranks 3 1 2
    draws = [draw(["x", "y"], 0, 20), draw(["x"], 1, 20)]
    means = [means_of(rewards, drawn) for rewards, drawn in zip((one, two), draws, strict=True)]
    subsets, left_out, figures = rank_means(means, draws, [{"x": "maths"}, {"x": "code"}])
    assert (subsets, left_out) == (3, 0)
    first, second, third = figures
    for estimated, value in [
        (first["average"], 1.3 / 3),
        (first["mtr"], 5.5 / 3),
        (first["uplift"], 2 / 3),
        (second["average"], 0.5),
        (second["mtr"], 5.5 / 3),
        (second["uplift"], 2 / 3),
        (third["average"], 1.0 / 3),
        (third["mtr"], 7 / 3),
        (third["uplift"], 0.0),
    ]:
        assert estimated.value == pytest.approx(value)
        assert (estimated.low, estimated.high) == pytest.approx((value, value))
    assert [f["groups"] for f in figures] == [
        {"maths": 1.0, "code": 3.0},
        {"maths": 3.0, "code": 1.0},
        {"maths": 2.0, "code": 2.0},
    ]


def test_a_subset_that_a_system_never_answered_is_left_out() -> None:
    rewards = np.array([[1.0, 0.0], [0.0, 1.0], [NAN, 0.5], [NAN, NAN]])
    draws, groups = draw([*"aabb"], 0, 50), [{"a": "g", "b": "h"}]
    means = means_of(rewards, draws)
    subsets, left_out, (first, second) = rank_means([means], [draws], groups)
    assert (subsets, left_out) == (1, 1)
    assert first["mtr"].value == 1.5
    assert first["average"].value == second["average"].value == 0.5
    assert first["groups"] == pytest.approx({"g": 1.5, "h": NAN}, nan_ok=True)


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
    for i, system in enumerate(rank_means([means_of(rewards, draws)], [draws], [{}])[2]):
        for name, loop in [("average", averages), ("mtr", mtrs), ("uplift", uplifts)]:
            estimated = system[name]
            low, high = np.percentile(np.array(loop)[:, i], [2.5, 97.5])
            assert (estimated.low, estimated.high) == pytest.approx((low, high))
        assert system["average"].value == pytest.approx(macro_mean(rewards[:, i], subsets))
        assert system["groups"] == {}


def slice_of(names: list[tuple[str, Role]]) -> Slice:
    nothing = np.zeros((2, 1), dtype=np.float32)
    systems = [System(name, role, np.zeros(2)) for name, role in names]
    known = TrainedOn(np.array([0.0, 1.0]))
    rows, predicted = table([[0.0, 1.0]] * 2), Predictions(nothing)
    return Slice("t", "test", rows, known, predicted, nothing, systems)


def test_only_systems_of_every_slice_are_ranked_and_no_bound() -> None:
    one = slice_of(
        [("router", "router"), ("a", "single"), ("kNN", "baseline"), ("oracle", "bound")]
    )
    two = slice_of(
        [("kNN", "baseline"), ("router", "router"), ("b", "single"), ("oracle", "bound")]
    )
    assert [s.name for s in ranked_systems([one, two])] == ["router", "kNN"]
    assert [s.name for s in ranked_systems([one])] == ["router", "a", "kNN"]
    assert ranking([], []).systems == []
