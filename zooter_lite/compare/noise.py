"""Noise that leaves a prompt's meaning alone, and what it does to the router's choices."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zooter_lite.measure.metrics import draw, mean_estimates, reward_of
from zooter_lite.measure.results import Robustness
from zooter_lite.measure.system import FloatArray, Slice

NOISY_ROWS = 400  # of a slice, on which noise is tried
TYPO_RATE = 0.05
CONFOUNDERS = (
    "By the way, the weather was lovely here this morning.",
    "My neighbour is painting his fence green today.",
    "The train to the coast leaves from platform four.",
    "We had soup with fresh bread for lunch yesterday.",
    "Our old cat likes to sleep on the kitchen chair.",
)
_KEYS = "qwertyuiop asdfghjkl zxcvbnm"  # rows of an English keyboard
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True)
class Noise:
    """One kind of noise: `apply(text, random)` returns the noisy text."""

    name: str
    description: str
    apply: Callable[[str, random.Random], str]


def typos(text: str, source: random.Random) -> str:
    """Mistype one letter in twenty: a neighbour on the keyboard, left out, or doubled.

    Words of one or two letters, digits and signs stay as they are, so numbers and most
    symbols of code do.
    """
    return _WORD.sub(lambda word: "".join(_typed(c, source) for c in word.group()), text)


def _typed(letter: str, source: random.Random) -> str:
    if source.random() >= TYPO_RATE:
        return letter
    place = _KEYS.find(letter.lower())
    near = [_KEYS[i] for i in (place - 1, place + 1) if place >= 0 and 0 <= i < len(_KEYS)]
    wrong = source.choice([key for key in near if key != " "] or [letter])
    return source.choice((wrong.upper() if letter.isupper() else wrong, "", letter * 2))


NOISES = (
    Noise("upper case", "every letter a capital", lambda text, _: text.upper()),
    Noise("lower case", "no capitals", lambda text, _: text.lower()),
    Noise("typos", f"{TYPO_RATE:.0%} of the letters of words mistyped", typos),
    Noise(
        "text after",
        "an unrelated sentence after the prompt",
        lambda text, source: f"{text}\n\n{source.choice(CONFOUNDERS)}",
    ),
    Noise(
        "text before",
        "an unrelated sentence before the prompt",
        lambda text, source: f"{source.choice(CONFOUNDERS)}\n\n{text}",
    ),
)


def noisy(queries: Sequence[str], noise: Noise, seed: int) -> list[str]:
    """Apply one kind of noise to each query.

    What happens to a query depends on the seed and on its own text, not on the others.
    """
    keys = (f"{seed} {noise.name} {query}".encode("utf-8", "surrogatepass") for query in queries)
    return [
        noise.apply(query, random.Random(key)) for query, key in zip(queries, keys, strict=True)
    ]


def robustness_of(
    part: Slice, predict: Callable[[Sequence[str]], FloatArray], seed: int
) -> list[Robustness]:
    """Route up to `NOISY_ROWS` of a slice's prompts again with every kind of noise.

    Parameters
    ----------
    predict
        The router: (n, n_experts) probabilities for n prompts.
    seed
        Of the rows, of the noise and of the bootstrap.
    """
    size = min(NOISY_ROWS, len(part.table))
    rows = np.sort(np.random.default_rng(seed).permutation(len(part.table))[:size])
    before = part.probs[rows].argmax(axis=1)
    table = part.table.take(rows)
    draws = draw(table.subsets, seed)
    measured = []
    for noise in NOISES:
        changed = noisy(table.queries, noise, seed)
        after = predict(changed).argmax(axis=1)
        lost = reward_of(before, table.rewards) - reward_of(after, table.rewards)
        flipped = before != after
        columns = np.stack([flipped.astype(np.float64), lost], axis=1)
        flips, loss = mean_estimates(columns, draws)
        pairs = list(zip(table.queries, changed, strict=True))
        examples = [pair for pair, flip in zip(pairs, flipped, strict=True) if flip]
        examples = examples or [pair for pair in pairs if pair[0] != pair[1]]
        example = min(examples, key=lambda pair: (len(pair[0]), pair[0]), default=None)
        measured.append(Robustness(noise.name, noise.description, flips, loss, example))
    return measured
