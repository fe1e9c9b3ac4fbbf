"""Text noise: by hand, and as properties; flips and lost reward by hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter_lite.compare.noise import (
    _NEIGHBOURS,
    CONFOUNDERS,
    FRAMES,
    NOISES,
    Noise,
    append_after,
    noisy,
    put_before,
    rewrite,
    robustness,
    typos,
)
from zooter_lite.measure.metrics import draw, estimate

NAN = float("nan")
BY_NAME = {noise.name: noise for noise in NOISES}
PROSE = "The quick brown fox jumps over the lazy dog while 42 birds watch from afar. " * 60


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("upper case", "WHAT IS 2 + 2? ÄÖ"),
        ("lower case", "what is 2 + 2? äö"),
        ("title case", "What Is 2 + 2? Äö"),
    ],
)
def test_case(name: str, expected: str) -> None:
    assert noisy(["What is 2 + 2? äÖ"], BY_NAME[name], 0) == [expected]


def test_title_case_keeps_words_with_an_apostrophe_whole() -> None:
    assert noisy(["don't ADD x_y 3rd"], BY_NAME["title case"], 0) == ["Don't Add X_Y 3Rd"]


def test_the_keyboard() -> None:
    assert set(_NEIGHBOURS["s"]) == set("adwezx")
    assert set(_NEIGHBOURS["q"]) == set("wa")
    assert set(_NEIGHBOURS["m"]) == set("njk")
    assert all(a in _NEIGHBOURS[b] for a in _NEIGHBOURS for b in _NEIGHBOURS[a])


def edits(one: str, other: str) -> int:
    """Levenshtein distance with swaps of neighbours (optimal string alignment), by its table."""
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
                table[i - 1, j - 1] + (one[i - 1] != other[j - 1]),
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return int(table[-1, -1])


def test_about_one_letter_in_twenty_is_mistyped() -> None:
    before = PROSE.split()
    after = typos(PROSE, random.Random(0)).split()
    letters = sum(len(word.strip(".")) for word in before if not word.isdigit())
    wrong = sum(edits(one, other) for one, other in zip(before, after, strict=True))
    assert 0.035 < wrong / letters < 0.055  # doubled or swapped equal letters may show nothing


def test_each_typo_by_hand() -> None:
    class Always(random.Random):
        def __init__(self, kind: str) -> None:
            super().__init__(0)
            self.kind = kind

        def random(self) -> float:
            return 0.0

        def choice(self, options: Any) -> Any:
            return self.kind if isinstance(options, tuple) else options[0]

    assert typos("Abc", Always("double")) == "AAbbcc"
    assert typos("Abcd", Always("swap")) == "bAdc"
    assert typos("Abc", Always("drop")) == ""
    assert typos("Qs é", Always("neighbour")) == "Qs é"  # shorter than three letters
    assert typos("Qsdé", Always("neighbour")) == "Wasé"


def test_typos_leave_numbers_signs_and_short_words_alone() -> None:
    text = "x = 3.14159 * r**2; if n >= 1024: go\t(a_b)"
    assert typos(text, random.Random(0), rate=1.0) == text


@given(st.text(max_size=60), st.integers(0, 5))
def test_without_a_rate_nothing_happens(text: str, seed: int) -> None:
    assert typos(text, random.Random(seed), rate=0.0) == text


class First(random.Random):
    """Chooses the first option every time."""

    def choice(self, options: Any) -> Any:
        return options[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("What is 2 + 2?", "Tell me what 2 + 2 is."),
        ("Who were the Beatles? Answer.", "Tell me who the Beatles were. Answer."),
        ("Explain what is 2 + 2?", "Describe what is 2 + 2?"),
        ("What is 2.5 + 2?", "What is 2.5 + 2?"),  # a sentence may end inside: left alone
        ("I cannot see why It is so, because I am new.", "I can't see why It's so, since I'm new."),
        ("becauses s.explain(x) explain(x)", "becauses s.explain(x) explain(x)"),
        ("if x is not None: s.find('a')", "if x is not None: s.find('a')"),
        ("中文", "中文"),
    ],
)
def test_rewrite_by_hand(before: str, after: str) -> None:
    assert rewrite(before, First()) == f"Please help me with the following. {after}"
    assert rewrite(before, random.Random(3)) in [one + after + other for one, other in FRAMES]


def test_confounders_stand_before_or_after_the_unchanged_prompt() -> None:
    assert append_after("Why?", First()) == f"Why?\n\n{CONFOUNDERS[0]}"
    assert put_before("Why?", First()) == f"{CONFOUNDERS[0]}\n\nWhy?"


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_a_query_is_changed_the_same_way_whatever_stands_around_it(noise: Noise) -> None:
    queries = ["Explain why the sky is blue in the evening.", "How many birds can fly?", "Why?"]
    whole = noisy(queries, noise, 7)
    assert whole == [noisy([query], noise, 7)[0] for query in queries]
    assert whole[0] != queries[0]


def test_the_seed_decides() -> None:
    runs = [noisy([PROSE], BY_NAME["typos"], seed)[0] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@given(st.text(), st.sampled_from(NOISES))
def test_any_text_can_be_changed(text: str, noise: Noise) -> None:
    assert isinstance(noisy([text, "\ud800"], noise, 0)[0], str)


def test_robustness_by_hand() -> None:
    before, after = ["aa", "b", "ccc", "d"], ["AA", "b", "CCC", "D"]
    clean, noised = np.array([0, 1, 0, 1]), np.array([1, 1, 1, 0])
    rewards = np.array([[1.0, 0.5], [0.0, 1.0], [0.0, 0.25], [NAN, 1.0]])
    draws = draw(["all"] * 4, 0, 100)
    found = robustness(BY_NAME["upper case"], (before, after), (clean, noised), rewards, draws)
    assert (found.name, found.description) == ("upper case", "every letter a capital")
    flipped, lost = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.5, 0.0, -0.25, NAN])
    resampled = draws.means(np.stack([flipped, lost], axis=1))
    assert found.flips == estimate(0.75, resampled[:, 0])
    assert found.lost == estimate(0.25 / 3, resampled[:, 1])
    assert found.example == ("d", "D")  # the shortest that flipped


def test_the_example_of_harmless_noise_is_a_changed_query() -> None:
    same = np.array([0, 0])
    rewards, draws = np.ones((2, 2)), draw(["all"] * 2, 0, 10)
    upper = BY_NAME["upper case"]
    found = robustness(upper, (["7", "ab"], ["7", "AB"]), (same, same), rewards, draws)
    assert found.example == ("ab", "AB")
    assert (found.flips.value, found.lost.value) == (0.0, 0.0)
    nothing = robustness(upper, (["7", "8"], ["7", "8"]), (same, same), rewards, draws)
    assert nothing.example is None
