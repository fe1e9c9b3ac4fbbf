"""Cross-validate ways of fitting the head on training rows; no test row is read.

`python -m recipes.quality.variants FOLDER` writes recipes/quality/results.md. Two figures per
table and variant, both the mean reward of the chosen expert x100:

- within: every query chosen for by a head that was fitted without the query's fold;
- beyond: every subset chosen for by a head that was fitted without that subset, the mean over
  subsets, which are the unit: ± is a standard error over them, of the paired difference where
  a variant is set against the default. This is a harsh stand-in for queries of a kind that was
  never seen.

The settings (temperature, beta, L2, tags) are cross-validated within each fit's own rows for
`within`, so its figures are a little optimistic, alike for all variants; for `beyond` they
are those that `within` chose.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.fit_head import Fitted, fit_head
from zooter_lite.measure.metrics import draw, measure, reward_of
from zooter_lite.recipe import Recipe
from zooter_lite.report.readable import with_interval
from zooter_lite.table import RewardTable

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]

TABLES = ("routerdc", "mmlu_pro", "llmrouter", "code_tags", "bfcl", "zeroeval")
OUT = Path(__file__).parent / "results.md"
VARIANTS = {
    "default": Recipe(),
    "without domains": Recipe(domains=False),
    "the whole grid (--tune)": Recipe(tune=True),
    "without tags (linear head)": Recipe(tags="none"),
    "hard labels": Recipe(labels="hard"),
    "KL(router || label), as the paper writes it": Recipe(kl="router-label"),
}
BEYOND = ("default", "without domains")
MOST_SUBSETS = 20  # fits of `beyond`


def main(folder: str) -> None:
    """Measure every variant on every table."""
    encoder = load_encoder(DEFAULT, default_cache())
    lines = ["| table | variant | within | minus default | beyond |", "|---|---|---|---|---|"]
    for name in TABLES:
        table = RewardTable.read(f"{folder}/{name}.parquet", responses=False)
        train = table.take(table.rows("train"))
        embeddings = encoder.embed(train.queries, default_cache())
        draws = draw(train.subsets, 0)
        base: Array | None = None
        far_base: Array | None = None
        for label, recipe in VARIANTS.items():
            fitted = fit_head(train, embeddings, recipe)
            earned = _earned(fitted.selection.logits, train)
            base = earned if base is None else base
            within, gap = measure(np.stack([earned, earned - base], axis=1), draws).micro
            beyond = _beyond(train, embeddings, recipe, fitted) if label in BEYOND else None
            cells = [name, label, with_interval(within)]
            cells.append("-" if earned is base else with_interval(gap))
            far_base = beyond if far_base is None else far_base
            cells.append(_points(beyond, far_base))
            lines.append(f"| {' | '.join(cells)} |".replace("||", "\\|\\|"))
            print(lines[-1], flush=True)
        OUT.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {OUT}")


def _points(means: Array | None, base: Array | None) -> str:
    """Write the mean over subsets and, beside another variant, the paired difference to it."""
    if means is None or base is None:
        return "-"
    shown = f"{100 * means.mean():.2f}"
    if means is base:
        return shown
    gaps = means - base
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    return f"{shown} ({100 * gaps.mean():+.2f} ± {100 * error:.2f})"


def _earned(logits: NDArray[np.floating], table: RewardTable) -> Array:
    return reward_of(logits.argmax(axis=1), table.rewards)


def _beyond(
    train: RewardTable, embeddings: FloatArray, recipe: Recipe, fitted: Fitted
) -> Array | None:
    """(n_subsets,) mean reward on each subset by a fit that did not see it."""
    names = sorted(set(train.subsets))
    if not 3 <= len(names) <= MOST_SUBSETS:
        return None
    chosen = fitted.selection.chosen
    fixed = replace(
        recipe,
        temperature=chosen.temperature,
        beta=chosen.beta if fitted.tagging else None,
        l2=chosen.l2,
    )
    means = []
    for name in names:
        here = np.asarray([subset == name for subset in train.subsets])
        seen, unseen = np.flatnonzero(~here), np.flatnonzero(here)
        head = fit_head(train.take(seen), embeddings[seen], fixed).head
        means.append(_earned(head.logits(embeddings[unseen]), train.take(unseen)).mean())
    return np.asarray(means)


if __name__ == "__main__":
    main(sys.argv[1])
