"""Choosing queries: those to learn from, so many per tag, and those to ask a new expert."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.vocabulary import support

FLOOR = 0.05  # added to the deviation: where all experts earn the same, a new one may not


def per_tag(lists: Sequence[Sequence[str]], n: int, seed: int) -> list[int]:
    """Choose queries until each tag stands at `n` of them, or at all that carry it.

    The rarest tag is served first. Among the queries that carry a tag, those that serve
    the most tags in need are preferred, a tag counting by the inverse of its support: so
    queries with several intentions and rare ones come first, as in InsTag's "complexity
    first" sampling (Lu et al. 2023, arXiv 2308.07074), and fewer queries are needed.
    Ties are broken at random under `seed`. Returned are positions, in order.
    """
    counts = support(lists)
    tags_of = [list(dict.fromkeys(tags)) for tags in lists]
    order = list(range(len(lists)))
    random.Random(seed).shuffle(order)
    carriers: dict[str, list[int]] = {tag: [] for tag in counts}
    for place in order:
        for tag in tags_of[place]:
            carriers[tag].append(place)
    needed = dict.fromkeys(counts, n)
    chosen: set[int] = set()

    def need(place: int) -> float:
        return -sum(1.0 / counts[tag] for tag in tags_of[place] if needed[tag] > 0)

    for tag in sorted(counts, key=lambda tag: (counts[tag], tag)):
        left = [place for place in carriers[tag] if place not in chosen]
        heap = [(need(place), rank, place) for rank, place in enumerate(left)]
        heapify(heap)
        while needed[tag] > 0 and heap:
            _, rank, place = heappop(heap)
            now = (need(place), rank, place)  # worth less than before, if anything
            if heap and heap[0] < now:
                heappush(heap, now)
                continue
            chosen.add(place)
            for other in tags_of[place]:
                needed[other] -= 1
    return sorted(chosen)


def plan_rows(table: RewardTable, rows: NDArray[np.int64], count: int, seed: int) -> list[int]:
    """Choose the rows of a table to ask a new expert, in the order to ask them.

    Whatever their number, each subset has the share of them that the standard deviations of
    its queries' rewards have (Neyman 1934): where all experts earn the same, a new one mostly
    earns it too. Within it each tag has the share of its queries (a query counts for the
    commonest of its tags), which are drawn at random: so what is measured on them holds for
    the others of the subset.
    """
    with np.errstate(all="ignore"):
        spread = np.nan_to_num(np.nanstd(table.rewards[rows].astype(np.float64), axis=1))
    tags = table.tags or [[]] * len(table)
    counts = Counter(tag for row in rows.tolist() for tag in tags[row])
    subset = _numbers([table.subsets[row] for row in rows.tolist()])
    tag = _numbers(
        [max(tags[row], key=lambda tag: (counts[tag], tag), default="") for row in rows.tolist()]
    )
    weight = (np.bincount(subset, weights=spread + FLOOR) / np.bincount(subset))[subset]
    group = subset * (tag.max() + 1) + tag
    share = np.bincount(group, weights=weight) / weight.sum()
    met = np.zeros(len(share))
    turn = np.empty(len(rows))
    for place in np.random.default_rng(seed).permutation(len(rows)).tolist():
        met[group[place]] += 1
        turn[place] = (met[group[place]] - 0.5) / share[group[place]]
    return [int(row) for row in rows[np.argsort(turn, kind="stable")[:count]]]


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """(n,) number of each name, from 0 in the order in which they come."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.asarray([places[name] for name in names])
