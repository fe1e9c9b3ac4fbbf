"""Soft labels from rewards, smoothed by tag (Lu et al. 2023, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.blocks import for_blocks, in_blocks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TagAssignment:
    """Which query carries which tag, as pairs."""

    names: list[str]  # of the tags
    rows: NDArray[np.int64]  # (n_pairs,): query `rows[i]` carries tag `tags[i]`; each pair once
    tags: NDArray[np.int64]
    n_queries: int  # tagged or not

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[str]]) -> TagAssignment:
        """Index tags given by name, one list per query; names are sorted."""
        names = sorted({name for tags in lists for name in tags})
        place = {name: i for i, name in enumerate(names)}
        counts = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        tags = (place[name] for tags in lists for name in tags)
        found = np.fromiter(tags, dtype=np.int64, count=int(counts.sum()))
        pairs = np.unique(np.repeat(np.arange(len(lists)), counts) * max(1, len(names)) + found)
        rows, places = np.divmod(pairs, max(1, len(names)))
        return cls(names, rows, places, len(lists))

    def take(self, rows: NDArray[np.int64]) -> TagAssignment:
        """Return the assignment of these queries, renumbered; every tag name is kept."""
        position = np.full(self.n_queries, -1, dtype=np.int64)
        position[rows] = np.arange(len(rows))
        kept = position[self.rows] >= 0
        return TagAssignment(self.names, position[self.rows[kept]], self.tags[kept], len(rows))

    def between(self, start: int, stop: int) -> TagAssignment:
        """Return the assignment of the queries from `start` to before `stop`, renumbered.

        Only where `rows` ascends, as `from_lists` leaves it.
        """
        first, last = np.searchsorted(self.rows, (start, stop))
        rows, tags = self.rows[first:last] - start, self.tags[first:last]
        return TagAssignment(self.names, rows, tags, stop - start)

    def by_query(self) -> list[list[int]]:
        """Tags (positions in `names`) of each query."""
        lists: list[list[int]] = [[] for _ in range(self.n_queries)]
        for row, tag in zip(self.rows.tolist(), self.tags.tolist(), strict=True):
            lists[row].append(tag)
        return lists

    def support(self) -> NDArray[np.int64]:
        """(n_tags,) number of queries that carry each tag."""
        return np.bincount(self.tags, minlength=len(self.names)).astype(np.int64)

    def sum_by_tag(self, values: NDArray[np.floating]) -> Array:
        """Sum `values` (n_queries, k) over the queries of each tag: (n_tags, k)."""
        return sum_groups(values, self.rows, self.tags, len(self.names))


@dataclass(frozen=True)
class Filled:
    """Rewards (n_queries, n_experts) without holes: observed, or what is expected.

    Variances are those of an observation around what is expected, 0 where it was observed;
    None where everything was. Soft labels need them.
    """

    rewards: NDArray[Any]
    variances: NDArray[Any] | None = None

    def take(self, rows: Any) -> Filled:
        """Return those of some rows."""
        return Filled(self.rewards[rows], None if self.variances is None else self.variances[rows])


def sum_groups(
    values: NDArray[Any], rows: NDArray[np.int64], groups: NDArray[np.int64], n_groups: int
) -> Array:
    """Sum rows of `values` by group, one column at a time: `values[rows]` may be large."""
    sums = np.zeros((n_groups, values.shape[1]))  # bincount of nothing would be whole numbers
    for place, column in enumerate(values.T):
        sums[:, place] = np.bincount(groups, weights=column[rows], minlength=n_groups)
    return sums


def normalise(rewards: NDArray[np.floating], temperature: float = 1.0) -> Array:
    """Softmax of each query's observed rewards (the paper's equation for the sample label).

    Rewards (n_queries, n_experts), NaN where not observed and at least one observed per query,
    are divided by `temperature` (the paper uses 1). Labels sum to 1 over the observed experts.
    """
    scaled = np.asarray(rewards, dtype=np.float64) / temperature
    exp = np.exp(scaled - np.nanmax(scaled, axis=1, keepdims=True))
    return np.asarray(exp / np.nansum(exp, axis=1, keepdims=True))


def harden(rewards: NDArray[np.floating]) -> Array:
    """Put the whole label on the best observed expert; ties share it. NaN where not observed."""
    best = rewards == np.nanmax(rewards, axis=1, keepdims=True)
    label = best / best.sum(axis=1, keepdims=True)
    return np.where(np.isnan(rewards), np.nan, label)


def smooth(labels: Array, tags: TagAssignment, means: Array, beta: float) -> Array:
    """Mix each query's label with the mean label of its tags (the paper's label enhancement).

    s* = beta * s + (1 - beta) * mean over the query's tags of the tag's mean label. A query
    without tags keeps its own. The `means` (n_tags, n_experts) are over exactly the queries that
    may be learned from: a fold that averages over its training rows leaks nothing.
    """
    count = np.bincount(tags.rows, minlength=tags.n_queries)[:, None]
    tag_label = sum_groups(means, tags.tags, tags.rows, tags.n_queries) / count.clip(1)
    return np.where(count > 0, beta * labels + (1 - beta) * tag_label, labels)


def soft_labels(
    filled: Filled,
    tags: TagAssignment | None,
    temperature: float,
    beta: float,
    *,
    hard: bool = False,
    dtype: Any = np.float64,
    jobs: int = 1,
) -> NDArray[Any]:
    """Turn rewards into the labels that a head learns: normalised or hard, smoothed by tag.

    The work is done block by block, so that of float64 no more than a block is held. `tags` are
    of exactly these queries, in ascending order of their rows; None smooths nothing. A `hard`
    label goes whole to the best expert, and `temperature` has no part in it.

    Returns
    -------
    (n_queries, n_experts) of `dtype`; rows sum to 1.
    """

    def own(rows: slice) -> Array:
        values = filled.rewards[rows].astype(np.float64)
        if hard:
            return harden(values)
        if filled.variances is not None:
            # A label p moves by variance / (2 t^2) p (1 - p) (1 - 2p) where its reward is drawn
            # and not its mean; a reward higher by variance / (2 t) (1 - 2p) does the same. For p
            # the uniform label stands.
            share = (1 - 2 / values.shape[1]) / (2 * temperature)
            values += share * filled.variances[rows]
        return normalise(values, temperature)

    n_queries = len(filled.rewards)
    assignment = tags if beta < 1 else None
    means = np.zeros(())
    if assignment is not None:
        within = assignment.between
        parts = in_blocks(
            lambda rows: within(rows.start, rows.stop).sum_by_tag(own(rows)), n_queries, jobs
        )
        means = sum(parts, np.zeros(())) / assignment.support()[:, None].clip(1)
    labels = np.empty(filled.rewards.shape, dtype=dtype)

    def fill(rows: slice) -> None:
        values = own(rows)
        if assignment is not None:
            tagged = assignment.between(rows.start, rows.stop)
            values = smooth(values, tagged, means, beta)
        labels[rows] = values

    for_blocks(fill, n_queries, jobs)
    return labels


def shrunk_tag_means(values: NDArray[np.floating], tags: TagAssignment, strength: float) -> Array:
    """Mean of each tag's values, shrunk towards the mean of all queries.

    (sum over the tag's queries + strength * overall mean) / (support + strength):
    the posterior mean under a prior worth `strength` queries. Values are (n_queries, n_experts)
    rewards or labels; returned are (n_tags, n_experts).
    """
    overall = values.mean(axis=0, dtype=np.float64)
    total = tags.sum_by_tag(values)
    return np.asarray((total + strength * overall) / (tags.support()[:, None] + strength))
