"""Choosing training queries so that every tag is learned from, the rare ones too."""

from __future__ import annotations

import random
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from zooter_lite.tags.vocabulary import support


def per_tag(lists: Sequence[Sequence[str]], n: int, seed: int) -> list[int]:
    """Choose queries until each tag stands at `n` of them, or at all that carry it.

    The rarest tag is served first. Among the queries that carry a tag, those that serve
    the most tags in need are preferred, a tag counting by the inverse of its support: so
    queries with several intentions and rare ones come first, as in InsTag's "complexity
    first" sampling (Lu et al. 2023, arXiv 2308.07074), and fewer queries are needed.
    Ties are broken at random under `seed`.

    Parameters
    ----------
    lists
        Tags of each query.
    n
        Queries per tag.

    Returns
    -------
    Positions of the chosen queries, in order; a query without tags is never chosen.
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
