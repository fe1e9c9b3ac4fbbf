"""Ways to make the static encoder's router better, judged on training rows of real tables.

`python -m recipes.quality.static FOLDER` writes recipes/quality/static.md: mean reward x100 of
the chosen expert. All that is learned from the table (what is put beside the embedding, the
setting, the head) is learned without the fold that judges; no test row is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.quality.variants import TABLES
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT, STATIC
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.words import HALF, Words
from zooter_lite.head.choose import choose
from zooter_lite.head.cross_validation import fold_ids, reward_of_choice
from zooter_lite.head.fit_head import fit_head
from zooter_lite.recipe import Recipe
from zooter_lite.router.tokens import TextTokens
from zooter_lite.table import RewardTable, sample_path
from zooter_lite.table.keys import query_groups

FloatArray = NDArray[np.float32]
Rows = NDArray[np.intp]
Train = Callable[[Rows], tuple[FloatArray, FloatArray]]  # embeddings of all rows, and rewards

OUT = Path(__file__).parent / "static.md"
SAMPLE = "the bundled sample"
FOLDS = 3
WIDTH = 256  # numbers that stand for the n-grams
TAUGHT = 0.5  # share of the default router's expectation in a reward


def main(folder: str) -> None:
    """Measure every way on every table, the bundled sample first."""
    lines = [
        "# What would make the static router better",
        "",
        "Written by `python -m recipes.quality.static FOLDER`: mean reward x100 of the chosen "
        "expert on training rows, judged by folds that nothing was learned from; then the "
        "difference to the static router, ± one standard error.",
        "",
    ]
    for place, name in enumerate((SAMPLE, *TABLES)):
        path = sample_path() if name == SAMPLE else f"{folder}/{name}.parquet"
        table = RewardTable.read(path, responses=False)
        earned = _earned(table.take(table.rows("train")))
        base = earned.pop("static")
        if not place:
            lines += [
                f"| table | static | {' | '.join(earned)} |",
                "|---" * (2 + len(earned)) + "|",
            ]
        gains = [values - base for values in earned.values()]
        cells = [f"{100 * _mean(one):+.2f} ± {100 * _error(one):.2f}" for one in gains]
        lines.append(f"| {name} | {100 * _mean(base):.2f} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
        OUT.write_text("\n".join(lines) + "\n", "utf-8")


def _earned(train: RewardTable) -> dict[str, FloatArray]:
    """(n_queries,) reward that each way earns on the rows of the fold that it has not seen."""
    groups = query_groups(train.queries)
    folds = fold_ids(int(groups.max()) + 1, FOLDS, seed=1)[groups]
    ways = _ways(train)
    earned = {name: np.empty(len(train), np.float32) for name in ways}
    for fold in range(FOLDS):
        inside, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        for name, way in ways.items():
            embeddings, rewards = way(inside)
            known = replace(train, rewards=rewards).take(inside)
            head = fit_head(known, embeddings[inside], Recipe()).head
            earned[name][out] = reward_of_choice(head.logits(embeddings[out]), train.rewards[out])
    return earned


def _ways(train: RewardTable) -> dict[str, Train]:
    """Name what a head is fitted on, each learned from the rows of the other folds alone."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    cache, queries = default_cache(), train.queries
    default, static = load_encoder(DEFAULT, cache), load_encoder(STATIC, cache)
    theirs, own = (encoder.embed(queries, cache) for encoder in (default, static))
    words = Words.of(default)
    assert words is not None
    vectors = words.beside(theirs, queries)[:, theirs.shape[1] :]
    tokens = TextTokens(static.tokenizer, static.spec.max_length).many(queries)
    texts = [" ".join(map(str, ids)) for ids in tokens]

    def with_n_grams(inside: Rows) -> FloatArray:
        """Put what the training rows' n-grams of one to three tokens span beside it."""
        counts = TfidfVectorizer(
            ngram_range=(1, 3), min_df=2, sublinear_tf=True, token_pattern=r"\S+"
        )
        counts.fit([texts[row] for row in inside])
        weighed = counts.transform(texts)
        span = TruncatedSVD(WIDTH, random_state=0).fit(weighed[inside])
        return np.hstack([own, normalize(span.transform(weighed))]).astype(np.float32) * HALF

    def taught(inside: Rows) -> FloatArray:
        """Mix the rewards with what the default router expects out of fold."""
        selection = choose(train.take(inside), theirs[inside], Recipe()).selection
        logits = selection.logits - selection.logits.mean(axis=1, keepdims=True)
        apart = selection.rewards - selection.rewards.mean(axis=1, keepdims=True)
        expected = selection.rewards - apart + logits * (logits * apart).sum() / (logits**2).sum()
        rewards = train.rewards.copy()
        rewards[inside] = TAUGHT * expected + (1 - TAUGHT) * rewards[inside]
        return rewards

    plain = train.rewards
    beside = np.hstack([own * HALF, vectors])
    return {
        "static": lambda _: (own, plain),
        DEFAULT: lambda _: (theirs, plain),
        "its words beside it": lambda _: (beside, plain),
        "n-grams beside it": lambda inside: (with_n_grams(inside), plain),
        "taught by the default": lambda inside: (own, taught(inside)),
    }


def _mean(values: FloatArray) -> float:
    return float(np.nanmean(values))


def _error(values: FloatArray) -> float:
    return float(np.nanstd(values) / np.sqrt((~np.isnan(values)).sum()))


if __name__ == "__main__":
    main(sys.argv[1])
