"""Soft labels from rewards, smoothed by tag (Lu et al. 2023, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TagAssignment:
    """Which query carries which tag, as pairs.

    Attributes
    ----------
    names
        Tag names, length n_tags.
    rows, tags
        (n_pairs,) int64: query `rows[i]` carries tag `tags[i]`; each pair once.
    n_queries
        Number of queries, tagged or not.
    """

    names: list[str]
    rows: NDArray[np.int64]
    tags: NDArray[np.int64]
    n_queries: int

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

    def sum_by_tag(self, values: Array) -> Array:
        """Sum `values` (n_queries, k) over the queries of each tag: (n_tags, k)."""
        return _sum_groups(values, self.rows, self.tags, len(self.names))

    def sum_by_query(self, values: Array) -> Array:
        """Sum `values` (n_tags, k) over the tags of each query: (n_queries, k)."""
        return _sum_groups(values, self.tags, self.rows, self.n_queries)


def _sum_groups(
    values: Array, rows: NDArray[np.int64], groups: NDArray[np.int64], n_groups: int
) -> Array:
    """Sum rows of `values` by group, one column at a time: `values[rows]` may be large."""
    sums = np.zeros((n_groups, values.shape[1]))  # bincount of nothing would be whole numbers
    for place, column in enumerate(values.T):
        sums[:, place] = np.bincount(groups, weights=column[rows], minlength=n_groups)
    return sums


def normalise(rewards: NDArray[np.floating], temperature: float = 1.0) -> Array:
    """Softmax of each query's observed rewards (the paper's equation for the sample label).

    Parameters
    ----------
    rewards
        (n_queries, n_experts), NaN where not observed; at least one observed per query.
    temperature
        Rewards are divided by it; the paper uses 1.

    Returns
    -------
    (n_queries, n_experts) float64: sums to 1 over the observed experts, NaN elsewhere.

    Examples
    --------
    >>> normalise(np.array([[0.0, np.log(3.0), np.nan]]))
    array([[0.25, 0.75,  nan]])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    scaled = np.asarray(rewards, dtype=np.float64) / temperature
    exp = np.exp(scaled - np.nanmax(scaled, axis=1, keepdims=True))
    return np.asarray(exp / np.nansum(exp, axis=1, keepdims=True))


def harden(rewards: NDArray[np.floating]) -> Array:
    """Put the whole label on the best observed expert; ties share it. NaN where not observed."""
    best = rewards == np.nanmax(rewards, axis=1, keepdims=True)
    label = best / best.sum(axis=1, keepdims=True)
    return np.where(np.isnan(rewards), np.nan, label)


def smooth(labels: Array, tags: TagAssignment, beta: float) -> Array:
    """Mix each query's label with the mean label of its tags.

    s* = beta * s + (1 - beta) * mean over the query's tags of the tag's mean label
    (the paper's tag-based label enhancement). beta = 1 keeps the sample labels. A
    query without tags keeps its own. A tag's mean is taken over exactly the queries
    passed in, so a fold that passes only its training rows leaks nothing.

    Where experts are missing, means run over the queries that observed the expert
    and at least one other (a label over one expert is 1 whatever its reward), and a
    query's tag label is rescaled to sum to 1 over the experts it observed.

    Parameters
    ----------
    labels
        (n_queries, n_experts) from `normalise`, NaN where not observed.
    tags
        The tags of the same queries.
    beta
        Share of the sample label, in [0, 1].

    Returns
    -------
    (n_queries, n_experts) float64, NaN where `labels` is.
    """
    total, count = label_sums(labels, tags)
    return mix(labels, tags, label_means(total, count), beta)


def label_sums(labels: Array, tags: TagAssignment) -> tuple[Array, Array]:
    """(n_tags, n_experts) sum of each tag's labels, and the number of labels in it."""
    observed = ~np.isnan(labels)
    telling = observed & (observed.sum(axis=1, keepdims=True) > 1)
    total = tags.sum_by_tag(np.where(telling, labels, 0.0))
    return total, tags.sum_by_tag(telling.astype(np.float64))


def label_means(total: Array, count: Array) -> Array:
    """(n_tags, n_experts) mean label of each tag; 0 where nothing was counted."""
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def mix(labels: Array, tags: TagAssignment, tag_means: Array, beta: float) -> Array:
    """Mix each query's label with those of its tags, as `smooth` describes."""
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must lie in [0, 1], not {beta}")
    observed = ~np.isnan(labels)
    tag_label = np.where(observed, tags.sum_by_query(tag_means), 0.0)
    mass = tag_label.sum(axis=1, keepdims=True)
    tagged = mass[:, 0] > 0
    mixed = labels.copy()
    mixed[tagged] = (
        beta * labels[tagged] + (1 - beta) * (tag_label / np.where(mass, mass, 1))[tagged]
    )
    return np.where(observed, mixed, np.nan)


def shrunk_tag_means(values: NDArray[np.floating], tags: TagAssignment, strength: float) -> Array:
    """Mean of each tag's values, shrunk towards the mean of all queries.

    (sum over the tag's queries + strength * overall mean) / (support + strength):
    the posterior mean under a prior worth `strength` queries.

    Parameters
    ----------
    values
        (n_queries, n_experts), rewards or labels, NaN where not observed.
    tags
        The tags of the same queries.
    strength
        Pseudo-count, in queries.

    Returns
    -------
    (n_tags, n_experts) float64; 0 for an expert that was never observed.
    """
    observed = ~np.isnan(values)
    overall = np.nansum(values, axis=0) / observed.sum(axis=0).clip(1)
    total = tags.sum_by_tag(np.where(observed, values, 0.0))
    count = tags.sum_by_tag(observed.astype(np.float64))
    return np.asarray((total + strength * overall) / (count + strength))
