"""Choose how to fit by K-fold cross-validation on the training rows, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.candidates import Candidates
from zooter_lite.head.distil import MAX_ITERATIONS
from zooter_lite.head.domains import Domains
from zooter_lite.head.fit_setting import Setting, fit_path, logits_of
from zooter_lite.recipe import Recipe

Array = NDArray[np.floating]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """What cross-validation says of one setting.

    Attributes
    ----------
    mean
        Mean reward of the expert chosen out of fold, over the rows that observed it.
    gap, gap_se
        How far the best setting is ahead, in the mean over the rows that observed the choices
        of both, and the standard error of that difference.
    """

    setting: Setting
    mean: float
    gap: float
    gap_se: float


@dataclass(frozen=True)
class Selection:
    """What cross-validation chose.

    Attributes
    ----------
    chosen, scores
        The chosen setting, and every score, the best first.
    logits
        (n_queries, n_experts) out of fold; NaN in the rows of folds that are not judged.
    folds
        (n_queries,) number of each query's fold.
    """

    chosen: Setting
    scores: list[Score]
    logits: Array
    folds: NDArray[np.int64]


def fold_ids(n_rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """Shuffle 0..folds-1 over the rows in equal shares."""
    return np.random.default_rng(seed).permutation(np.arange(n_rows) % folds)


def cross_validate(
    embeddings: Array,
    rewards: Array,
    folds: NDArray[np.int64],
    candidates: Candidates,
    domains: Domains | None,
    recipe: Recipe,
    *,
    judged: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Selection:
    """Choose the setting by the mean reward of the expert chosen out of fold.

    Among the settings whose gap to the best is within one standard error of the
    paired difference, the smoothest wins: fewest tags, then highest temperature, then
    largest L2, then most tag share. Labels, tag means and tables of a fold are
    made from its training rows alone; tags themselves do not look at rewards. Rewards that
    were not observed are left out as in an evaluation: two settings are compared on the rows
    that observed the choices of both.

    Parameters
    ----------
    embeddings, rewards
        (n_queries, dim) and (n_queries, n_experts) float64, NaN where not observed.
    folds
        (n_queries,) number of each query's fold; equal queries must share theirs.
    domains
        Of the queries, for the prior head; None does without.
    judged
        The one fold whose rows are held out and count, where the others would flatter; None
        takes every fold.
    progress
        Called with 1 for each path of each fold.
    """
    from joblib import Parallel, delayed

    numbers = np.unique(folds).tolist() if judged is None else [judged]
    missed: list[float] = []

    def out_of_fold(path: list[Setting], fold: int) -> list[Array]:
        """Logits (n, n_experts) of the fold's rows for each setting."""
        inside, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        tags = candidates.tags_of(path[0])
        own, held = (
            (None if tags is None else tags.take(part), domains and domains.take(part))
            for part in (inside, rows)
        )
        heads = fit_path(
            *(embeddings[inside], rewards[inside], *own, path, recipe), missed=missed.append
        )
        return [logits_of(head, embeddings[rows], *held) for head in heads]

    def job(path: list[Setting], fold: int) -> list[Array]:
        rows = folds == fold
        earned = [reward_of_choice(values, rewards[rows]) for values in out_of_fold(path, fold)]
        progress(1)
        return earned

    tasks = [(path, fold) for path in candidates.paths() for fold in numbers]
    results = Parallel(n_jobs=recipe.jobs, prefer="threads")(delayed(job)(*t) for t in tasks)
    earned = {s: np.empty(len(rewards)) for path in candidates.paths() for s in path}
    for (path, fold), values in zip(tasks, results, strict=True):
        for setting, value in zip(path, values, strict=True):
            earned[setting][folds == fold] = value
    counted = np.isin(folds, numbers)
    scores = scores_of({setting: values[counted] for setting, values in earned.items()})
    chosen = smoothest(scores, candidates)
    if missed:
        n_fits = len(numbers) * len(scores)
        log.warning(
            "%d of %d fits of the cross-validation did not converge in %d steps",
            *(len(missed), n_fits, MAX_ITERATIONS),
        )
    logits = np.full(rewards.shape, np.nan)
    for fold in numbers:
        (logits[folds == fold],) = out_of_fold([chosen], fold)
    return Selection(chosen, scores, logits, folds)


def reward_of_choice(logits: Array, rewards: Array) -> Array:
    """(n,) reward of the arg max expert; NaN where it was not observed."""
    return np.asarray(rewards[np.arange(len(rewards)), logits.argmax(axis=1)])


def scores_of(earned: Mapping[Setting, Array]) -> list[Score]:
    """Compare settings by the rewards (n,) that they earned, NaN where not observed.

    The best is found by one duel after the other, each over the rows that both observed: a
    setting that is ahead of every other always wins. Where nothing is missing that is the one
    with the highest mean.
    """
    best = max(earned, key=lambda setting: int((~np.isnan(earned[setting])).sum()))
    for setting, values in earned.items():
        if _mean(values - earned[best]) > 0:
            best = setting
    scores = []
    for setting, values in earned.items():
        gaps = earned[best] - values
        gaps = gaps[~np.isnan(gaps)]
        error = float(gaps.std() / np.sqrt(len(gaps))) if len(gaps) else float("nan")
        scores.append(Score(setting, _mean(values), _mean(gaps), error))
    return sorted(scores, key=lambda score: (score.setting != best, -score.mean))


def smoothest(scores: list[Score], candidates: Candidates) -> Setting:
    """Return the smoothest setting within one standard error of the best."""

    def roughness(setting: Setting) -> tuple[float, ...]:
        tags = candidates.tags_of(setting)
        n_tags = 0 if tags is None else tags.n_tags
        return (n_tags, -setting.temperature, -setting.l2, setting.beta)

    near = [score.setting for score in scores if score.gap <= score.gap_se]
    return min(near or [scores[0].setting], key=roughness)


def _mean(values: Array) -> float:
    observed = values[~np.isnan(values)]
    return float(observed.mean()) if len(observed) else float("nan")
