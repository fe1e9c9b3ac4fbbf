"""A real table fitted as a large one is, beside a fit in memory: how near they come.

  python -m recipes.scale.optimum routerdc.parquet

First one setting, with labels and offsets in float64 as in memory and in float32 as for a table
on disk: the heads must agree. Then a sample of the training rows chooses, and the head is fitted
on all.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.cli import option, run
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.distil import kl_divergence
from zooter_lite.head.fit_head import Fitted, fit_head
from zooter_lite.head.fit_setting import fit_setting, logits_of
from zooter_lite.labels.completion import completed
from zooter_lite.labels.soft import soft_labels
from zooter_lite.recipe import Recipe
from zooter_lite.router.head import Head
from zooter_lite.table import RewardTable, read_table

FloatArray = NDArray[np.float32]
SAMPLES = (3000, 1500)  # training rows that choose


@dataclass(frozen=True)
class Options:
    """Options of `python -m recipes.scale.optimum`."""

    data: str = option(help="reward table with splits", names=["data"])
    encoder: str = option("all-MiniLM-L6-v2", help="sentence encoder")


def main(options: Options) -> None:
    """Fit both ways and print."""
    table = read_table(options.data, responses=False)
    cache = default_cache()
    embeddings = load_encoder(options.encoder, cache).embed(table.queries, cache)
    inside = table.rows("train")
    own, train = embeddings[inside], table.take(inside)
    whole = fit_head(train, own, Recipe(), most_choosing=None)
    print(f"{len(train)} training rows", flush=True)
    show("all rows choose, in memory", table, embeddings, whole.head)
    setting = whole.selection.chosen
    filled = completed(train.rewards, own, train.subsets)
    disk = fit_setting(own, filled, whole.tagging, whole.domains, setting, whole.recipe)
    show("the same setting, as from disk", table, embeddings, disk)
    figures = [objective(head, train, own, whole) for head in (whole.head, disk)]
    print(f"objective, in memory {figures[0]:.9f}, from disk {figures[1]:.9f}", flush=True)
    for most in SAMPLES:
        fitted = fit_head(train, own, Recipe(), most_choosing=most)
        show(f"{most} rows choose, fitted on all", table, embeddings, fitted.head)


def objective(head: Head, train: RewardTable, own: FloatArray, fitted: Fitted) -> float:
    """Return what the distillation minimises, under the setting that was chosen."""
    setting, hard = fitted.selection.chosen, fitted.recipe.labels == "hard"
    tags = None if fitted.tagging is None else fitted.tagging.assignment
    filled = completed(train.rewards.astype(np.float64), own, train.subsets)
    labels = soft_labels(filled, tags, setting.temperature, setting.beta, hard=hard)
    logits = logits_of(head, own.astype(np.float64), fitted.tagging, fitted.domains)
    losses, _ = kl_divergence(logits, labels, fitted.recipe.kl)
    return float(losses.mean()) + setting.l2 / 2 * float((np.asarray(head.weight) ** 2).sum())


def show(name: str, table: RewardTable, embeddings: FloatArray, head: Head) -> None:
    """Print the mean reward on every split but train."""
    figures = []
    for split in sorted(set(table.splits or []) - {"train"}):
        rows = table.rows(split)
        logits: Any = np.asarray(head.logits(embeddings[rows]), dtype=np.float64)
        earned = np.nanmean(reward_of_choice(logits, table.rewards[rows]))
        figures.append(f"{split} {100 * earned:.2f}")
    print(f"{name}: {', '.join(figures)}", flush=True)


if __name__ == "__main__":
    sys.exit(run(Options, main, "optimum", __doc__ or ""))
