"""From a reward table and its embeddings to a fitted, calibrated head: the whole job.

Cross-validation chooses the setting, which is then fitted on all training rows. Of a large
table a sample of the rows chooses: its tags (centroids) and its domains (a classifier), which
do not look at rewards, are extended to all rows, and the head is fitted on all of them, read
from disk block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from zooter_lite.cores import cores
from zooter_lite.errors import DataError
from zooter_lite.head.candidates import candidates_for
from zooter_lite.head.cross_validation import Selection, cross_validate, fold_ids
from zooter_lite.head.domains import Domains, domains_of_all, learn_domains
from zooter_lite.head.estimate import Expected, calibration_temperature, learn_estimates
from zooter_lite.head.fit_setting import fit_setting, logits_of
from zooter_lite.head.operating import operating_points
from zooter_lite.labels.blocks import RowsOf
from zooter_lite.labels.completion import completed, learn_completion
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.labels.soft import Filled
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.config import Decisions, HeadSpec, LabelSpec
from zooter_lite.router.estimates import Estimates
from zooter_lite.router.head import Head
from zooter_lite.table.keys import query_groups
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.tagging import Tags, tags_of_all

FloatArray = NDArray[np.float32]
Progress = Callable[[int], object]

MOST_CHOOSING = 20_000  # rows; recipes/scale/fit.md has what more would bring


@dataclass(frozen=True)
class Fitted:
    """A fitted head and how it came about.

    Attributes
    ----------
    head
        float32, calibrated.
    tagging
        The tags of the training queries, or None.
    domains
        The subsets that the head tells apart, or None.
    recipe
        What was fixed; its head is "linear" where a prior found no tags.
    selection
        What cross-validation chose.
    decisions
        The operating points, found on the same out-of-fold predictions.
    sample
        The rows that `selection` is of; None where all are.
    """

    head: Head
    tagging: Tags | None
    domains: Domains | None
    recipe: Recipe
    selection: Selection
    decisions: Decisions
    sample: NDArray[np.int64] | None = None

    @property
    def head_spec(self) -> HeadSpec:
        """How the head was fitted, as config.json says it."""
        domains = self.domains.assignment.names if self.domains else []
        return HeadSpec(self.recipe.head, self.selection.chosen.l2, tuple(domains))

    @property
    def label_spec(self) -> LabelSpec:
        """How rewards became labels, as config.json says it."""
        setting = self.selection.chosen
        return LabelSpec(
            tags=self.tagging.name if self.tagging else None,
            n_tags=self.tagging.n_tags if self.tagging else 0,
            temperature=setting.temperature,
            beta=setting.beta,
            direction=self.recipe.kl,
            hard=self.recipe.labels == "hard",
        )

    def summary(self) -> str:
        """Say what cross-validation chose, and why."""
        scores, labels, head = self.selection.scores, self.label_spec, self.head_spec
        chosen = next(s for s in scores if s.setting == self.selection.chosen)
        why = (
            "the best of all"
            if chosen is scores[0]
            else f"the simplest within one standard error of the best, {100 * scores[0].mean:.2f}"
        )
        rows = "train" if self.sample is None else f"{len(self.sample)} rows of train"
        text = (
            f"chosen of {len(scores)} settings by {self.recipe.folds}-fold cross-validation on "
            f"{rows}: {head.kind} head, tags {labels.tags or 'none'}, "
            f"temperature {labels.temperature:.3g}, beta {labels.beta}, L2 {head.l2}, "
            f"{f'{len(head.domains)} domains' if head.domains else 'no domains'}: "
            f"{100 * chosen.mean:.2f} ({why})"
        )
        if self.recipe.tune:
            usual = self.selection.usual
            text += (
                f"\ntuning gained {100 * usual.gap:.2f} (standard error {100 * usual.gap_se:.2f}) "
                f"out of fold against what is chosen without it, {100 * usual.mean:.2f}"
            )
        if self.tagging is None:
            return text
        low, middle, high = np.percentile(self.tagging.assignment.support(), [25, 50, 75])
        return (
            f"{text}\ntags: {self.tagging.n_tags}, carried by {middle:.0f} training queries "
            f"in the median ({low:.0f} to {high:.0f} for the middle half)"
        )


def fit_head(
    train: RewardTable,
    embeddings: FloatArray,
    recipe: Recipe,
    progress: Progress = lambda _: None,
    announce: Progress = lambda _: None,
    *,
    tagging: str | None = None,
    judged: int | None = None,
    most_choosing: int | None = MOST_CHOOSING,
    tokens: NDArray[np.int64] | None = None,
) -> Fitted:
    """Choose the setting by cross-validation, fit on all training rows, calibrate.

    Parameters
    ----------
    train
        Training rows only.
    embeddings
        (n_queries, dim) unit embeddings of the same rows, such as an array mapped from disk.
    progress, announce
        Called with the number of jobs done since the last call; once before, with that
        of all jobs, or with 0 before passes over the rows, whose number is not known.
    tagging
        Name of the one tagging to take of those that `recipe.tags` gives; None takes any.
    judged
        The one fold that scores and calibrates, where the encoder was fine-tuned on the
        others; None takes every fold.
    most_choosing
        Of more training rows than this, a sample of so many chooses the setting, and the head
        is fitted on all in blocks; None takes all rows for everything, and the memory for it.
    tokens
        (n_queries,) tokens of each query, which costs depend on; None leaves them out.

    Raises
    ------
    DataError
        Too few rows, an expert that was never rewarded, tags that are not there.
    """
    silent = np.flatnonzero(np.isnan(observed_mean(train.rewards)))
    if len(silent):
        expert = train.experts[int(silent[0])]
        raise DataError(f"expert {expert!r} has no observed reward in the training rows")
    recipe = replace(recipe, jobs=cores() if recipe.jobs == -1 else recipe.jobs)
    options = (recipe, progress, announce, tagging, judged)
    with one_thread():
        if most_choosing is None or len(train) <= most_choosing:
            return _fit_in_memory(train, embeddings, tokens, *options)
        groups = query_groups(train.queries)
        rows = sample_rows(groups, most_choosing, recipe.seed)
        lengths = None if tokens is None else tokens[rows]
        chosen = _fit_in_memory(train.take(rows), embeddings[rows], lengths, *options)
        announce(0)
        return _fit_in_blocks(train, embeddings, groups, rows, chosen, progress)


def sample_rows(groups: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Draw whole groups (n_queries,), rows of equal queries, until `most` rows are full."""
    counts = np.bincount(groups)
    drawn = np.zeros(len(counts), dtype=bool)
    room = most
    for group in np.random.default_rng(seed).permutation(len(counts)).tolist():
        if counts[group] <= room:
            drawn[group] = True
            room -= int(counts[group])
        if not room:
            break
    return np.flatnonzero(drawn[groups])


