"""Experts come and go: a reward table with experts renamed, left out and added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.rows import listed
from zooter_lite.table.keys import query_hashes
from zooter_lite.table.reward_table import RewardTable


def renamed(table: RewardTable, names: Mapping[str, str]) -> RewardTable:
    """Return the table with other names for some experts; `names` gives the new by the old."""
    _check_known(table, list(names), "--rename")
    experts = [names.get(expert, expert) for expert in table.experts]
    twice = sorted(expert for expert in set(experts) if experts.count(expert) > 1)
    if twice:
        raise DataError(f"--rename: two experts would be named {twice[0]!r}")
    return replace(table, experts=experts)


def without(table: RewardTable, names: Sequence[str]) -> tuple[RewardTable, list[str]]:
    """Return the table without some experts, and what is to be said of it.

    Queries that only they answered are left out. DataError where fewer than two are left.
    """
    _check_known(table, names, "--without")
    kept = [place for place, expert in enumerate(table.experts) if expert not in names]
    if len(kept) < 2:
        raise DataError(f"--without: {len(kept)} experts would be left; expected at least two")
    table = _picked(table, kept)
    rows = np.flatnonzero(~np.isnan(table.rewards).all(axis=1))
    if len(rows) == len(table):
        return table, []
    note = f"{len(table) - len(rows)} queries were answered by no other expert and are left out"
    return table.take(rows), [note]


def added(table: RewardTable, more: RewardTable, source: str) -> tuple[RewardTable, list[str]]:
    """Return the table with the rewards and costs of another, and what is to be said of it.

    Rows are joined by the text of the query, white space folded, or else by query_id. An
    expert that both have gets the rewards that it lacks; messages call the other `source`.
    DataError where no query is common, or a reward differs from the table's.
    """
    rows, others = _pairs(table, more)
    matched = len(np.unique(others))
    if not matched:
        raise DataError(f"{source}: none of its {len(more)} queries stands in the table")
    experts = table.experts + [name for name in more.experts if name not in table.experts]
    blank = np.full((len(table), len(experts) - len(table.experts)), np.nan, dtype=np.float32)
    rewards = np.hstack([table.rewards, blank])
    places = np.ix_(rows, np.asarray([experts.index(name) for name in more.experts]))
    told, known = more.rewards[others], rewards[places]
    differ = np.argwhere(~np.isnan(told) & ~np.isnan(known) & (told != known))
    if len(differ):
        at = tuple(differ[0])
        raise DataError(
            f"{source}: query {more.query_ids[others[at[0]]]!r} gives {more.experts[at[1]]!r} "
            f"{told[at]:g}, but the table has {known[at]:g}; expected a reward that it lacks"
        )
    rewards[places] = np.where(np.isnan(told), known, told)
    costs = np.full_like(rewards, np.nan)
    if table.costs is not None:
        costs[:, : len(table.experts)] = table.costs
    if more.costs is not None:
        spent = more.costs[others]
        costs[places] = np.where(np.isnan(spent), costs[places], spent)
    counts = zip(more.experts, (~np.isnan(told)).sum(axis=0).tolist(), strict=True)
    notes = [f"{source}: added " + ", ".join(f"{name} ({n} queries)" for name, n in counts)]
    if matched < len(more):
        notes.append(f"{source}: {len(more) - matched} of {len(more)} rows match no query")
    chances = table.propensities
    if chances is not None:  # of rows with one reward
        chances = np.where((~np.isnan(rewards)).sum(axis=1) == 1, chances, np.nan)
    unsaid: list[str | None] = [None] * blank.shape[1]
    return replace(
        table,
        experts=experts,
        rewards=rewards,
        costs=None if table.costs is None and more.costs is None else costs,
        responses=table.responses and [[*row, *unsaid] for row in table.responses],
        scores={} if unsaid else table.scores,
        propensities=chances,
    ), notes


def in_router_order(table: RewardTable, experts: Sequence[str], source: str) -> RewardTable:
    """Return the table with the router's experts, in its order.

    DataError where one of them, or a row, has no rewards.
    """
    missing = [expert for expert in experts if expert not in table.experts]
    if missing:
        raise DataError(
            f"{source}: no column 'reward:{missing[0]}'; the router chooses among "
            + ", ".join(repr(expert) for expert in experts)
            + " (--data names another table)"
        )
    table = _picked(table, [table.experts.index(expert) for expert in experts])
    empty = np.flatnonzero(np.isnan(table.rewards).all(axis=1))
    if len(empty):
        raise DataError(
            f"{source}: query {table.query_ids[int(empty[0])]!r} has no reward for any expert "
            "of the router"
        )
    return table


def _picked(table: RewardTable, places: Sequence[int]) -> RewardTable:
    """Return the table with the experts at these places, in the given order."""
    return replace(
        table,
        experts=[table.experts[place] for place in places],
        rewards=table.rewards[:, places],
        costs=None if table.costs is None else table.costs[:, places],
        responses=table.responses and [[row[place] for place in places] for row in table.responses],
        scores={scorer: values[:, places] for scorer, values in table.scores.items()},
    )


def _check_known(table: RewardTable, names: Sequence[str], option: str) -> None:
    for name in names:
        if name not in table.experts:
            raise DataError(f"{option} {name!r}: the table has {listed(table.experts)}")


def _pairs(table: RewardTable, more: RewardTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the two tables, (k,) each, that are of one query: by its text, or else by its id."""
    places: dict[object, list[int]] = {}
    for one in (query_hashes(table.queries).tolist(), table.query_ids if _named(table) else ()):
        for row, key in enumerate(one):
            places.setdefault(key, []).append(row)
    keys = zip(query_hashes(more.queries).tolist(), more.query_ids, strict=True)
    by_id = _named(more)
    pairs = [
        (place, row)
        for row, (key, name) in enumerate(keys)
        for place in places.get(key if key in places or not by_id else name, ())
    ]
    rows, others = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    return rows, others


def _named(table: RewardTable) -> bool:
    """Whether the rows have names of their own, other than their positions."""
    return table.query_ids != [str(row) for row in range(len(table))]
