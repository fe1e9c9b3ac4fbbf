"""Paired bootstrap p-values against the t-test and by hand; Holm against published examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm, ttest_rel

from zooter_lite.measure.metrics import Draws, draw
from zooter_lite.measure.partial import subset_means
from zooter_lite.measure.significance import Gap, holm, paired_gaps, two_sided_p

Array = NDArray[np.float64]
NAN = float("nan")


@pytest.mark.parametrize(
    ("resampled", "expected"),
    [
        ([0.1] * 98 + [-0.1], 2 * 2 / 100),
        ([0.1] * 99, 2 * 1 / 100),  # they do not vary, so their number is the limit
        ([0.1, 0.2] * 4, norm.sf(3) * 2),  # mean 0.15, deviation 0.05
        ([0.1, 0.11] * 4, 1e-6),  # the tail is trusted no further
        ([0.0] * 99, 1.0),  # no difference at all
        ([0.1, NAN, -0.1, 0.1], 1.0),
        ([NAN, NAN], NAN),
    ],
)
def test_p_values_by_hand(resampled: list[float], expected: float) -> None:
    assert two_sided_p(np.array(resampled)) == pytest.approx(expected, nan_ok=True)


def test_holm_by_hand() -> None:
    assert holm([]) == []
    assert holm([NAN, 0.02, 0.03]) == pytest.approx([NAN, 0.04, 0.04], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_equals_its_definition_by_sequential_rejection(p_values: list[float]) -> None:
    # the adjusted value is the smallest level at which the step-down procedure rejects
    adjusted = holm(p_values)
    for level in (0.001, 0.05, 0.3, 0.8):
        rejected = set()
        order = sorted(range(len(p_values)), key=lambda i: p_values[i])
        for step, i in enumerate(order):
            if p_values[i] * (len(p_values) - step) > level:
                break
            rejected.add(i)
        assert {i for i, value in enumerate(adjusted) if value <= level} == rejected


def gaps_of(reference: Array, others: Array, draws: Draws) -> list[Gap]:
    """Gaps of complete rewards (n,) to those of others (n, k)."""
    columns = (reference[:, None] - others).T
    return paired_gaps(np.stack([subset_means(c, None, draws) for c in columns], axis=2), draws)


def test_gaps_by_hand() -> None:
    reference = np.array([1.0, 0.0, 1.0, NAN])
    others = np.array([[0.0, NAN], [0.0, NAN], [0.5, NAN], [1.0, NAN]])
    first, second = gaps_of(reference, others, draw([*"aabb"], 0, 500))
    assert first.value == 0.5
    assert first.low <= first.value <= first.high
    assert first.p == first.p_holm  # the other was never observed, so is not counted
    assert first.macro.value == 0.5
    assert first.subsets == {"a": 0.5, "b": 0.5}
    assert [second.value, second.p, second.p_holm] == pytest.approx([NAN] * 3, nan_ok=True)
    assert second.outcome == "unknown"


def test_a_difference_of_rounding_alone_is_none() -> None:
    draws = draw(["all"] * 4, 0, 100)
    (gap,) = paired_gaps(np.full((101, 1, 1), 1e-16), draws)
    assert (gap.value, gap.p, gap.outcome) == (0.0, 1.0, "unclear")


def test_a_clear_lead_is_shown_beside_a_hundred_experts_too() -> None:
    # two thousand resamples alone tell no p below 0.001, which Holm would make 0.1
    random = np.random.default_rng(0)
    reference = random.random(200) + 1
    gaps = gaps_of(reference, random.random((200, 100)), draw(["all"] * 200, 0))
    assert {gap.outcome for gap in gaps} == {"better"}
    behind = gaps_of(-reference, random.random((200, 100)), draw(["all"] * 200, 0))
    assert {gap.outcome for gap in behind} == {"worse"}


def test_p_values_are_close_to_those_of_the_paired_t_test() -> None:
    random = np.random.default_rng(0)
    others = random.normal(size=(400, 6))
    shifts = np.array([0.0, 0.02, 0.05, 0.08, 0.1, 0.3])
    reference = random.normal(size=400)
    others = reference[:, None] - shifts - random.normal(size=(400, 6))
    found = gaps_of(reference, others, draw(["all"] * 400, 1, 4000))
    for i, gap in enumerate(found):
        expected = ttest_rel(reference, others[:, i]).pvalue
        assert gap.p == pytest.approx(expected, abs=0.02)
        assert (gap.p < 0.05) == (gap.low > 0 or gap.high < 0)
    assert [gap.p_holm for gap in found] == holm([gap.p for gap in found])
