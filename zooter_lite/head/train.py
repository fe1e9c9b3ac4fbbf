"""From a reward table and its embeddings to a fitted, calibrated head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from zooter_lite.errors import DataError
from zooter_lite.head.calibrate import calibration_temperature
from zooter_lite.head.distil import Direction, HeadKind
from zooter_lite.head.domains import Domains, learn_domains
from zooter_lite.head.large import Sample, fit_large, sample_rows
from zooter_lite.head.prior import fit_setting
from zooter_lite.head.select import Selection, fold_ids, n_jobs, select
from zooter_lite.head.settings import (
    BETAS,
    L2S,
    TEMPERATURES,
    Candidates,
    Method,
    never_rewarded,
    reward_spread,
)
from zooter_lite.labels.diagnostics import tag_support
from zooter_lite.onnx.router_graph import as_float32
from zooter_lite.router.head import Head
from zooter_lite.table.keys import query_groups
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.tagging import Tagging, Tags, cluster_tags, given_tags

FloatArray = NDArray[np.float32]
TagSource = Literal["best", "given", "auto", "none"]

GRANULARITIES = ((8, 16, 32), (16, 32, 64))
MOST_CHOOSING = 20_000  # rows; recipes/scale/fit.md has what more would bring


@dataclass(frozen=True)
class Recipe:
    """What may be fixed by hand; None leaves the choice to cross-validation.

    Attributes
    ----------
    head, labels, direction
        Kind of head, soft or hard labels, direction of the KL divergence.
    tags
        "given" by the table, "auto" (k-means), "none", or "best" of what there is.
    temperature
        Label temperature in reward units.
    beta, l2
        Sample share of the label, and weight of the L2 penalty.
    domains
        Whether the prior head learns to tell the table's subsets apart.
    folds, seed, jobs
        Of the cross-validation; jobs -1 takes every core.
    tagging
        Name of the one tagging to take of those that `tags` gives; None takes any.
    judged
        The one fold that scores and calibrates, where the encoder was fine-tuned on the
        others; None takes every fold.
    most_choosing
        Of more training rows than this, a sample of so many chooses the setting and
        calibrates, and the head is fitted on all in blocks (large.py); None takes all rows
        for everything, and the memory for it.
    """

    head: HeadKind = "prior"
    labels: Literal["soft", "hard"] = "soft"
    direction: Direction = "label-router"
    tags: TagSource = "best"
    temperature: float | None = None
    beta: float | None = None
    l2: float | None = None
    domains: bool = True
    folds: int = 5
    seed: int = 0
    jobs: int = -1
    tagging: str | None = None
    judged: int | None = None
    most_choosing: int | None = MOST_CHOOSING


@dataclass(frozen=True)
class Fitted:
    """A fitted head and how it came about.

    Attributes
    ----------
    head
        float32, calibrated.
    tagging
        The tags of the training queries, or None.
    method, selection
        What was fixed, and what cross-validation chose.
    candidates
        Those of the chosen setting alone.
    domains
        The subsets that the head tells apart, or None.
    sample
        The rows that `selection`, `candidates` and `domains` are of; None where all are.
    """

    head: Head
    tagging: Tags | None
    method: Method
    selection: Selection
    candidates: Candidates
    domains: Domains | None = None
    sample: NDArray[np.int64] | None = None

    def config(self) -> dict[str, Any]:
        """Return the parts of config.json that training decides."""
        setting = self.selection.chosen
        return {
            "head": {
                "domains": self.domains.assignment.names if self.domains else [],
                "kind": self.method.kind,
                "l2": setting.l2,
            },
            "labels": {
                "beta": setting.beta if self.tagging else 1.0,
                "direction": self.method.direction,
                "hard": self.method.hard_labels,
                "n_tags": self.tagging.n_tags if self.tagging else 0,
                "tags": self.tagging.name if self.tagging else None,
                "temperature": setting.temperature,
            },
            "calibration": {"temperature": self.head.temperature},
        }

    def summary(self, folds: int) -> str:
        """Say what cross-validation chose, and why."""
        scores, config = self.selection.scores, self.config()
        chosen = next(s for s in scores if s.setting == self.selection.chosen)
        labels, head = config["labels"], config["head"]
        why = (
            "the best of all"
            if chosen is scores[0]
            else f"the smoothest within one standard error of the best, {100 * scores[0].mean:.2f}"
        )
        rows = "train" if self.sample is None else f"{len(self.sample)} rows of train"
        text = (
            f"chosen of {len(scores)} settings by {folds}-fold cross-validation on {rows}: "
            f"{head['kind']} head, tags {labels['tags'] or 'none'}, "
            f"temperature {labels['temperature']:.3g}, beta {labels['beta']}, L2 {head['l2']}: "
            f"{100 * chosen.mean:.2f} ({why})"
        )
        if self.tagging is None:
            return text
        support = tag_support(self.tagging.assignment)
        return (
            f"{text}\ntags: {support['tags']:.0f}, carried by {support['support_50']:.0f} training "
            f"queries in the median ({support['support_25']:.0f} to {support['support_75']:.0f} "
            f"for the middle half)"
        )


def candidates_for(train: RewardTable, embeddings: FloatArray, recipe: Recipe) -> Candidates:
    """Build the grid that the recipe leaves open on these training rows.

    Raises
    ------
    DataError
        Tags are asked for that the table does not have.
    """
    taggings: list[Tagging | None] = []
    if recipe.tags == "given" and train.tags is None:
        raise DataError("--tags given: the table has no column 'tags'")
    if recipe.tags in ("best", "given") and train.tags is not None:
        taggings.append(given_tags(embeddings, train.tags))
    if recipe.tags == "given" and taggings == [None]:
        raise DataError("--tags given: no tag is carried by enough training queries (10)")
    if recipe.tags in ("best", "auto"):
        taggings += cluster_tags(embeddings, GRANULARITIES, recipe.seed)
    if recipe.tagging is not None:
        taggings = [tagging for tagging in taggings if tagging and tagging.name == recipe.tagging]
    spread = reward_spread(train.rewards)
    temperatures = [t * spread for t in TEMPERATURES]
    if recipe.temperature is not None:
        temperatures = [recipe.temperature]
    elif recipe.labels == "hard":
        temperatures = [spread]  # hard labels do not depend on it
    return Candidates(
        taggings=[tagging for tagging in taggings if tagging is not None],
        temperatures=temperatures,
        betas=BETAS if recipe.beta is None else (recipe.beta,),
        l2s=L2S if recipe.l2 is None else (recipe.l2,),
    )


def fit_head(
    train: RewardTable,
    embeddings: FloatArray,
    recipe: Recipe,
    progress: Callable[[int], object] = lambda _: None,
    announce: Callable[[int], object] = lambda _: None,
) -> Fitted:
    """Choose the setting by cross-validation, fit on all training rows, calibrate.

    Parameters
    ----------
    train
        Training rows only.
    embeddings
        (n_queries, dim) unit embeddings of the same rows.
    recipe
        What is fixed and what is left to cross-validation.
    progress, announce
        Called with the number of jobs done since the last call; once before, with that
        of all jobs.

    Raises
    ------
    DataError
        Too few rows, an expert that was never rewarded, tags that are not there.
    """
    groups = query_groups(train.queries)
    silent = [train.experts[i] for i in never_rewarded(train.rewards)]
    if silent:
        raise DataError(f"expert {silent[0]!r} has no observed reward in the training rows")
    if recipe.most_choosing is None or len(train) <= recipe.most_choosing:
        return _fit_all(train, embeddings, groups, recipe, progress, announce)
    rows = sample_rows(groups, recipe.most_choosing, recipe.seed)
    _, own = np.unique(groups[rows], return_inverse=True)
    chosen = _fit_all(train.take(rows), embeddings[rows], own, recipe, progress, announce)
    announce(0)
    setting = chosen.selection.chosen
    tagging = None if setting.tagging is None else chosen.candidates.taggings[0]
    sample = Sample(rows, tagging, chosen.domains, chosen.head)
    with _one_thread():
        head, tags = fit_large(
            train, embeddings, sample, setting, chosen.method, recipe.jobs, progress
        )
    head = as_float32(replace(head, temperature=chosen.head.temperature))
    return replace(chosen, head=head, tagging=tags, sample=rows)


def _fit_all(
    train: RewardTable,
    embeddings: FloatArray,
    groups: NDArray[np.int64],
    recipe: Recipe,
    progress: Callable[[int], object],
    announce: Callable[[int], object],
) -> Fitted:
    """Choose, fit and calibrate with all of these rows in memory; equal queries by `groups`."""
    n_queries = int(groups.max()) + 1
    if n_queries < 2 * recipe.folds:
        raise DataError(
            f"{n_queries} different training queries; {recipe.folds}-fold cross-validation "
            f"needs at least {2 * recipe.folds}"
        )
    candidates = candidates_for(train, embeddings, recipe)
    kind = recipe.head if recipe.head != "prior" or candidates.taggings else "linear"
    domains = None
    if kind == "prior" and recipe.domains:
        held_out = fold_ids(n_queries, recipe.folds, recipe.seed)[groups]
        domains = learn_domains(embeddings, train.subsets, held_out, recipe.jobs)
    candidates = replace(candidates, domains=domains)
    method = Method(kind, recipe.labels == "hard", recipe.direction, recipe.seed)
    inputs = embeddings.astype(np.float64)
    rewards = train.rewards.astype(np.float64)
    announce(n_jobs(candidates, recipe.folds if recipe.judged is None else 1))
    selection = select(
        inputs,
        rewards,
        candidates,
        method,
        groups=groups,
        folds=recipe.folds,
        judged=recipe.judged,
        jobs=recipe.jobs,
        progress=progress,
    )
    chosen = selection.chosen
    tagging = None if chosen.tagging is None else candidates.taggings[chosen.tagging]
    with _one_thread():
        head = fit_setting(inputs, rewards, tagging, chosen, method, domains=domains)
    judged = ~np.isnan(selection.logits).any(axis=1)
    temperature = calibration_temperature(selection.logits[judged], rewards[judged])
    head = as_float32(replace(head, temperature=temperature))
    return Fitted(head, tagging, method, selection, candidates.only(chosen), domains)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep sums in one order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
