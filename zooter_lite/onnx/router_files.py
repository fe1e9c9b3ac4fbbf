"""What a fit leaves in the router directory beside the graphs: config.json and the tags."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.prices import Priced
from zooter_lite.encode.encoder import Encoder
from zooter_lite.head.fit_head import Fitted
from zooter_lite.labels.completion import mean_rewards
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.config import Calibration, RouterConfig, Training
from zooter_lite.router.directory.store import QUERIES
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.index import TagIndex
from zooter_lite.tags.tagging import Tags


def router_config(
    encoder: Encoder,
    train: RewardTable,
    fitted: Fitted,
    recipe: Recipe,
    by_price: Priced | None = None,
) -> RouterConfig:
    """Return config.json without what is known later: parity, and the files' sizes and hashes."""
    means = mean_rewards(train.rewards, train.subsets)
    return RouterConfig(
        experts=tuple(train.experts),
        encoder=encoder.spec,
        head=fitted.head_spec,
        labels=fitted.label_spec,
        calibration=Calibration(fitted.head.temperature),
        decisions=fitted.decisions,
        training=Training(
            mean_rewards=tuple(round(float(mean), 6) for mean in means),
            mean_costs=_mean_costs(train),
            tokens_in=None if by_price is None else tuple(by_price.tokens_in.round(3).tolist()),
            tokens_out=None if by_price is None else tuple(by_price.tokens_out.round(3).tolist()),
            rows=len(train),
            observed=_support(train),
            rows_that_chose=None if fitted.sample is None else len(fitted.sample),
            folds=recipe.folds,
            seed=recipe.seed,
            context=recipe.context,
        ),
    )


def _support(train: RewardTable) -> tuple[int, ...] | None:
    """Return the number of rewards of each expert; None where it is that of the rows."""
    seen = ~np.isnan(train.rewards)
    return None if seen.all() else tuple(seen.sum(axis=0).tolist())


def _mean_costs(train: RewardTable) -> tuple[float | None, ...] | None:
    """Mean observed cost of each expert, None for one without; None without costs."""
    if train.costs is None:
        return None
    means = observed_mean(train.costs).tolist()
    return tuple(float(f"{mean:.6g}") if mean == mean else None for mean in means)


def tag_files(
    train: RewardTable,
    embeddings: NDArray[np.float32],
    tagging: Tags | None,
    *,
    keep_queries: bool = False,
) -> dict[str, bytes]:
    """Content of the tag index's files, over the tagged training queries; none without tags.

    `embeddings` (n_queries, dim) are of the training rows. With `keep_queries` the texts of the
    tagged ones are added, as queries.json.
    """
    if tagging is None:
        return {}
    assignment = tagging.assignment
    files = TagIndex.build(embeddings, assignment, train.rewards).to_files()
    if keep_queries:
        tagged = np.unique(assignment.rows).tolist()
        text = json.dumps([train.queries[row] for row in tagged], ensure_ascii=False)
        files[QUERIES] = text.encode("utf-8", "replace")  # lone surrogates become "?"
    return files
