"""Prompts for timing: all different, and each exactly as many tokens long as asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

MEAN_TOKENS = 57.0  # of the mixed lengths
SHORTEST, LONGEST = 8, 256  # of the mixed lengths; the encoder truncates at 256


def vocabulary(tokenizer: Tokenizer, queries: Sequence[str]) -> list[tuple[str, int]]:
    """Every different word of `queries` with the number of tokens it takes, sorted."""
    special = len(tokenizer.encode("").ids)
    words = sorted({word for query in queries for word in query.split()})
    sizes = (len(encoding.ids) - special for encoding in tokenizer.encode_batch(words))
    return [(word, size) for word, size in zip(words, sizes, strict=True) if size]


def prompts_of(
    tokenizer: Tokenizer, words: Sequence[tuple[str, int]], lengths: Sequence[int], seed: int
) -> list[str]:
    """Make one prompt of each length, special tokens included; no two are equal.

    Parameters
    ----------
    tokenizer
        Without truncation and padding.
    words
        Of `vocabulary`; their sizes must add up, as those of a BERT tokeniser do.
    lengths
        Tokens of each prompt, in order.
    seed
        The same seed gives the same prompts.

    Raises
    ------
    ValueError
        Words that do not add up to a length, or too few for so many different prompts.
    """
    special = len(tokenizer.encode("").ids)
    single = [word for word, size in words if size == 1]
    chance = random.Random(seed)
    made: dict[str, None] = {}
    for length in lengths:
        for _ in range(100):
            prompt = _prompt(words, single, length - special, chance)
            if prompt not in made:
                break
        else:
            raise ValueError(f"too few words for another prompt of {length} tokens")
        found = len(tokenizer.encode(prompt).ids)
        if found != length:
            raise ValueError(f"a prompt has {found} tokens, expected {length}: {prompt!r}")
        made[prompt] = None
    return list(made)


def _prompt(
    words: Sequence[tuple[str, int]], single: Sequence[str], tokens: int, chance: random.Random
) -> str:
    chosen: list[str] = []
    while tokens > 0:
        word, size = chance.choice(words)
        if size > tokens:
            word, size = chance.choice(single), 1
        chosen.append(word)
        tokens -= size
    return " ".join(chosen)


def mixed_lengths(count: int, seed: int) -> list[int]:
    """Token counts of log-normal shape, from 8 to 256, with a mean of about 57.

    Real prompts are many short ones and a few long ones; sigma 0.8 has a median of 42.
    """
    sigma = 0.8
    drawn = np.random.default_rng(seed).lognormal(
        np.log(MEAN_TOKENS * 1.02) - sigma**2 / 2, sigma, count
    )
    return [int(length) for length in np.clip(np.round(drawn), SHORTEST, LONGEST)]
