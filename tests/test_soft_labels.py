"""Soft labels: numbers worked by hand, a naive loop of the paper's formula, properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from zooter_lite.labels import blocks
from zooter_lite.labels.soft import (
    Filled,
    TagAssignment,
    harden,
    normalise,
    shrunk_tag_means,
    soft_labels,
)
from zooter_lite.labels.soft import smooth as smooth_by

Array = NDArray[np.float64]
NAN = float("nan")
LOG3 = math.log(3.0)


def smooth(labels: Array, tags: TagAssignment, beta: float) -> Array:
    """Smooth by the tags' means over the same queries."""
    means = tags.sum_by_tag(labels) / tags.support()[:, None].clip(1)
    return smooth_by(labels, tags, means, beta)


def naive_smooth(labels: Array, lists: list[list[str]], beta: float) -> Array:
    """The paper's s* with loops."""
    result = labels.copy()
    for query, tags in enumerate(lists):
        for expert in range(labels.shape[1]):
            means = [
                np.mean([row[expert] for row, own in zip(labels, lists, strict=True) if tag in own])
                for tag in set(tags)
            ]
            if means:
                own = labels[query, expert]
                result[query, expert] = beta * own + (1 - beta) * sum(means) / len(means)
    return result


@st.composite
def reward_tables(draw: st.DrawFn) -> Array:
    """Rewards with holes, at least one observed per query."""
    n, experts = draw(st.integers(1, 7)), draw(st.integers(2, 4))
    values = draw(arrays(np.float64, (n, experts), elements=st.floats(-5, 5, width=32)))
    holes = draw(arrays(np.bool_, (n, experts)))
    holes[np.arange(n), draw(arrays(np.int64, n, elements=st.integers(0, experts - 1)))] = False
    return np.where(holes, np.nan, values)


@st.composite
def tagged_rewards(draw: st.DrawFn) -> tuple[Array, list[list[str]]]:
    rewards = np.nan_to_num(draw(reward_tables()))
    names = st.lists(st.sampled_from("abc"), max_size=3, unique=True)
    return rewards, [draw(names) for _ in range(len(rewards))]


@pytest.mark.parametrize(
    ("rewards", "temperature", "expected"),
    [
        ([0.0, LOG3, NAN], 1.0, [0.25, 0.75, NAN]),
        ([0.0, LOG3], 0.5, [0.1, 0.9]),  # the odds are squared: 1 to 9
        ([NAN, -7.0, NAN], 1.0, [NAN, 1.0, NAN]),
        ([1000.0, -1000.0], 1.0, [1.0, 0.0]),  # no overflow
    ],
)
def test_normalise_by_hand(rewards: list[float], temperature: float, expected: list[float]) -> None:
    np.testing.assert_allclose(
        normalise(np.array([rewards]), temperature), [expected], rtol=1e-12, atol=1e-300
    )


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([1.0, 3.0, 2.0], [0.0, 1.0, 0.0]),
        ([NAN, 0.0, 0.0], [NAN, 0.5, 0.5]),
    ],
)
def test_harden_by_hand(rewards: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(harden(np.array([rewards])), [expected])


@given(reward_tables(), st.floats(0.2, 5.0))
def test_normalise_properties(rewards: Array, temperature: float) -> None:
    labels = normalise(rewards, temperature)
    np.testing.assert_array_equal(np.isnan(labels), np.isnan(rewards))
    np.testing.assert_allclose(np.nansum(labels, axis=1), 1.0, atol=1e-12)
    # the ratio of two labels is the exponential of the difference of the rewards
    first, second = rewards[:, 0], rewards[:, 1]
    np.testing.assert_allclose(
        np.log(labels[:, 0] / labels[:, 1]), (first - second) / temperature, atol=1e-6
    )


@settings(deadline=None)
@given(tagged_rewards(), st.sampled_from([0.0, 0.3, 1.0]))
def test_smooth_equals_the_naive_formula(
    tagged: tuple[Array, list[list[str]]], beta: float
) -> None:
    rewards, lists = tagged
    labels = normalise(rewards)
    found = smooth(labels, TagAssignment.from_lists(lists), beta)
    np.testing.assert_allclose(found, naive_smooth(labels, lists, beta), atol=1e-12)
    np.testing.assert_allclose(np.nansum(found, axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize(("beta", "hard"), [(0.3, False), (0.0, True), (1.0, False)])
def test_soft_labels_are_smoothed_over_all_blocks(
    beta: float, hard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    rewards = random.normal(size=(50, 3))
    tags = TagAssignment.from_lists([["xyz"[i % 3], "uv"[i % 2]][: i % 4] for i in range(50)])
    own = harden(rewards) if hard else normalise(rewards, 0.5)
    monkeypatch.setattr(blocks, "ROWS", 16)
    labels = soft_labels(Filled(rewards), tags, 0.5, beta, hard=hard, jobs=2)
    np.testing.assert_allclose(labels, smooth(own, tags, beta), atol=1e-12)
    np.testing.assert_array_equal(soft_labels(Filled(rewards), None, 0.5, beta, hard=hard), own)
    short = soft_labels(
        Filled(rewards.astype(np.float32)), tags, 0.5, beta, hard=hard, dtype=np.float32
    )
    assert short.dtype == np.float32
    np.testing.assert_allclose(short, labels, atol=1e-6)


@pytest.mark.parametrize("experts", [2, 3, 8])
def test_a_reward_that_was_filled_in_has_the_mass_of_one_that_was_observed(experts: int) -> None:
    rewards = (np.random.default_rng(0).random((50_000, experts)) < 0.4).astype(np.float64)
    variances = np.zeros_like(rewards)
    rewards[:, 0], variances[:, 0] = 0.4, 0.24  # what is expected of an expert like the others
    plain, told = (
        soft_labels(each, None, 1.0, 1.0).mean(axis=0)
        for each in (Filled(rewards), Filled(rewards, variances))
    )
    assert told[0] == pytest.approx(1 / experts, abs=0.003)
    assert abs(plain[0] - 1 / experts) > 2 * abs(told[0] - 1 / experts) or experts == 2
    taken = Filled(rewards, variances).take(np.array([1, 2]))
    assert taken.variances is not None
    np.testing.assert_array_equal(taken.variances, variances[1:3])


def test_shrunk_tag_means_by_hand() -> None:
    values = np.array([[1.0, 0.0], [0.0, 4.0], [0.5, 2.0]])
    tags = TagAssignment.from_lists([["x"], ["x"], ["y"]])
    # overall 0.5 and 2
    np.testing.assert_allclose(
        shrunk_tag_means(values, tags, 1.0),
        [[(1.0 + 0.5) / 3, (4.0 + 2.0) / 3], [(0.5 + 0.5) / 2, (2.0 + 2.0) / 2]],
    )
