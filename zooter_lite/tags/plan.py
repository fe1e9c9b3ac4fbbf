"""Which queries to ask a new expert: spread over subsets and tags, the most telling first."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from zooter_lite.table.reward_table import RewardTable

FLOOR = 0.05  # of a query's weight: on which all experts earn the same, a new one may not


def plan_rows(table: RewardTable, rows: NDArray[np.int64], count: int, seed: int) -> list[int]:
    """Choose the rows of a table on which a new expert tells most, in the order to ask them.

    Queries are drawn without replacement with the standard deviation of their rewards for a
    weight (Efraimidis and Spirakis 2006): where all experts earn the same, a new one mostly
    earns it too. Whatever their number, each subset has its share of the weight, and within
    it each tag (a query counts for the commonest of its tags).

    Parameters
    ----------
    rows
        The rows to choose from.
    count
        Number of rows; all of them where there are no more.
    seed
        Of the draw.
    """
    with np.errstate(all="ignore"):
        spread = np.nan_to_num(np.nanstd(table.rewards[rows].astype(np.float64), axis=1))
    weight = spread + FLOOR
    keys = np.random.default_rng(seed).exponential(size=len(rows)) / weight
    tags = table.tags or [[]] * len(table)
    support = Counter(tag for row in rows.tolist() for tag in tags[row])
    groups = [
        (table.subsets[row], max(tags[row], key=lambda tag: (support[tag], tag), default=""))
        for row in rows.tolist()
    ]
    names = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    group = np.asarray([names[name] for name in groups])
    share = np.bincount(group, weights=weight) / weight.sum()
    met = np.zeros(len(names))
    turn = np.empty(len(rows))
    for place in np.argsort(keys, kind="stable").tolist():
        met[group[place]] += 1
        turn[place] = (met[group[place]] - 0.5) / share[group[place]]
    return [int(row) for row in rows[np.argsort(turn, kind="stable")[:count]]]
