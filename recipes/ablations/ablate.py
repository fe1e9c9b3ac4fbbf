"""What if the router had been fitted otherwise, and what do reworded prompts do to it.

`python -m recipes.ablations.ablate SUITE-FILE FOLDER-WITH-THE-TABLES` writes
recipes/ablations/results.md; figures are means x100 with 95% intervals. What is not varied
is fixed, or chosen by cross-validation on the training rows.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from zooter_lite.compare.routed import Plan, RoutedTable, routed
from zooter_lite.compare.suite import read_suite
from zooter_lite.errors import DataError
from zooter_lite.head.fit_head import fit_head
from zooter_lite.labels.diagnostics import reward_entropy
from zooter_lite.measure.metrics import IntArray, draw, measure, reward_of
from zooter_lite.measure.system import FloatArray, Slice
from zooter_lite.recipe import Recipe
from zooter_lite.report.readable import markdown_table, with_interval
from zooter_lite.router.directory.config import RouterConfig
from zooter_lite.table import RewardTable

Row = list[str]

OUT = Path(__file__).parent / "results.md"
BETAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the training rows
NOISY_ROWS = 400  # of a slice, whose prompts are reworded
TYPO_RATE = 0.05
CONFOUNDERS = (
    "By the way, the weather was lovely here this morning.",
    "My neighbour is painting his fence green today.",
    "The train to the coast leaves from platform four.",
    "We had soup with fresh bread for lunch yesterday.",
    "Our old cat likes to sleep on the kitchen chair.",
)
KEYS = "qwertyuiop asdfghjkl zxcvbnm"  # rows of an English keyboard


def main(suite: str, folder: str) -> None:
    """Measure every table of a suite, write the results."""
    lines = ["# Measured", ""]
    for wanted in read_suite(suite, folder):
        lines += described(wanted.name, routed(wanted, Plan()))
        OUT.write_text("\n".join(lines), "utf-8")
    print(f"written: {OUT}")


def described(name: str, table: RoutedTable) -> list[str]:
    """Return the lines about the table of this name."""
    lines = []
    for one in table.slices:
        head = ["noise in the prompt", "decisions changed", "reward lost"]
        noise = markdown_table(head, reworded(one, table.router.predict_proba))
        lines += [
            f"## {one.name}: reworded prompts, reward entropy",
            "",
            *noise,
            "",
            entropy_line(one),
            "",
        ]
    named = [f"{one.name}, {mean}" for one in table.slices for mean in ("micro", "macro")]
    head = ["refitted head", *named]
    refits = markdown_table(head, refitted(table.slices, table.router.config))
    return [*lines, f"## {name}: refits", "", *refits, ""]


def variants(config: RouterConfig, given: bool) -> dict[str, Recipe]:
    """List the recipes by what they vary of the paper's linear softmax head.

    Label temperature and beta are those of the router's own fit; the L2 penalty is chosen
    anew for every refit. Tags are made again, unless they are `given` in the table.
    """
    labels = config.labels
    base = Recipe(
        head="linear",
        tags="given" if given else "auto",
        temperature=labels.temperature or None,
        beta=labels.beta,
        folds=3,
        jobs=1,
    )
    return {
        "hard labels": replace(base, labels="hard", beta=1.0),
        "KL(label || router)": base,
        "KL(router || label)": replace(base, kl="router-label"),
        **{f"beta {value:g}": replace(base, beta=value) for value in BETAS},
    }


def refitted(slices: list[Slice], config: RouterConfig) -> Iterator[Row]:
    """Refit a router's head: in every variant, then its own kind on growing parts of train.

    The parts are nested; one that is too small is left out.
    """
    train, embeddings = slices[0].known.table, slices[0].known.embeddings
    if train is None or embeddings is None:
        raise DataError(f"{slices[0].table_name}: no row has the split 'train'")
    given = train.tags is not None and (config.labels.tags or "").startswith("given")
    recipes, kind, domains = variants(config, given), config.head.kind, config.head.domains
    own: dict[str, Any] = {"head": kind, "domains": bool(domains)}
    own |= {"tags": "best"} if given else {}
    every = np.arange(len(train))
    for name, recipe in recipes.items():
        yield [name, *_means(slices, train, embeddings, recipe, every)]
    order = np.random.default_rng(0).permutation(every)
    for share in SHARES:
        rows, recipe = np.sort(order[: round(share * len(train))]), recipes["KL(label || router)"]
        try:
            means = _means(slices, train, embeddings, replace(recipe, **own), rows)
        except DataError:  # too few queries, or an expert without a reward among them
            continue
        yield [f"{kind} head, {len(rows):,} training rows", *means]


def _means(
    slices: list[Slice], train: RewardTable, embeddings: Any, recipe: Recipe, rows: IntArray
) -> Row:
    head = fit_head(train.take(rows), embeddings[rows], recipe).head
    cells = []
    for one in slices:
        earned = reward_of(head.probs(one.embeddings).argmax(axis=1), one.table.rewards)
        found = measure(earned[:, None], draw(one.table.subsets, 0))
        cells += [with_interval(mean) for mean in (found.micro[0], found.macro[0])]
    return cells


def entropy_line(one: Slice) -> str:
    """Say how reward entropy and quality go together, as in Figure 3 of the paper.

    Quality is the chosen expert's reward minus the mean over the query's observed experts.
    """
    rewards = one.table.rewards.astype(np.float64)
    quality = one.systems[0].rewards - np.nanmean(rewards, axis=1)
    rank = spearmanr(np.round(reward_entropy(rewards), 9), quality, nan_policy="omit").statistic
    return f"Rank correlation of reward entropy and points above the mean expert: {rank:.2f}."


def reworded(one: Slice, predict: Callable[[list[str]], FloatArray]) -> Iterator[Row]:
    """Route up to `NOISY_ROWS` prompts of a slice again with every kind of noise.

    The experts are taken to answer both prompts alike.
    """
    order = np.random.default_rng(0).permutation(len(one.table))
    rows = np.sort(order[:NOISY_ROWS])
    table, before = one.table.take(rows), one.predicted.probs[rows].argmax(axis=1)
    for name, noise in NOISES.items():
        texts = [noise(query, random.Random(f"{name} {query}")) for query in table.queries]
        after = predict(texts).argmax(axis=1)
        lost = reward_of(before, table.rewards) - reward_of(after, table.rewards)
        columns = np.stack([(before != after).astype(np.float64), lost], axis=1)
        means = measure(columns, draw(table.subsets, 0)).micro
        yield [name, *(with_interval(mean) for mean in means)]


def typos(text: str, source: random.Random) -> str:
    """Mistype one letter in twenty: a neighbour on the keyboard, left out, or doubled.

    Words of one or two letters, digits and signs stay as they are.
    """
    words = re.compile(r"[^\W\d_]{3,}")
    return words.sub(lambda word: "".join(_typed(c, source) for c in word.group()), text)


def _typed(letter: str, source: random.Random) -> str:
    if source.random() >= TYPO_RATE:
        return letter
    place = KEYS.find(letter.lower())
    near = [KEYS[i] for i in (place - 1, place + 1) if place >= 0 and 0 <= i < len(KEYS)]
    wrong = source.choice([key for key in near if key != " "] or [letter])
    return source.choice((wrong.upper() if letter.isupper() else wrong, "", letter * 2))


NOISES: dict[str, Callable[[str, random.Random], str]] = {
    "upper case": lambda text, _: text.upper(),
    "lower case": lambda text, _: text.lower(),
    "typos": typos,
    "text after": lambda text, source: f"{text}\n\n{source.choice(CONFOUNDERS)}",
    "text before": lambda text, source: f"{source.choice(CONFOUNDERS)}\n\n{text}",
}


if __name__ == "__main__":
    main(*sys.argv[1:])
