"""From a reward table and its embeddings to a fitted, calibrated head: the whole job.

Cross-validation chooses the setting, which is then fitted on all training rows. Of a large
table a sample of the rows chooses: its tags (centroids) and its domains (a classifier), which
do not look at rewards, are extended to all rows, and the head is fitted on all of them, read
from disk block by block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from zooter_lite.errors import DataError
from zooter_lite.head.choose import Choice, FloatArray, Progress, choose, sample_rows
from zooter_lite.head.domains import domains_of_all
from zooter_lite.head.estimate import Expected, calibration_temperature, learn_estimates
from zooter_lite.head.fit_setting import fit_setting, logits_of
from zooter_lite.head.operating import operating_points
from zooter_lite.labels.blocks import RowsOf
from zooter_lite.labels.completion import completed, learn_completion
from zooter_lite.labels.soft import Filled
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.config import Decisions
from zooter_lite.router.estimates import Estimates
from zooter_lite.router.head import Head
from zooter_lite.table.keys import query_groups
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.tagging import tags_of_all


@dataclass(frozen=True, kw_only=True)
class Fitted(Choice):
    """A fitted head and how it came about.

    Attributes
    ----------
    head
        float32, calibrated.
    decisions
        The operating points, found on the same out-of-fold predictions.
    """

    head: Head
    decisions: Decisions


def fit_head(
    train: RewardTable,
    embeddings: FloatArray,
    recipe: Recipe,
    *turns: Progress,
    tokens: NDArray[np.int64] | None = None,
    **options: Any,
) -> Fitted:
    """Choose the setting by cross-validation, fit on all training rows, calibrate.

    `turns` are progress and announce of `choose`, and `options` its options; `tokens` are as
    for `fit_chosen`.
    """
    choice = choose(train, embeddings, recipe, *turns, **options)
    return fit_chosen(train, embeddings, choice, *turns, tokens=tokens)


def fit_chosen(
    train: RewardTable,
    embeddings: FloatArray,
    choice: Choice,
    progress: Progress = lambda _: None,
    announce: Progress = lambda _: None,
    *,
    tokens: NDArray[np.int64] | None = None,
) -> Fitted:
    """Fit what was chosen on all training rows, and calibrate.

    `tokens` (n_queries,) are the lengths that costs depend on; None leaves them out. The other
    parameters are those of `choose`.
    """
    sample = choice.sample
    with threadpool_limits(1):  # sums in one order on every machine
        if sample is None:
            return _fit_in_memory(train, embeddings, choice, tokens)
        lengths = None if tokens is None else tokens[sample]
        fitted = _fit_in_memory(train.take(sample), embeddings[sample], choice, lengths)
        announce(0)
        return _fit_in_blocks(train, embeddings, sample, fitted, progress)


def _fit_in_memory(
    train: RewardTable,
    embeddings: FloatArray,
    choice: Choice,
    tokens: NDArray[np.int64] | None,
) -> Fitted:
    """Fit and calibrate with all of these rows in memory."""
    selection, tags = choice.selection, choice.tagging
    inputs, rewards = embeddings.astype(np.float64), train.rewards.astype(np.float64)
    known = completed(rewards, inputs, train.subsets, train.propensities)
    head = fit_setting(inputs, known, tags, choice.domains, selection.chosen, choice.recipe)
    unseen = ~np.isnan(selection.logits).any(axis=1)
    temperature = calibration_temperature(selection.logits[unseen], rewards[unseen])
    near = None if head.prior is None else tags
    found = learn_estimates(inputs, selection, near, train.costs, tokens)
    # as a router keeps them, in float32
    kept = Estimates.from_tensors(found.estimates.tensors(), len(train.experts), inputs.shape[1])
    head = replace(_stored(head, temperature), estimates=kept)
    decisions = _decisions(found, choice, train)
    return Fitted(**vars(choice), head=head, decisions=decisions)


def _decisions(found: Expected, choice: Choice, train: RewardTable) -> Decisions:
    """Find the operating points; a cost that was not observed counts as it is expected."""
    paid = None
    if found.costs is not None and train.costs is not None:
        own = train.costs[found.rows].astype(np.float64)
        paid = np.where(np.isnan(own), found.costs, own)
    recipe, observed = choice.recipe, choice.selection.rewards[found.rows]
    given = (found.rewards, found.costs, observed, paid, train.experts)
    decided = operating_points(*given, give=recipe.give / 100)
    default = decided.recommended if recipe.point == "recommended" else recipe.point
    if default not in [point.name for point in decided.points]:
        raise DataError(f"--point {default}: the rows that chose lack the costs of some expert")
    return replace(decided, default=default)


def _fit_in_blocks(
    train: RewardTable,
    embeddings: FloatArray,
    sample: NDArray[np.int64],
    chosen: Fitted,
    progress: Progress,
) -> Fitted:
    """Fit and calibrate the setting that a sample chose on all rows.

    The temperature is that of a head of nearly all rows, on the rows left out: a fold's share,
    and no more than the sample has. That head starts the one of all rows.
    """
    recipe = chosen.recipe
    tags, domains = chosen.tagging, chosen.domains
    if tags is not None:
        tags = tags_of_all(tags, sample, embeddings, train.tags, recipe.jobs)
    if domains is not None:
        domains = domains_of_all(domains, sample, embeddings, train.subsets, recipe.jobs)
    rewards = Filled(train.rewards)
    if np.isnan(train.rewards).any():
        learned = learn_completion(
            *(train.rewards[sample], embeddings[sample], [train.subsets[row] for row in sample]),
            None if train.propensities is None else train.propensities[sample],
        )
        rewards = learned.fill(
            *(train.rewards, embeddings, train.subsets), dtype=np.float32, jobs=recipe.jobs
        )
    fit = partial(fit_setting, setting=chosen.selection.chosen, recipe=recipe)
    fit = partial(fit, jobs=recipe.jobs, passed=progress)
    groups = query_groups(train.queries)
    held = sample_rows(groups, min(len(sample), len(train) // recipe.folds), recipe.seed + 1)
    rest = np.setdiff1d(np.arange(len(train)), held)
    (rest_tags, rest_domains), (held_tags, held_domains) = (
        (tags and tags.take(rows), domains and domains.take(rows)) for rows in (rest, held)
    )
    without = fit(
        *(RowsOf(embeddings, rest), rewards.take(rest), rest_tags, rest_domains),
        start=chosen.head,
    )
    logits = logits_of(without, embeddings[held].astype(np.float64), held_tags, held_domains)
    temperature = calibration_temperature(logits, train.rewards[held].astype(np.float64))
    head = fit(embeddings, rewards, tags, domains, start=without)
    stored = replace(_stored(head, temperature), estimates=chosen.head.estimates)
    return replace(chosen, head=stored, tagging=tags, domains=domains, sample=sample)


def _stored(head: Head, temperature: float) -> Head:
    """Return the head as a router keeps it: calibrated, every array rounded to float32."""
    return Head.from_tensors(head.tensors(), temperature)
