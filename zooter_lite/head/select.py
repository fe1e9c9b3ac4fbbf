"""Choose how to fit by K-fold cross-validation on the training rows, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from zooter_lite.head.prior import fit_setting
from zooter_lite.head.settings import Candidates, Method, Setting
from zooter_lite.router.head import Head, prior_logits

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Cross-validated mean reward of the chosen expert under one setting.

    `gap_se` is the standard error of the paired difference to the best setting.
    """

    setting: Setting
    mean: float
    gap_se: float


@dataclass(frozen=True)
class Selection:
    """What cross-validation found.

    Attributes
    ----------
    chosen, best, scores
        The chosen setting, the best one, every score (best first).
    logits
        (n_queries, n_experts) out of fold; NaN in the rows of folds that are not judged.
    folds
        (n_queries,) number of each query's fold.
    """

    chosen: Setting
    best: Setting
    scores: list[Score]
    logits: Array
    folds: NDArray[np.int64]


def fold_ids(n_rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """Shuffle 0..folds-1 over the rows in equal shares."""
    return np.random.default_rng(seed).permutation(np.arange(n_rows) % folds)


def select(
    embeddings: Array,
    rewards: Array,
    candidates: Candidates,
    method: Method,
    *,
    groups: NDArray[np.int64] | None = None,
    folds: int = 5,
    judged: int | None = None,
    jobs: int = -1,
    progress: Callable[[int], object] = lambda _: None,
) -> Selection:
    """Choose the setting by the mean reward of the expert chosen out of fold.

    Among the settings whose gap to the best is within one standard error of the
    paired difference, the smoothest wins: fewest tags, then highest temperature, then
    largest L2, then most tag share. Labels, tag means and tables of a fold are
    made from its training rows alone; tags themselves do not look at rewards. Where a
    row's choice was not observed, its best observed expert's reward stands for it.

    `groups` (n_queries,) numbers the rows that must share a fold, such as equal
    queries; without it every row is its own. `judged` is the one fold whose rows are held
    out and count, where the others would flatter; None takes every fold.

    `progress` is called with 1 for each of `n_jobs(candidates, folds)` finished jobs (with
    one fold judged, of one fold).
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    groups = np.arange(len(rewards)) if groups is None else groups
    held_out = fold_ids(int(groups.max()) + 1, folds, method.seed)[groups]
    paths = _paths(candidates)
    numbers = list(range(folds)) if judged is None else [judged]
    counted = np.isin(held_out, numbers)

    def job(path: list[Setting], fold: int) -> list[Array]:
        rows = np.flatnonzero(held_out == fold)
        fitted = fit_path(embeddings, rewards, candidates, path, method, held_out != fold, rows)
        progress(1)
        return [reward_of_choice(values, rewards[rows]) for _, values in fitted]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            tasks = [(path, fold) for path in paths for fold in numbers]
            results = Parallel(n_jobs=jobs, prefer="threads")(delayed(job)(*t) for t in tasks)
            chosen_rewards: dict[Setting, Array] = {
                s: np.empty(len(rewards)) for path in paths for s in path
            }
            for (path, fold), values in zip(tasks, results, strict=True):
                for setting, value in zip(path, values, strict=True):
                    chosen_rewards[setting][held_out == fold] = value
            scores = _scores({s: values[counted] for s, values in chosen_rewards.items()})
            chosen = _smoothest(scores, candidates)
            logits = np.full((len(rewards), rewards.shape[1]), np.nan)
            for fold in numbers:
                rows = np.flatnonzero(held_out == fold)
                ((_, logits[rows]),) = fit_path(
                    embeddings, rewards, candidates, [chosen], method, held_out != fold, rows
                )
    finally:
        torch.set_num_threads(threads)
    return Selection(chosen, scores[0].setting, scores, logits, held_out)


def n_jobs(candidates: Candidates, folds: int) -> int:
    """Return how often `select` calls its `progress`."""
    return len(_paths(candidates)) * folds


def _paths(candidates: Candidates) -> list[list[Setting]]:
    """List settings that differ in L2 alone, strongest first, so that each starts the next."""
    taggings: list[int | None] = list(range(len(candidates.taggings))) or [None]
    betas = candidates.betas if candidates.taggings else (1.0,)
    descending = sorted(candidates.l2s, reverse=True)
    return [
        [Setting(tagging, temperature, beta, l2) for l2 in descending]
        for tagging, temperature, beta in product(taggings, candidates.temperatures, betas)
    ]


def fit_path(
    embeddings: Array,
    rewards: Array,
    candidates: Candidates,
    path: list[Setting],
    method: Method,
    train: NDArray[np.bool_],
    rows: NDArray[np.int64],
) -> list[tuple[Head, Array]]:
    """Fit each setting of the path on the rows of `train`; heads, and logits of `rows`."""
    inside = np.flatnonzero(train)
    tagging = None if path[0].tagging is None else candidates.taggings[path[0].tagging]
    own = None if tagging is None else tagging.take(inside)
    domains = candidates.domains
    own_domains = None if domains is None else domains.take(inside)
    head: Head | None = None
    fitted = []
    for setting in path:
        head = fit_setting(
            embeddings[inside], rewards[inside], own, setting, method, head, own_domains
        )
        found = replace(head, prior=None, domain=None).logits(embeddings[rows])
        if head.prior is not None and tagging is not None:
            seen = None if domains is None else domains.membership[rows]
            near, tags = tagging.near[rows], tagging.membership[rows]
            found = found + prior_logits(head.prior, head.domain, near, tags, seen)
        fitted.append((head, np.asarray(found, dtype=np.float64)))
    return fitted


def reward_of_choice(logits: Array, rewards: Array) -> Array:
    """Reward of the arg max expert; where it was not observed, that of the best observed one."""
    possible = np.where(np.isnan(rewards), -np.inf, logits)
    return np.asarray(rewards[np.arange(len(rewards)), possible.argmax(axis=1)])


def _scores(chosen_rewards: dict[Setting, Array]) -> list[Score]:
    best = max(chosen_rewards, key=lambda setting: float(chosen_rewards[setting].mean()))
    scores = []
    for setting, values in chosen_rewards.items():
        gap = chosen_rewards[best] - values
        scores.append(Score(setting, float(values.mean()), float(gap.std() / np.sqrt(len(gap)))))
    return sorted(scores, key=lambda score: -score.mean)


def _smoothest(scores: list[Score], candidates: Candidates) -> Setting:
    best = scores[0].mean
    near = [score.setting for score in scores if best - score.mean <= score.gap_se]

    def roughness(setting: Setting) -> tuple[float, ...]:
        n_tags = 0 if setting.tagging is None else candidates.taggings[setting.tagging].n_tags
        return (n_tags, -setting.temperature, -setting.l2, setting.beta)

    return min(near, key=roughness)
