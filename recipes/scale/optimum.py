"""Fits in blocks beside full batches on a real table: the same optimum, and the same reward.

  python -m recipes.scale.optimum routerdc.parquet

First with one setting fixed and every row in the sample: then the heads must agree. Then as a
large table is fitted: a sample of the training rows chooses, and the head is fitted on all.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.cli import option, run
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.distil import kl_divergence
from zooter_lite.head.large import Sample, fit_large
from zooter_lite.head.prior import fit_setting, labels_of
from zooter_lite.head.select import reward_of_choice
from zooter_lite.head.train import Fitted, Recipe, fit_head
from zooter_lite.router.head import Head
from zooter_lite.table import RewardTable, read_table
from zooter_lite.tags.tagging import Tagging

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
    train, own = table.take(inside), embeddings[inside]
    whole = fit_head(train, own, Recipe(most_choosing=None))
    print(f"{len(train)} training rows", flush=True)
    show("all rows choose, full batch", table, embeddings, whole.head)
    blocks, full = both(train, own, whole)
    show("the same setting, in blocks", table, embeddings, blocks)
    print(f"objective, full batch {full[0]:.9f}, in blocks {full[1]:.9f}", flush=True)
    for most in SAMPLES:
        fitted = fit_head(train, own, Recipe(most_choosing=most))
        show(f"{most} rows choose, in blocks on all", table, embeddings, fitted.head)


def both(train: RewardTable, own: FloatArray, whole: Fitted) -> tuple[Head, tuple[float, float]]:
    """Head of the chosen setting fitted in blocks from nothing; objective of full batch, of it."""
    import torch

    setting, method = whole.selection.chosen, whole.method
    tagging = whole.tagging if isinstance(whole.tagging, Tagging) else None
    rewards, inputs = train.rewards.astype(np.float64), own.astype(np.float64)
    zero = Head(np.zeros((len(train.experts), own.shape[1])), np.zeros(len(train.experts)))
    sample = Sample(np.arange(len(train)), tagging, whole.domains, zero)
    blocks, _ = fit_large(train, own, sample, setting, method)
    full = fit_setting(inputs, rewards, tagging, setting, method, domains=whole.domains)
    labels = torch.from_numpy(labels_of(rewards, tagging, setting, method))

    def objective(head: Head) -> float:
        logits = torch.from_numpy(np.asarray(head.logits(inputs), dtype=np.float64))
        norm = float((np.asarray(head.weight) ** 2).sum())
        return float(kl_divergence(logits, labels, method.direction)) + setting.l2 / 2 * norm

    return blocks, (objective(full), objective(blocks))


def show(name: str, table: RewardTable, embeddings: FloatArray, head: Head) -> None:
    """Print the mean reward on every split but train."""
    figures = []
    for split in sorted(set(table.splits or []) - {"train"}):
        rows = table.rows(split)
        logits: Any = np.asarray(head.logits(embeddings[rows]), dtype=np.float64)
        earned = reward_of_choice(logits, table.rewards[rows].astype(np.float64)).mean()
        figures.append(f"{split} {100 * earned:.2f}")
    print(f"{name}: {', '.join(figures)}", flush=True)


if __name__ == "__main__":
    sys.exit(run(Options, main, "optimum", __doc__ or ""))
