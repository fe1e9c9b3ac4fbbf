"""Ranks against scipy, and mean task rank and uplift by hand and by a plain loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from tests.helpers import table
from zooter_lite.measure.metrics import draw
from zooter_lite.measure.ranks import ranking
from zooter_lite.measure.system import Role, Slice, System, TrainedOn
from zooter_lite.router.decision import Predictions

Array = NDArray[np.float64]
NAN = float("nan")


def system(name: str, role: Role = "baseline", rewards: Sequence[float] = (0.0, 0.0)) -> System:
    return System(name, role, np.asarray(rewards, dtype=np.float64))


def slice_of(systems: list[System], subsets: Sequence[str] = "aa") -> Slice:
    nothing, known = np.zeros((len(subsets), 1), dtype=np.float32), TrainedOn(np.array([0.0, 1.0]))
    rows = table([[0.0, 1.0]] * len(subsets), subsets=[*subsets])
    return Slice("t", "test", rows, known, Predictions(nothing), nothing, systems)


def of_columns(rewards: Array, subsets: Sequence[str]) -> Slice:
    """Slice with a system for each column."""
    systems = [system(f"s{i}", rewards=column) for i, column in enumerate(rewards.T)]
    return slice_of(systems, subsets)


def ranked(means: list[float]) -> tuple[list[float], list[float]]:
    """Mean task ranks and uplifts of systems with these rewards on a table of one row."""
    one = of_columns(np.array([means], dtype=np.float64), "a")
    systems = ranking([one], [draw([*"a"], 0, 2)]).systems
    return [s.mtr.value for s in systems], [s.uplift.value for s in systems]


def test_means_that_differ_by_rounding_alone_are_tied() -> None:
    close = float(np.float32(0.1)) * 3
    assert ranked([0.3, close, 0.4]) == ([2.5, 2.5, 1.0], [0.0, 0.0, 1.0])
    assert ranked([0.3, close]) == ([1.5, 1.5], [1.0, 1.0])
    assert ranked([0.3, 0.3 + 1e-5]) == ([2.0, 1.0], [0.0, 1.0])


def test_a_suite_of_two_tables_by_hand() -> None:
    # one row per subset: a resample is the table itself, so every interval is a point
    one = np.array([[0.9, 0.1, 0.5], [0.4, 0.4, 0.2]])  # ranks 1 3 2 and 1.5 1.5 3
    two = np.array([[0.0, 1.0, 0.3]])  # ranks 3 1 2
    slices = [of_columns(one, "xy"), of_columns(two, "x")]
    found = ranking(slices, [draw([*"xy"], 0, 20), draw([*"x"], 1, 20)])
    assert (found.subsets, found.slices) == (3, ["t test"] * 2)
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


def test_a_subset_that_a_system_never_answered_is_left_out() -> None:
    rewards = np.array([[1.0, 0.0], [0.0, 1.0], [NAN, 0.5], [NAN, NAN]])
    found = ranking([of_columns(rewards, "aabb")], [draw([*"aabb"], 0, 50)])
    assert found.subsets == 1
    first, second = found.systems
    assert first.mtr.value == 1.5
    assert first.average.value == second.average.value == 0.5


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
        places = [rankdata(-np.round(mean, 9)) for mean in means]
        averages.append(np.mean(means, axis=0))
        mtrs.append(np.mean(places, axis=0))
        uplifts.append(np.mean([np.round(m, 9) == np.round(m, 9).max() for m in means], axis=0))
    for i, one in enumerate(ranking([of_columns(rewards, subsets)], [draws]).systems):
        for found, loop in [(one.average, averages), (one.mtr, mtrs), (one.uplift, uplifts)]:
            low, high = np.percentile(np.array(loop)[:, i], [2.5, 97.5])
            assert (found.low, found.high) == pytest.approx((low, high))
        assert one.average.value == pytest.approx(
            np.mean([rewards[rows, i].mean() for rows in draws.rows])
        )


def test_only_systems_of_every_slice_are_ranked_and_no_bound() -> None:
    router, kept, bound = system("router", "router"), system("kNN"), system("oracle", "bound")
    one = slice_of([router, system("a", "single"), kept, bound])
    two = slice_of([kept, router, system("b", "single"), bound])
    draws = [draw([*"aa"], place, 2) for place in range(2)]
    assert [s.name for s in ranking([one, two], draws).systems] == ["router", "kNN"]
    assert [s.name for s in ranking([one], draws[:1]).systems] == ["router", "a", "kNN"]
    assert ranking([], []).systems == []
