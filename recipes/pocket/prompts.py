"""All prompts of the sample: generated subsets, and the one-off ones in handwritten.tsv."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import cast

from recipes.pocket.prompt import Prompt, chatty
from recipes.pocket.prompts_math import algebra, arithmetic, calculus
from recipes.pocket.prompts_stories import dates, units, word_problems
from recipes.pocket.prompts_text import code, lists, strings
from recipes.pocket.prompts_words import dictionary, facts, translation
from recipes.pocket.verify import Answer, Kind

Generator = Callable[[random.Random], Prompt]

GENERATED: dict[str, tuple[Generator, int]] = {
    "arithmetic": (arithmetic, 125),
    "word_problems": (word_problems, 125),
    "algebra": (algebra, 115),
    "calculus": (calculus, 85),
    "units": (units, 130),
    "dates": (dates, 140),
    "strings": (strings, 135),
    "lists": (lists, 130),
    "code": (code, 130),
    "dictionary": (dictionary, 145),
    "translation": (translation, 125),
    "facts": (facts, 140),
}
"""Subset name -> its generator and how many distinct prompts to draw from it."""

SHIFTED = ("shift_languages", "shift_tasks")
"""Subsets of kinds that are never trained on."""


def generate(seed: int) -> dict[str, list[Prompt]]:
    """Return the prompts of every subset; no two of them have the same text.

    Parameters
    ----------
    seed
        Seeds the generated subsets. The handwritten ones are always the same.
    """
    subsets = handwritten(Path(__file__).with_name("handwritten.tsv"))
    seen = {prompt.query for prompts in subsets.values() for prompt in prompts}
    for name, (generator, size) in GENERATED.items():
        subsets[name] = _draw(generator, size, random.Random(f"{seed} {name}"), seen)
    return subsets


def _draw(generator: Generator, size: int, rng: random.Random, seen: set[str]) -> list[Prompt]:
    """Draw `size` prompts whose text is new, and remember their texts in `seen`."""
    drawn: list[Prompt] = []
    while len(drawn) < size:
        prompt = chatty(generator(rng), rng)
        if prompt.query not in seen:
            seen.add(prompt.query)
            drawn.append(prompt)
    return drawn


def numbered(seed: int) -> list[tuple[str, str, Prompt]]:
    """Return every prompt after its id and its subset, ordered by the id."""
    prompts = [
        (f"{subset}-{index:03d}", subset, prompt)
        for subset, drawn in generate(seed).items()
        for index, prompt in enumerate(drawn, start=1)
    ]
    return sorted(prompts, key=lambda item: item[0])


def handwritten(path: Path) -> dict[str, list[Prompt]]:
    """Read prompts from tab-separated lines: subset, tags, kind of answer, answer, query.

    A kind may carry a tolerance (`number 0.01`); accepted texts of `one_of` are separated by
    ` | ` and the parts of `items` by a comma.
    """
    subsets: dict[str, list[Prompt]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        subset, tags, kind, expected, query = line.split("\t")
        prompt = Prompt(query, tuple(tags.split(",")), _answer(kind, expected))
        subsets.setdefault(subset, []).append(prompt)
    return subsets


def _answer(kind: str, expected: str) -> Answer:
    name, _, tolerance = kind.partition(" ")
    separator = {"one_of": " | ", "items": ", "}.get(name)
    texts = tuple(expected.split(separator)) if separator else (expected,)
    return Answer(cast(Kind, name), texts, float(tolerance or 1e-6))
