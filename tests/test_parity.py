"""The parity gate on hand-worked probabilities: what passes, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import DIM, NAN, toy_head, units
from zooter_lite.onnx.parity import ParityError, check_fp32, check_smaller
from zooter_lite.router.decision import Predictions

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
    assert (parity.changed_decisions, parity.lost) == (0, 0)


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


def known(probs: NDArray[np.floating]) -> Predictions:
    """What fp32 expects: ten points for ten percent."""
    return Predictions(probs, rewards=probs)


def test_int8_figures_by_hand() -> None:
    better = REWARDS.copy()
    better[2] = [0.5, 1.0, NAN]
    parity = check_smaller(
        "router.int8.onnx", moved(2, [0.33, 0.35, 0.32]), Predictions(EXPECTED), better
    )
    assert parity.changed_decisions == 0.25
    assert parity.lost == pytest.approx(-12.5)
    assert parity.expected_loss == parity.expected_loss_bound == 0  # nothing is expected
    assert parity.lost_error == pytest.approx(np.std([0, 0, -50, 0], ddof=1) / 2)
    assert parity.max_difference == pytest.approx(0.02)
    before, after = np.asarray([0.34, 0.33, 0.33]), np.asarray([0.33, 0.35, 0.32])
    assert parity.divergence == pytest.approx((before * np.log(before / after)).sum() / 4)


def test_one_decision_that_happens_to_lose_is_below_what_the_queries_can_tell() -> None:
    # row 2 goes to expert 1 for 0.5 instead of 1, where a hundredth was expected to be lost
    parity = check_smaller(
        "router.int8.onnx", np.tile(moved(2, [0.33, 0.35, 0.32]), (9, 1)), *many(9, EXPECTED / 10)
    )
    assert parity.lost == pytest.approx(100 * 0.5 / 4)
    assert parity.expected_loss == pytest.approx(100 * 0.001 / 4)


def many(times: int, rewards: NDArray[np.floating]) -> tuple[Predictions, NDArray[np.floating]]:
    """As often as told, with a reward that is seen once only."""
    observed = np.tile(REWARDS, (times, 1))
    observed[4:] = NAN
    return Predictions(np.tile(EXPECTED, (times, 1)), np.tile(rewards, (times, 1))), observed


def test_a_loss_that_is_shown_is_refused() -> None:
    found = np.tile(moved(2, [0.33, 0.35, 0.32]), (9, 1))
    expected, _ = many(9, EXPECTED)
    with pytest.raises(ParityError, match=r"0\.25 points of expected reward on 36 .* 25\.00% of"):
        check_smaller("router.int8.onnx", found, expected, np.tile(REWARDS, (9, 1)))
    likely = replace(expected, rewards=expected.probs / 1000)
    with pytest.raises(ParityError, match=r"12\.50 points of observed reward on 36"):
        check_smaller("router.int8.onnx", found, likely, np.tile(REWARDS, (9, 1)))


def test_probabilities_that_are_far_apart_are_refused_though_no_decision_changes() -> None:
    with pytest.raises(ParityError, match=r"moves the probabilities by 0\.\d+ nats .* 4 training"):
        check_smaller("router.int8.onnx", moved(3, [0.05, 0.05, 0.9]), known(EXPECTED), REWARDS)


def test_a_change_to_an_expert_without_reward_counts_as_changed_and_loses_nothing() -> None:
    parity = check_smaller(
        "router.int8.onnx", moved(2, [0.33, 0.33, 0.34]), Predictions(EXPECTED), REWARDS
    )
    assert parity.changed_decisions == 0.25
    assert parity.lost == 0.0


def test_a_tie_is_no_change() -> None:
    tied = moved(0, [0.45, 0.45, 0.1])
    other = tied.copy()
    other[0, 1] += 1e-7
    assert check_smaller("router.int8.onnx", other, known(tied), REWARDS).changed_decisions == 0.0


def test_the_range_of_the_rewards_is_the_unit() -> None:
    found = np.tile(moved(2, [0.33, 0.35, 0.32]), (9, 1))
    for scale in (1.0, 100.0):
        expected = Predictions(np.tile(EXPECTED, (9, 1)))
        with pytest.raises(ParityError, match=r"loses 12\.50 points"):
            check_smaller("router.int8.onnx", found, expected, np.tile(REWARDS, (9, 1)) * scale)
