"""What hidden rewards cost, and what a new expert with a few rewards brings.

`python -m recipes.partial.measure FOLDER` writes recipes/partial/results.md. Every figure is
the mean reward of the chosen expert x100 on the test split, whose rewards nothing is hidden
of; of the training rows, rewards are hidden and the router is fitted anew with default
settings.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.fit_head import fit_head
from zooter_lite.measure.metrics import reward_of
from zooter_lite.recipe import Recipe
from zooter_lite.table import RewardTable
from zooter_lite.tags.plan import plan_rows

Array = NDArray[np.float64]
Seen = NDArray[np.bool_]
OUT = Path(__file__).parent / "results.md"
HIDDEN = ("routerdc", "mmlu_pro", "llmrouter")
NEW = ("routerdc", "mmlu_pro", "zeroeval", "bfcl_all_experts")
MOST_NEW = 12  # experts of a table that are held out in turn
SIZES = (50, 100, 200, 500)
SEEDS = 5


def at_random(rewards: Array, random: np.random.Generator) -> Seen:
    """Observe 30% of all rewards."""
    return random.random(rewards.shape) < 0.3


def by_level(chance_easy: float, chance_hard: float) -> Callable[..., Seen]:
    """Observe one expert, drawn anew, on shares of what the others find easy and hard."""

    def hide(rewards: Array, random: np.random.Generator) -> Seen:
        expert = int(random.integers(rewards.shape[1]))
        level = np.delete(rewards, expert, axis=1).mean(axis=1)
        seen = np.ones(rewards.shape, dtype=bool)
        chance = np.where(level >= np.median(level), chance_easy, chance_hard)
        seen[:, expert] = random.random(len(rewards)) < chance
        return seen

    return hide


PATTERNS: dict[str, Callable[[Array, np.random.Generator], Seen]] = {
    "30% at random": at_random,
    "one expert on 80% of the easy, 5% of the hard": by_level(0.8, 0.05),
    "one expert on all of the easy, 10% of the hard": by_level(1.0, 0.1),
}


class Bench:
    """A table with its embeddings; fits on hidden rewards are judged on its test rows."""

    def __init__(self, folder: str, name: str) -> None:
        table = RewardTable.read(f"{folder}/{name}.parquet", responses=False)
        embeddings = load_encoder(DEFAULT, default_cache()).embed(table.queries, default_cache())
        train, test = table.rows("train"), table.rows("test")
        self.train, self.own = table.take(train), embeddings[train]
        self.test, self.others = table.rewards[test], embeddings[test].astype(np.float64)

    def earned(self, rewards: Array, experts: list[int] | None = None) -> Array:
        """(n_test,) reward of the choices of a router fitted on these training rewards."""
        kept = list(range(rewards.shape[1])) if experts is None else experts
        table = replace(
            self.train,
            rewards=rewards[:, kept].astype(np.float32),
            experts=[self.train.experts[place] for place in kept],
            costs=None,
        )
        rows = np.flatnonzero(~np.isnan(table.rewards).all(axis=1))
        head = fit_head(table.take(rows), self.own[rows], Recipe()).head
        return reward_of(head.logits(self.others).argmax(axis=1), self.test[:, kept])


def points(values: Array) -> str:
    """Write the mean of paired differences x100 and its standard error."""
    return f"{100 * values.mean():+.2f} ± {100 * values.std() / np.sqrt(len(values)):.2f}"


def hidden(folder: str) -> list[str]:
    """Lines on what the patterns of hidden rewards cost."""
    lines = ["| table | hidden | lost against the whole table |", "|---|---|---|"]
    for name in HIDDEN:
        bench = Bench(folder, name)
        whole = bench.earned(bench.train.rewards.astype(np.float64))
        for label, pattern in PATTERNS.items():
            lost = []
            for seed in range(SEEDS):
                rewards = bench.train.rewards.astype(np.float64)
                seen = pattern(rewards, np.random.default_rng(seed))
                lost.append(bench.earned(np.where(seen, rewards, np.nan)) - whole)
            lines.append(f"| {name} | {label} | {points(np.mean(lost, axis=0))} |")
            print(lines[-1], flush=True)
    return lines


def new_experts(folder: str) -> list[str]:
    """Lines on what held-out experts bring when they are added with a few rewards."""
    lines = [
        "| table | rows | asked | gained of the pooled gain | worst expert | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name in NEW:
        bench = Bench(folder, name)
        rewards, n_experts = bench.train.rewards.astype(np.float64), len(bench.train.experts)
        chosen = np.random.default_rng(0).permutation(n_experts)[:MOST_NEW]
        whole = bench.earned(rewards)
        pooled, gains = 0.0, dict[tuple[int, str], list[Array]]()
        spent = dict[tuple[int, str], float]()
        for expert in chosen.tolist():
            others = [place for place in range(n_experts) if place != expert]
            before = bench.earned(rewards, others)
            pooled += 100 * float((whole - before).mean())
            known = replace(bench.train, rewards=bench.train.rewards[:, others])
            every = np.arange(len(rewards))
            ways = {
                "planned": plan_rows(known, every, max(SIZES), expert),
                "random": np.random.default_rng(expert).permutation(every).tolist(),
            }
            for way, order in ways.items():
                for size in SIZES:
                    partial = rewards.copy()
                    partial[np.setdiff1d(every, order[:size]), expert] = np.nan
                    start = time.perf_counter()
                    gains.setdefault((size, way), []).append(bench.earned(partial) - before)
                    spent[size, way] = time.perf_counter() - start
        for (size, way), found in sorted(gains.items()):
            total = 100 * float(np.mean(found, axis=1).sum())
            worst = min(found, key=lambda values: float(values.mean()))
            lines.append(
                f"| {name} | {size} | {way} | {total:.2f} of {pooled:.2f} | {points(worst)} "
                f"| {spent[size, way]:.0f} |"
            )
            print(lines[-1], flush=True)
    return lines


def main(folder: str) -> None:
    """Measure both and write the results."""
    lines = [*hidden(folder), "", *new_experts(folder), ""]
    OUT.write_text("\n".join(lines), "utf-8")
    print(f"written: {OUT}")


if __name__ == "__main__":
    main(sys.argv[1])
