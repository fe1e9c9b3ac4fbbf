"""What an encoder's last layers bring, in reward and in time: `fit --layers`.

`python -m recipes.quality.layers FOLDER` writes recipes/quality/layers.md. Rewards are of
training rows, within and beyond, as in recipes/quality/variants.py; times are those of routers
that are fitted on the bundled sample.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from recipes.bench.speed.prompts import prompts_of, vocabulary
from recipes.quality.variants import MOST_SUBSETS, TABLES
from zooter_lite import Router, fit_router
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT, find_encoder
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.choose import choose
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.fit_head import fit_head
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.store import GRAPHS
from zooter_lite.router.runtime import Precision
from zooter_lite.table import RewardTable, sample_path

Array = NDArray[np.floating]

OUT = Path(__file__).parent / "layers.md"
SAMPLE = "the bundled sample"
FEWER = (4, 3, 2)  # of the default encoder's six
SEEDS = 3  # of folds and clusters
TOKENS = (20, 60, 200)
TURNS = 200  # decisions of each router and length, by turns
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


def main(folder: str) -> None:
    """Measure times on the sample, then rewards on every table."""
    lines = [
        "# An encoder's first layers alone",
        "",
        f"Written by `python -m recipes.quality.layers FOLDER`: {DEFAULT} has six layers. A "
        "decision with fewer, in shares of its time with all of them, at "
        f"{', '.join(map(str, TOKENS))} tokens; medians of {TURNS}, by turns in one process.",
        "",
        *_times(),
        "",
        "Mean reward x100 of the chosen expert on training rows, and what it changes with fewer "
        f"layers. Within: out of fold, the mean of {SEEDS} seeds, ± one standard error over "
        "queries. Beyond: of subsets left out of training, ± one over subsets.",
        "",
        f"| table | | all | {' | '.join(f'{layers} layers' for layers in FEWER)} |",
        "|---" * (3 + len(FEWER)) + "|",
    ]
    for name in (SAMPLE, *TABLES):
        path = sample_path() if name == SAMPLE else f"{folder}/{name}.parquet"
        table = RewardTable.read(path, responses=False)
        train = table.take(table.rows("train"))
        for what, measured in (("within", _within), ("beyond", _beyond)):
            subsets = len(set(train.subsets))
            if what == "beyond" and not 2 < subsets <= MOST_SUBSETS:
                continue
            base, *others = (measured(train, layers) for layers in (None, *FEWER))
            cells = [f"{100 * base.mean():.2f}", *(_gain(other - base) for other in others)]
            lines.append(f"| {name} | {what} | {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr)
            OUT.write_text("\n".join(lines) + "\n", "utf-8")


def _gain(gaps: Array) -> str:
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    return f"{100 * gaps.mean():+.2f} ± {100 * error:.2f}"


def _embedded(train: RewardTable, layers: int | None) -> NDArray[np.float32]:
    cache = default_cache()
    return load_encoder(DEFAULT, cache, layers=layers).embed(train.queries, cache)


def _within(train: RewardTable, layers: int | None) -> Array:
    """(n_queries,) reward of the expert chosen out of fold."""
    embeddings, earned = _embedded(train, layers), []
    for seed in range(SEEDS):
        found = choose(train, embeddings, Recipe(seed=seed)).selection
        earned.append(reward_of_choice(found.logits, found.rewards))
    return np.asarray(np.mean(earned, axis=0))


def _beyond(train: RewardTable, layers: int | None) -> Array:
    """(n_subsets,) mean reward on each subset by a head that was fitted without it."""
    embeddings, subsets = _embedded(train, layers), np.asarray(train.subsets)
    means = []
    for name in sorted(set(train.subsets)):
        inside, out = np.flatnonzero(subsets != name), np.flatnonzero(subsets == name)
        head = fit_head(train.take(inside), embeddings[inside], Recipe()).head
        logits = head.logits(embeddings[out].astype(np.float64))
        means.append(np.nanmean(reward_of_choice(logits, train.rewards[out])))
    return np.asarray(means)


def _times() -> list[str]:
    """Lines with the time of a decision and the size of the graph by depth and precision."""
    lines = ["| precision | layers | MB | time |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        depths = {layers: Path(folder) / f"{layers}" for layers in (None, *FEWER)}
        for layers, out in depths.items():
            fit_router(out=out, layers=layers, domains=False)
        for precision in PRECISIONS:
            routers = {
                layers: Router.load(out, precision=precision, threads=1)
                for layers, out in depths.items()
            }
            shares = [_medians(routers, tokens) for tokens in TOKENS]
            for layers, out in depths.items():
                size = (out / GRAPHS[precision]).stat().st_size / 1e6
                cells = ", ".join(f"{share[layers] / share[None]:.2f}" for share in shares)
                lines.append(f"| {precision} | {layers or 'all'} | {size:.0f} | {cells} |")
    return lines


def _medians(routers: dict[int | None, Router], tokens: int) -> dict[int | None, float]:
    """Median seconds that each router takes to decide on a prompt of so many tokens."""
    tokenizer = Tokenizer.from_file(str(find_encoder(DEFAULT) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = vocabulary(tokenizer, RewardTable.read(sample_path()).queries)
    spent: dict[int | None, list[float]] = {layers: [] for layers in routers}
    for prompt in prompts_of(tokenizer, words, [tokens] * TURNS, seed=0):
        for layers, router in routers.items():
            start = time.perf_counter()
            router.route([prompt])
            spent[layers].append(time.perf_counter() - start)
    return {layers: float(np.median(seconds)) for layers, seconds in spent.items()}


if __name__ == "__main__":
    main(sys.argv[1])
