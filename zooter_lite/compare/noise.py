"""Noise that leaves a prompt's meaning alone: case, typos, rewrites, appended text. Pure text."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.measure.metrics import Draws, Estimate, mean_estimates, reward_of

Array = NDArray[np.float64]
IntArray = NDArray[np.integer]

TYPO_RATE = 0.05
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
CONFOUNDERS = (
    "By the way, the weather was lovely here this morning.",
    "My neighbour is painting his fence green today.",
    "The train to the coast leaves from platform four.",
    "We had soup with fresh bread for lunch yesterday.",
    "Our old cat likes to sleep on the kitchen chair.",
)
FRAMES = (
    ("Please help me with the following. ", ""),
    ("I have a question for you. ", ""),
    ("Could you look at this for me? ", ""),
    ("", " Thank you in advance."),
    ("", " Please take your time."),
)
_OTHER_WORDS = {  # nothing that is code: not "is not", not "find"
    "which of the following": "which one of these",
    "how many": "what number of",
    "calculate": "work out",
    "determine": "find out",
    "explain": "describe",
    "write a": "create a",
    "in order to": "to",
    "because": "since",
    "however": "but",
    "for example": "for instance",
    "such as": "like",
    "do not": "don't",
    "does not": "doesn't",
    "did not": "didn't",
    "are not": "aren't",
    "was not": "wasn't",
    "cannot": "can't",
    "can not": "can't",
    "will not": "won't",
    "it is": "it's",
    "that is": "that's",
    "i am": "I'm",
    "you are": "you're",
    "they are": "they're",
}
_REPLACED = re.compile(
    r"(?<![.\w])("
    + "|".join(sorted(map(re.escape, _OTHER_WORDS), key=len, reverse=True))
    + r")(?![\w(])",
    re.I,
)
_QUESTION = re.compile(r"\A(what|who|where|when) (is|are|was|were) ([^?.!:\n]{1,80})\?", re.I)
_APOSTROPHES = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_WORD = re.compile(r"[^\W\d_]{3,}")


def _neighbours() -> dict[str, str]:
    """Letters beside and diagonally below or above each letter of an English keyboard."""
    found = {}
    for row, letters in enumerate(_ROWS):
        for column, letter in enumerate(letters):
            around = [
                (row, column - 1),
                (row, column + 1),
                (row - 1, column),
                (row - 1, column + 1),
                (row + 1, column - 1),
                (row + 1, column),
            ]
            found[letter] = "".join(
                _ROWS[r][c] for r, c in around if 0 <= r < 3 and 0 <= c < len(_ROWS[r])
            )
    return found


_NEIGHBOURS = _neighbours()


@dataclass(frozen=True)
class Noise:
    """One kind of noise: `apply(text, random)` returns the noisy text."""

    name: str
    description: str
    apply: Callable[[str, random.Random], str]


def typos(text: str, source: random.Random, rate: float = TYPO_RATE) -> str:
    """Mistype each letter of a word with this probability.

    The letter becomes a neighbour on the keyboard, is left out, is doubled, or changes places
    with the next one. Words of one or two letters, digits and signs stay as they are, so
    numbers and most symbols of code do. A letter that no key holds is never swapped for a
    neighbour.
    """
    return _WORD.sub(lambda word: _mistype(word.group(), source, rate), text)


def _mistype(word: str, source: random.Random, rate: float) -> str:
    letters: list[str] = []
    place = 0
    while place < len(word):
        letter = word[place]
        place += 1
        if source.random() >= rate:
            letters.append(letter)
            continue
        kind = source.choice(("neighbour", "drop", "double", "swap"))
        if kind == "neighbour":
            near = _NEIGHBOURS.get(letter.lower())
            wrong = source.choice(near) if near else letter
            letters.append(wrong.upper() if letter.isupper() else wrong)
        elif kind == "double":
            letters.append(letter * 2)
        elif kind == "swap" and place < len(word):
            letters.append(word[place] + letter)
            place += 1
    return "".join(letters)


def rewrite(text: str, source: random.Random) -> str:
    """Say the same in other words: other phrases, contractions, and a polite frame.

    A question "What is X?" at the start becomes "Tell me what X is.". A table does it, no
    language model: real paraphrases differ more. Text in languages other than English
    only gets the frame.
    """
    before, after = source.choice(FRAMES)
    imperative = _QUESTION.sub(
        lambda found: f"Tell me {found[1].lower()} {found[3]} {found[2]}.", text
    )
    return before + _REPLACED.sub(_other_words, imperative) + after


def _other_words(found: re.Match[str]) -> str:
    phrase = found.group()
    other = _OTHER_WORDS[phrase.lower()]
    return other[0].upper() + other[1:] if phrase[0].isupper() else other


def title_case(text: str, source: random.Random) -> str:
    """Begin every word with a capital; unlike `str.title`, "don't" becomes "Don't"."""
    return _APOSTROPHES.sub(lambda word: word[0][0].upper() + word[0][1:].lower(), text)


def append_after(text: str, source: random.Random) -> str:
    """Put an unrelated sentence after the prompt."""
    return f"{text}\n\n{source.choice(CONFOUNDERS)}"


def put_before(text: str, source: random.Random) -> str:
    """Put an unrelated sentence before the prompt."""
    return f"{source.choice(CONFOUNDERS)}\n\n{text}"


NOISES = (
    Noise("upper case", "every letter a capital", lambda text, source: text.upper()),
    Noise("lower case", "no capitals", lambda text, source: text.lower()),
    Noise("title case", "every word with a capital", title_case),
    Noise("typos", f"{TYPO_RATE:.0%} of the letters of words mistyped", typos),
    Noise("rewrite", "polite frame, contractions and other phrases, by a table", rewrite),
    Noise("text after", "an unrelated sentence after the prompt", append_after),
    Noise("text before", "an unrelated sentence before the prompt", put_before),
)


def noisy(queries: Sequence[str], noise: Noise, seed: int) -> list[str]:
    """Apply one kind of noise to each query.

    What happens to a query depends on the seed and on its own text, not on the others.
    """
    found = []
    for query in queries:
        key = f"{seed} {noise.name} {query}".encode("utf-8", "surrogatepass")
        found.append(noise.apply(query, random.Random(key)))
    return found


@dataclass(frozen=True)
class Robustness:
    """What one kind of noise does to the router's choices.

    Attributes
    ----------
    name, description
        Of the noise.
    flips
        Share of the queries that go to another expert.
    lost
        Mean reward of the choices on the clean queries minus that on the noisy ones, with
        the rewards of the clean queries: the experts are taken to answer both alike.
    example
        A query before and after, the shortest that flipped; where none did, that changed.
    """

    name: str
    description: str
    flips: Estimate
    lost: Estimate
    example: tuple[str, str] | None


def robustness(
    noise: Noise,
    queries: tuple[Sequence[str], Sequence[str]],
    choices: tuple[IntArray, IntArray],
    rewards: NDArray[np.floating],
    draws: Draws,
) -> Robustness:
    """Summarise one kind of noise.

    Parameters
    ----------
    noise
        What was applied.
    queries, choices
        The n texts and the chosen experts, before and after.
    rewards
        (n, n_experts), NaN where not observed; a query whose reward is unknown for either
        choice is left out of `lost`.
    draws
        Resamples of the n rows.
    """
    flipped = (choices[0] != choices[1]).astype(np.float64)
    lost = reward_of(choices[0], rewards) - reward_of(choices[1], rewards)
    flips, loss = mean_estimates(np.stack([flipped, lost], axis=1), draws)
    pairs = list(zip(*queries, strict=True))
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    candidates = [pair for pair, flip in zip(pairs, flipped, strict=True) if flip] or changed
    example = min(candidates, key=lambda pair: (len(pair[0]), pair[0]), default=None)
    return Robustness(noise.name, noise.description, flips, loss, example)
