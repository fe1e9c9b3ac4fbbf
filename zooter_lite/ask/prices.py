"""What a pool file says of a router's experts: prices, and so costs; context windows; models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.pool import Expert, read_pool
from zooter_lite.errors import DataError
from zooter_lite.table.reward_table import RewardTable

TOGETHER = 1024  # texts that are tokenised at a time


@dataclass(frozen=True)
class Priced:
    """A reward table whose costs are prices times tokens."""

    table: RewardTable  # with costs, NaN where there is no response
    mean_costs: dict[str, float]  # by expert
    tokens_in: NDArray[np.float64]  # (n_experts,) mean of a prompt
    tokens_out: NDArray[np.float64]  # (n_experts,) mean of each expert's responses


def priced(table: RewardTable, file: str, tokenizer: str) -> Priced:
    """Count the tokens of prompts and responses, and multiply them by a pool file's prices.

    They are counted by the router's own tokenizer, which is not the experts': a table that
    `collect` and `score` made has the tokens that the servers counted, and costs already.

    `tokenizer` is the content of a tokenizer.json.

    Raises
    ------
    DataError
        The file lacks an expert or every price, or the table has no response of one.
    """
    pool = _named(file, table.experts, prices=True)
    prompts = _lengths(tokenizer, table.queries)
    costs = np.full(table.rewards.shape, np.nan, dtype=np.float32)
    tokens_out = np.zeros(len(table.experts))
    for place, expert in enumerate(table.experts):
        column = [said[place] for said in table.responses or []]
        rows = [row for row, text in enumerate(column) if text is not None]
        if not rows:
            raise DataError(
                f"{file}: prices need responses, and the table has no 'response:{expert}'"
            )
        answers = _lengths(tokenizer, [text for text in column if text is not None])
        prices = pool[expert]
        costs[rows, place] = (
            prompts[rows] * prices.price_input + answers * prices.price_output
        ) / 1e6
        tokens_out[place] = answers.mean()
    means = np.full(len(table.experts), prompts.mean())
    paid = dict(zip(table.experts, np.nanmean(costs, axis=0).tolist(), strict=True))
    return Priced(replace(table, costs=costs), paid, means, tokens_out)


def mean_costs(
    file: str, experts: Sequence[str], tokens_in: Sequence[float], tokens_out: Sequence[float]
) -> dict[str, float]:
    """Mean cost of a prompt by expert, by a pool file's prices and mean tokens."""
    pool = _named(file, experts, prices=True)
    tokens = zip(experts, tokens_in, tokens_out, strict=True)
    return {name: pool[name].cost(read, written) for name, read, written in tokens}


def windows_of(file: str, experts: Sequence[str]) -> dict[str, int]:
    """Context windows by expert, of those whose window a pool file knows."""
    pool = _named(file, experts)
    return {name: pool[name].context_window for name in experts if pool[name].context_window}


def models_of(file: str, experts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Name and model of each expert in a pool file; DataError for one that has no model."""
    pool = _named(file, experts)
    for name in experts:
        if not pool[name].model:
            raise DataError(f"{file}: expert {name!r} has no model")
    return tuple((name, pool[name].model) for name in experts)


def _named(file: str, experts: Sequence[str], *, prices: bool = False) -> Mapping[str, Expert]:
    """Read the experts of a pool file by their names; some must have a price where `prices`."""
    pool = {expert.name: expert for expert in read_pool(file)}
    for name in experts:
        if name not in pool:
            raise DataError(f"{file}: no expert {name!r}; found {', '.join(pool)}")
    if prices and not any(pool[name].price_input + pool[name].price_output for name in experts):
        raise DataError(f"{file}: no expert has price_input or price_output")
    return pool


def _lengths(tokenizer: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """(n,) tokens of each text, whole, without special tokens."""
    from tokenizers import Tokenizer

    counter = Tokenizer.from_str(tokenizer)
    counter.no_truncation()
    counter.no_padding()
    lengths: list[int] = []
    for start in range(0, len(texts), TOGETHER):
        part = [text.encode("utf-8", "replace").decode() for text in texts[start:][:TOGETHER]]
        lengths += map(len, counter.encode_batch_fast(part, add_special_tokens=False))
    return np.asarray(lengths, dtype=np.float64)
