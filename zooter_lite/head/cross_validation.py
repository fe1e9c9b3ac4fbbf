"""Choose how to fit by K-fold cross-validation on the training rows, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.candidates import Candidates
from zooter_lite.head.distil import MAX_ITERATIONS
from zooter_lite.head.domains import Domains
from zooter_lite.head.fit_setting import Setting, fit_settings, logits_of
from zooter_lite.labels.completion import learn_completion
from zooter_lite.labels.soft import Filled
from zooter_lite.recipe import Recipe

Array = NDArray[np.floating]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """What cross-validation says of one setting.

    A reward that was not observed counts as the rows of the other folds fill it in.
    """

    setting: Setting
    mean: float  # reward of the expert chosen out of fold
    gap: float  # of the best setting to this one
    gap_se: float  # standard error of that difference


@dataclass(frozen=True)
class Selection:
    """What cross-validation chose.

    Attributes
    ----------
    chosen, scores
        The chosen setting, and every score, the best first.
    usual
        The setting that would be chosen without --tune, `gap` and `gap_se` against the chosen.
    logits, rewards
        (n_queries, n_experts) out of fold, by the fits that were scored, and the rewards that
        scored them; NaN in the rows of folds that are not judged.
    folds
        (n_queries,) number of each query's fold.
    """

    chosen: Setting
    scores: list[Score]
    usual: Score
    logits: Array
    rewards: Array
    folds: NDArray[np.int64]


def fold_ids(n_rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """Shuffle 0..folds-1 over the rows in equal shares."""
    return np.random.default_rng(seed).permutation(np.arange(n_rows) % folds)


def cross_validate(
    embeddings: Array,
    rewards: Array,
    subsets: Sequence[str],
    folds: NDArray[np.int64],
    candidates: Candidates,
    domains: Domains | None,
    recipe: Recipe,
    *,
    propensities: NDArray[np.float64] | None = None,
    judged: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Selection:
    """Choose the setting by the mean reward of the expert chosen out of fold.

    Among the settings whose gap to the best is within one standard error of the
    paired difference, the simplest wins (`Candidates.simplicity`). What is learned from
    rewards, and the centroids of the tags, are made from a fold's training rows alone.

    Parameters
    ----------
    embeddings, rewards
        (n_queries, dim) and (n_queries, n_experts) float64, NaN where not observed.
    folds
        (n_queries,) number of each query's fold; equal queries must share theirs.
    propensities
        As for `learn_completion`.
    judged
        The one fold whose rows are held out and count, where the others would flatter; None
        takes every fold.
    progress
        Called with the number of settings after each fold.
    """
    from joblib import Parallel, delayed

    numbers = np.unique(folds).tolist() if judged is None else [judged]
    taggings = list(dict.fromkeys(setting.tagging for setting in candidates.settings))
    names = np.asarray(subsets, dtype=object)
    partial = bool(np.isnan(rewards).any())
    missed: list[float] = []

    def job(tagging: int | None, fold: int) -> tuple[dict[Setting, Array], Array]:
        """Logits of the fold's rows (n, n_experts) for each setting, and their rewards."""
        inside, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        known, held = Filled(rewards[inside]), rewards[rows]
        chances = None if propensities is None else propensities[inside]
        if partial:
            learned = learn_completion(known.rewards, embeddings[inside], names[inside], chances)
            known = learned.fill(known.rewards, embeddings[inside], names[inside])
            held = learned.fill(held, embeddings[rows], names[rows]).rewards
        tags = candidates.tags_of(tagging)
        tags = None if tags is None else tags.centred_on(embeddings, inside)
        own, apart = (
            (None if tags is None else tags.take(part), domains and domains.take(part))
            for part in (inside, rows)
        )
        settings = [setting for setting in candidates.settings if setting.tagging == tagging]
        heads = fit_settings(
            *(embeddings[inside], known, *own, settings, recipe),
            missed=missed.append,
        )
        progress(len(settings))
        logits = [logits_of(head, embeddings[rows], *apart) for head in heads]
        return dict(zip(settings, logits, strict=True)), held

    tasks = [(tagging, fold) for tagging in taggings for fold in numbers]
    results = Parallel(n_jobs=recipe.jobs, prefer="threads")(delayed(job)(*t) for t in tasks)
    logits = {s: np.full(rewards.shape, np.nan) for s in candidates.settings}
    judging = np.full(rewards.shape, np.nan)
    for (_, fold), (found, held) in zip(tasks, results, strict=True):
        judging[folds == fold] = held
        for setting, values in found.items():
            logits[setting][folds == fold] = values
    counted = np.isin(folds, numbers)
    earned = {s: reward_of_choice(own[counted], judging[counted]) for s, own in logits.items()}
    scores = scores_of(earned)
    if missed:
        log.warning(
            "%d of %d fits of the cross-validation did not converge in %d steps",
            *(len(missed), len(numbers) * len(scores), MAX_ITERATIONS),
        )
    chosen = simplest(scores, candidates)
    usual = simplest(scores_of({s: earned[s] for s in candidates.usual}), candidates)
    against = score_of(usual, earned[usual], earned[chosen])
    return Selection(chosen, scores, against, logits[chosen], judging, folds)


def reward_of_choice(logits: Array, rewards: Array) -> Array:
    """(n,) reward of the arg max expert; NaN where it was not observed."""
    return np.asarray(rewards[np.arange(len(rewards)), logits.argmax(axis=1)])


def scores_of(earned: Mapping[Setting, Array]) -> list[Score]:
    """Compare settings by the rewards (n,) that they earned; the best first."""
    best = max(earned.values(), key=lambda values: float(values.mean()))
    scores = [score_of(setting, values, best) for setting, values in earned.items()]
    return sorted(scores, key=lambda score: -score.mean)


def score_of(setting: Setting, earned: Array, best: Array) -> Score:
    """Compare what a setting earned (n,) with the best."""
    gaps = best - earned
    error = float(gaps.std() / np.sqrt(len(gaps)))
    return Score(setting, float(earned.mean()), float(gaps.mean()), error)


def simplest(scores: list[Score], candidates: Candidates) -> Setting:
    """Return the simplest setting within one standard error of the best."""
    near = [score.setting for score in scores if score.gap <= score.gap_se]
    return min(near, key=candidates.simplicity)