def _fit_in_memory(
    train: RewardTable,
    embeddings: FloatArray,
    tokens: NDArray[np.int64] | None,
    recipe: Recipe,
    progress: Progress,
    announce: Progress,
    tagging: str | None,
    judged: int | None,
) -> Fitted:
    """Choose, fit and calibrate with all of these rows in memory."""
    groups = query_groups(train.queries)
    n_queries = int(groups.max()) + 1
    if n_queries < 2 * recipe.folds:
        raise DataError(
            f"{n_queries} different training queries; {recipe.folds}-fold cross-validation "
            f"needs at least {2 * recipe.folds}"
        )
    folds = fold_ids(n_queries, recipe.folds, recipe.seed)[groups]
    domains = None
    if recipe.head == "prior" and recipe.domains and recipe.tags != "none":
        domains = learn_domains(embeddings, train.subsets, folds, recipe.jobs)
    candidates = candidates_for(train, embeddings, recipe, tagging, domains=domains is not None)
    if recipe.head == "prior" and not candidates.taggings:
        recipe = replace(recipe, head="linear")
    inputs, rewards = embeddings.astype(np.float64), train.rewards.astype(np.float64)
    announce(len(candidates.settings) * (recipe.folds if judged is None else 1))
    selection = cross_validate(
        *(inputs, rewards, train.subsets, folds, candidates, domains, recipe),
        propensities=train.propensities,
        judged=judged,
        progress=progress,
    )
    chosen = selection.chosen
    tags, domains = candidates.tags_of(chosen.tagging), domains if chosen.domains else None
    known = completed(rewards, inputs, train.subsets, train.propensities)
    head = fit_setting(inputs, known, tags, domains, chosen, recipe)
    unseen = ~np.isnan(selection.logits).any(axis=1)
    temperature = calibration_temperature(selection.logits[unseen], rewards[unseen])
    near = None if head.prior is None else tags
    found = learn_estimates(inputs, selection, near, train.costs, tokens)
    # as a router keeps them, in float32
    kept = Estimates.from_tensors(found.estimates.tensors(), len(train.experts), inputs.shape[1])
    head = replace(_stored(head, temperature), estimates=kept)
    decided = _decisions(found, selection, train, recipe)
    return Fitted(head, tags, domains, recipe, selection, decided)


def _decisions(
    found: Expected, selection: Selection, train: RewardTable, recipe: Recipe
) -> Decisions:
    """Find the operating points; a cost that was not observed counts as it is expected."""
    paid = None
    if found.costs is not None and train.costs is not None:
        own = train.costs[found.rows].astype(np.float64)
        paid = np.where(np.isnan(own), found.costs, own)
    given = (found.rewards, found.costs, selection.rewards[found.rows], paid, train.experts)
    decided = operating_points(*given, give=recipe.give / 100)
    default = decided.recommended if recipe.point == "recommended" else recipe.point
    if default not in [point.name for point in decided.points]:
        raise DataError(f"--point {default}: the rows that chose lack the costs of some expert")
    return replace(decided, default=default)


def _fit_in_blocks(
    train: RewardTable,
    embeddings: FloatArray,
    groups: NDArray[np.int64],
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep sums in one order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
