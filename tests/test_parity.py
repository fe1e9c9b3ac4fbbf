"""The parity gate on hand-worked probabilities: what passes, what is refused, the margin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import DIM, NAN, toy_head, units
from zooter_lite.onnx.parity import ParityError, check_fp32, check_int8

EXPECTED = np.asarray([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0.34, 0.33, 0.33], [0.2, 0.2, 0.6]])
REWARDS = np.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.5, NAN], [0.0, 0.0, 1.0]])


def moved(row: int, values: list[float]) -> NDArray[np.floating]:
    found = EXPECTED.copy()
    found[row] = values
    return found


def test_the_fitted_head_on_the_same_embeddings_passes() -> None:
    head, embeddings = toy_head("prior"), units(8, DIM, 1)
    found = head.probs(embeddings).astype(np.float32)
    parity = check_fp32(found, head, embeddings, np.ones((8, 3)))
    assert parity.queries == 8
    assert parity.max_difference < 1e-6
    assert (parity.changed_decisions, parity.lost, parity.margin, parity.repeats) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "other",
    [
        lambda head: replace(head, temperature=head.temperature * 1.01),
        lambda head: replace(head, bias=head.bias * np.float32(np.nan)),
    ],
)
def test_another_head_than_the_graphs_is_refused(other: object) -> None:
    head, embeddings = toy_head("prior"), units(8, DIM, 1)
    changed = other(head)  # type: ignore[operator]
    with pytest.raises(ParityError, match=r"router\.onnx differs from its reference by"):
        check_fp32(head.probs(embeddings), changed, embeddings, np.ones((8, 3)))


def test_int8_figures_by_hand() -> None:
    # row 2 goes to expert 1 for 0.5 instead of 1: 0.5 of a range of 1 over four rows
    with pytest.raises(ParityError, match=r"loses 12\.50 points .* on 4 .* 25\.00% of the decis"):
        check_int8(moved(2, [0.33, 0.35, 0.32]), EXPECTED, REWARDS)
    better = REWARDS.copy()
    better[2] = [0.5, 1.0, NAN]
    parity = check_int8(moved(2, [0.33, 0.35, 0.32]), EXPECTED, better)
    assert parity.changed_decisions == 0.25
    assert parity.lost == pytest.approx(-12.5)
    assert parity.max_difference == pytest.approx(0.02)
    # error of the gap: 0.03 in row 2 (0.02 found, -0.01 expected), none in the others
    assert parity.margin == pytest.approx(np.quantile([0, 0, 0.03, 0], 0.99))
    assert parity.repeats == 0.25  # only row 2 is closer than that
    assert parity.changed_after_repeats == 0.0


def test_a_change_to_an_expert_without_reward_counts_as_changed_and_loses_nothing() -> None:
    parity = check_int8(moved(2, [0.33, 0.33, 0.34]), EXPECTED, REWARDS)
    assert parity.changed_decisions == 0.25
    assert parity.lost == 0.0


def test_a_tie_is_no_change() -> None:
    tied = moved(0, [0.45, 0.45, 0.1])
    other = tied.copy()
    other[0, 1] += 1e-7
    assert check_int8(other, tied, REWARDS).changed_decisions == 0.0


def test_the_range_of_the_rewards_is_the_unit() -> None:
    found = moved(2, [0.33, 0.35, 0.32])
    for scale in (1.0, 100.0):
        with pytest.raises(ParityError, match=r"loses 12\.50 points"):
            check_int8(found, EXPECTED, REWARDS * scale)
