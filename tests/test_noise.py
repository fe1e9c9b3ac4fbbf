"""Text noise by hand and as properties; flips and lost reward by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.helpers import table
from zooter_lite.compare.noise import CONFOUNDERS, NOISES, Noise, noisy, robustness_of, typos
from zooter_lite.measure.metrics import draw, estimate
from zooter_lite.measure.system import Slice, TrainedOn

NAN = float("nan")
BY_NAME = {noise.name: noise for noise in NOISES}
PROSE = "The quick brown fox jumps over the lazy dog while 42 birds watch from afar. " * 60


@pytest.mark.parametrize(
    ("name", "expected"),
    [("upper case", "WHAT IS 2 + 2? ÄÖ"), ("lower case", "what is 2 + 2? äö")],
)
def test_case(name: str, expected: str) -> None:
    assert noisy(["What is 2 + 2? äÖ"], BY_NAME[name], 0) == [expected]


@pytest.mark.parametrize("name", ["text after", "text before"])
def test_an_unrelated_sentence_is_added(name: str) -> None:
    (after,) = noisy(["Add 2 and 2."], BY_NAME[name], 0)
    first, second = after.split("\n\n") if name == "text after" else after.split("\n\n")[::-1]
    assert first == "Add 2 and 2."
    assert second in CONFOUNDERS


def test_about_one_letter_in_twenty_is_mistyped() -> None:
    after = typos(PROSE, random.Random(0))
    words = list(zip(PROSE.split(), after.split(), strict=True))
    wrong = sum(one != other for one, other in words) / len(words)
    letters = sum(len(word.strip(".")) for word in PROSE.split()) / len(words)
    assert wrong == pytest.approx(1 - 0.95**letters, abs=0.03)
    assert after.count("42") == 60  # numbers stay


def test_noise_depends_on_the_seed_and_on_the_query_alone() -> None:
    typo = BY_NAME["typos"]
    alone, (_, beside) = noisy([PROSE], typo, 1), noisy(["other", PROSE], typo, 1)
    assert alone == [beside]
    assert noisy([PROSE], typo, 2) != alone


@settings(max_examples=40)
@given(st.text(), st.sampled_from(NOISES))
def test_any_text_can_be_changed(text: str, noise: Noise) -> None:
    assert isinstance(noisy([text, "\ud800"], noise, 0)[0], str)


def slice_of(queries: list[str], rewards: list[list[float]], chosen: list[int]) -> Slice:
    rows = table(rewards, queries=queries)
    probs = np.eye(2, dtype=np.float32)[chosen]
    return Slice("t", "test", rows, TrainedOn(np.array([1.0, 0.0])), probs, probs, [])


def test_robustness_by_hand() -> None:
    queries = ["aa", "B", "ccc", "d"]
    rewards = [[1.0, 0.5], [0.0, 1.0], [0.0, 0.25], [NAN, 1.0]]
    one = slice_of(queries, rewards, [0, 1, 0, 1])

    def predict(changed: Sequence[str]) -> NDArray[np.float32]:
        chosen = [1, 1, 1, 0] if list(changed) == ["AA", "B", "CCC", "D"] else [0, 1, 0, 1]
        return np.eye(2, dtype=np.float32)[chosen]

    upper, lower, *_ = robustness_of(one, predict, 0)
    assert (upper.name, upper.description) == ("upper case", "every letter a capital")
    flipped, lost = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.5, 0.0, -0.25, NAN])
    resampled = draw(["all"] * 4, 0).means(np.stack([flipped, lost], axis=1))
    assert upper.flips == estimate(0.75, resampled[:, 0])
    assert upper.lost == estimate(0.25 / 3, resampled[:, 1])
    assert upper.example == ("d", "D")  # the shortest that flipped
    assert (lower.flips.value, lower.lost.value) == (0.0, 0.0)
    assert lower.example == ("B", "b")  # nothing flipped: the shortest that changed
