"""Choose how the head is fitted: the setting, the tags and the domains, by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from zooter_lite.cores import cores
from zooter_lite.errors import DataError
from zooter_lite.head.candidates import candidates_for
from zooter_lite.head.cross_validation import Selection, cross_validate, fold_ids
from zooter_lite.head.domains import Domains, learn_domains
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.config import HeadSpec, LabelSpec
from zooter_lite.table.keys import query_groups
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.tagging import Tags

FloatArray = NDArray[np.float32]
Progress = Callable[[int], object]

MOST_CHOOSING = 20_000  # rows; recipes/scale/fit.md has what more would bring


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What cross-validation chose, before the head is fitted on all rows.

    Attributes
    ----------
    tagging
        The tags of the training queries, or None.
    domains
        The subsets that the head tells apart, or None.
    recipe
        What was fixed; its head is "linear" where a prior found no tags.
    selection
        The setting, and the predictions out of fold.
    sample
        The rows that all this is of; None where it is of all.
    """

    tagging: Tags | None
    domains: Domains | None
    recipe: Recipe
    selection: Selection
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


def choose(
    train: RewardTable,
    embeddings: FloatArray,
    recipe: Recipe,
    progress: Progress = lambda _: None,
    announce: Progress = lambda _: None,
    *,
    tagging: str | None = None,
    judged: int | None = None,
    most_choosing: int | None = MOST_CHOOSING,
) -> Choice:
    """Choose the setting by cross-validation on training rows.

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
    sample = None
    if most_choosing is not None and len(train) > most_choosing:
        sample = sample_rows(query_groups(train.queries), most_choosing, recipe.seed)
        train, embeddings = train.take(sample), embeddings[sample]
    with threadpool_limits(1):  # sums in one order on every machine
        chosen = _choose(train, embeddings, recipe, progress, announce, tagging, judged)
    return replace(chosen, sample=sample)


def _choose(
    train: RewardTable,
    embeddings: FloatArray,
    recipe: Recipe,
    progress: Progress,
    announce: Progress,
    tagging: str | None,
    judged: int | None,
) -> Choice:
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
    announce(len(candidates.settings) * (recipe.folds if judged is None else 1))
    selection = cross_validate(
        embeddings.astype(np.float64),
        train.rewards.astype(np.float64),
        *(train.subsets, folds, candidates, domains, recipe),
        propensities=train.propensities,
        judged=judged,
        progress=progress,
    )
    chosen = selection.chosen
    return Choice(
        tagging=candidates.tags_of(chosen.tagging),
        domains=domains if chosen.domains else None,
        recipe=recipe,
        selection=selection,
    )


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
