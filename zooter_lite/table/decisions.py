"""A log of routed prompts as a reward table: its decisions, and the rewards that came later.

A decision is a line of a journal, as exports/litellm writes it:

    {"request": "r1", "query": "...", "expert": "small", "propensity": 0.95,
     "chances": {"small": 0.95, "large": 0.05}, ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zooter_lite.errors import DataError
from zooter_lite.files.journal import read_journal
from zooter_lite.files.rows import no_column
from zooter_lite.table.columns import Column, Columns
from zooter_lite.table.keys import id_of
from zooter_lite.table.reward_table import RewardTable, build_table
from zooter_lite.table.storage import read_columns

_NEEDED: dict[str, Any] = dict.fromkeys(("request", "query", "expert"), str)
_NEEDED |= {"propensity": (int, float), "chances": dict}
_EARNED = ("reward", "cost")


@dataclass(frozen=True)
class LoggedTable:
    """A reward table of a log, and how many of its requests and rewards were left out."""

    table: RewardTable  # a row for each request with a reward, which stands at its expert
    unrewarded: int  # requests without a reward
    empty: int  # requests whose query has no text
    unknown: int  # rewards of requests that are not in the journal


def logged_table(journal: str, rewards: str, separator: str = "") -> LoggedTable:
    """Join the decisions of a journal with their rewards.

    `journal` is a file of decisions, or a pattern of several. Of a request's lines the last
    counts: its earlier attempts failed. `rewards` is a file with the columns request and reward,
    perhaps cost. Of a request's rows with a reward the last counts.
    """
    decisions = _decisions(journal)
    earned = _earned(rewards, separator)
    known = [request for request in decisions if request in earned]
    kept = [request for request in known if decisions[request]["query"].strip()]
    if not kept:
        raise DataError(
            f"{rewards}: no reward of any of the {len(decisions)} requests in {journal}; "
            "expected the journal's values of 'request'"
        )
    lines = [decisions[request] for request in kept]
    columns: dict[str, Column] = {"query_id": kept, "query": [line["query"] for line in lines]}
    columns["propensity"] = [line["propensity"] for line in lines]
    experts = list(dict.fromkeys(name for line in decisions.values() for name in line["chances"]))
    chosen = np.asarray([experts.index(line["expert"]) for line in lines])
    for name, values in zip(
        _EARNED, np.asarray([earned[request] for request in kept]).T, strict=True
    ):
        if not np.isnan(values).all():
            for place, expert in enumerate(experts):
                columns[f"{name}:{expert}"] = np.where(chosen == place, values, np.nan)
    located = Columns(
        journal, columns, list(columns), lambda row: f"{journal}, request {kept[row]!r}"
    )
    return LoggedTable(
        build_table(located),
        unrewarded=len(decisions) - len(known),
        empty=len(known) - len(kept),
        unknown=len(earned) - len(known),
    )


def _decisions(journal: str) -> dict[str, Mapping[str, Any]]:
    """Last line of each request, by the request."""
    path = Path(journal)
    files = [path] if path.is_file() else sorted(path.parent.glob(path.name))
    if not files:
        raise DataError(f"{journal}: no such file")
    lines: dict[str, Mapping[str, Any]] = {}
    for file in files:
        for number, line in enumerate(read_journal(file), 1):
            wrong = [name for name, kind in _NEEDED.items() if not isinstance(line.get(name), kind)]
            if wrong or line["expert"] not in line["chances"]:
                name = wrong[0] if wrong else "expert"
                raise DataError(
                    f"{file}, line {number}, {name!r}: found {line.get(name)!r}; expected a "
                    "decision as exports/litellm writes it, with its expert among its 'chances'"
                )
            lines[id_of(line["request"])] = line
    if not lines:
        raise DataError(f"{journal}: no decision")
    return lines


def _earned(source: str, separator: str) -> dict[str, list[float]]:
    """Reward and cost (NaN where there is none) of each request that has a reward."""
    used = ("request", *_EARNED)
    columns = read_columns(source, lambda names: [n for n in names if n in used], separator)
    for name in used[:2]:
        if name not in columns.cells:
            raise no_column(source, name, columns.names)
    values = np.full((len(columns), len(_EARNED)), np.nan)
    for place, name in enumerate(_EARNED):
        if name in columns.cells:
            values[:, place] = columns.numbers(name)
    rows = zip(columns.cells["request"], values.tolist(), strict=True)
    return {id_of(request): pair for request, pair in rows if not np.isnan(pair[0])}
