"""What a router must beat. Everything here is learned on the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from zooter_lite.data.table import RewardTable
from zooter_lite.evaluation.metrics import reward_of
from zooter_lite.labels.diagnostics import observed_mean

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]

NEIGHBOURS = (10, 30, 100, 300)


@dataclass(frozen=True)
class TrainedOn:
    """What the baselines know of the training rows.

    Attributes
    ----------
    mean_rewards
        (n_experts,) mean observed reward.
    table, embeddings
        The training rows and their unit embeddings (n, dim); None where the evaluated
        file has no training rows: only the best single expert is known then.
    """

    mean_rewards: Array
    table: RewardTable | None = None
    embeddings: FloatArray | None = None

    @property
    def best_single(self) -> int:
        """Position of the expert with the highest mean reward on train."""
        return int(np.nanargmax(self.mean_rewards))


def best_per_subset(train: TrainedOn, subsets: list[str]) -> NDArray[np.int64]:
    """(n,) for each row the best expert of its subset on train; the best single where unseen."""
    if train.table is None:
        raise ValueError("the best expert per subset needs the training rows")
    names = np.asarray(train.table.subsets)
    best = {
        str(name): int(np.nanargmax(observed_mean(train.table.rewards[names == name])))
        for name in np.unique(names)
    }
    return np.asarray([best.get(subset, train.best_single) for subset in subsets])


def nearest_neighbours(train: TrainedOn, embeddings: FloatArray) -> tuple[NDArray[np.int64], int]:
    """Choose the expert with the highest mean reward among the k nearest training queries.

    k is the one of `NEIGHBOURS` whose leave-one-out choices earn most on train.

    Returns
    -------
    (n,) choices for `embeddings` (n, dim), and k.
    """
    if train.table is None or train.embeddings is None:
        raise ValueError("the neighbours need the training rows")
    known = np.ascontiguousarray(train.embeddings, dtype=np.float32)
    index = faiss.IndexFlatIP(known.shape[1])
    index.add(known)
    rewards = train.table.rewards
    sizes = [k for k in NEIGHBOURS if k < len(known)] or [len(known) - 1 or 1]
    around = index.search(known, min(max(sizes) + 1, len(known)))[1]
    others = _without_self(around)
    scores = {}
    for k in sizes:
        choices = _vote(others[:, :k], rewards, train.best_single)
        scores[k] = float(np.nanmean(reward_of(choices, rewards)))
    best = max(scores, key=lambda k: (scores[k], k))
    found = index.search(np.ascontiguousarray(embeddings, dtype=np.float32), min(best, len(known)))
    return _vote(found[1], rewards, train.best_single), best


def _without_self(neighbours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop each row's own position; where a duplicate pushed it out, drop the farthest."""
    kept = neighbours != np.arange(len(neighbours))[:, None]
    kept[kept.all(axis=1), -1] = False
    return np.asarray(neighbours[kept].reshape(len(neighbours), -1))


def _vote(
    neighbours: NDArray[np.int64], rewards: NDArray[np.float32], best_single: int
) -> NDArray[np.int64]:
    """(n,) expert with the highest mean observed reward among each row's neighbours."""
    choices = np.empty(len(neighbours), dtype=np.int64)
    for start in range(0, len(neighbours), 1024):  # bounds the memory of the gathered rewards
        gathered = rewards[neighbours[start : start + 1024]].astype(np.float64)
        count = (~np.isnan(gathered)).sum(axis=1)
        means = np.where(count > 0, np.nansum(gathered, axis=1) / np.maximum(count, 1), -np.inf)
        means[:, best_single] += 1e-9  # the best single expert wins exact ties
        choices[start : start + 1024] = means.argmax(axis=1)
    return choices
