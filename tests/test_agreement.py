"""Agreement of two scorers against scipy, query by query."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import stats

from zooter_lite.scoring.rewards import agreement, ties

NAN = np.nan
FEW = st.sampled_from([0.0, 0.5, 1.0, 7.0, NAN])


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float64, (6, 4), elements=FEW), arrays.arrays(np.float64, (6, 4), elements=FEW)
)
def test_correlations_within_queries_equal_those_of_scipy(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> None:
    kendall = []
    for a, b in zip(first, second, strict=True):
        both = ~np.isnan(a) & ~np.isnan(b)
        if both.sum() > 1 and len(set(a[both])) > 1 and len(set(b[both])) > 1:
            kendall.append(stats.kendalltau(a[both], b[both]).statistic)
    found = agreement(first, second)
    assert found.queries == len(kendall)
    if kendall:
        assert found.kendall == pytest.approx(np.mean(kendall), abs=1e-9)
    else:
        assert np.isnan(found.kendall)


def test_a_worked_example() -> None:
    first = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 0.0], [5.0, NAN, NAN]])
    second = np.array([[10.0, 30.0, 20.0], [1.0, 0.0, 0.0], [5.0, 1.0, NAN]])
    found = agreement(first, second)
    assert found.responses == 7
    assert found.queries == 2
    assert found.kendall == pytest.approx((1 / 3 + 0.5) / 2)  # second row: 1 / sqrt(2 * 2)
    assert found.same_best == pytest.approx((0.0 + 0.5) / 2)
    assert "same best expert 25.0%" in found.summary()
    assert ties(first) == pytest.approx(1 / 6)
    assert ties(second) == pytest.approx(1 / 7)
