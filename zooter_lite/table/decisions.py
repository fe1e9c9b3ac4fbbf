"""A log of routed prompts as a reward table: its decisions, and the rewards that came later.

A decision is a line of a journal, as exports/litellm writes it:

    {"request": "r1", "query": "...", "expert": "small", "propensity": 0.95,
     "chances": {"small": 0.95, "large": 0.05}, ...}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zooter_lite.errors import DataError
from zooter_lite.files.journal import read_journal
from zooter_lite.files.rows import no_column
from zooter_lite.table import cells
from zooter_lite.table.columns import Column, Columns
from zooter_lite.table.keys import id_of
from zooter_lite.table.reward_table import RewardTable, build_table
from zooter_lite.table.storage import read_columns

_NEEDED = {"request": str, "query": str, "expert": str, "propensity": float, "chances": dict}


@dataclass(frozen=True)
class LoggedTable:
    """A reward table of a log, and what became of its lines.

    Attributes
    ----------
    table
        A row for each request with a reward, which stands at the expert that answered; its
        `propensities` are the chances of the choices.
    unrewarded
        Requests that were left out because they have no reward.
    empty
        Requests that were left out because their query has no text.
    unknown
        Rewards of requests that are not in the journal.
    """

    table: RewardTable
    unrewarded: int
    empty: int
    unknown: int


def logged_table(journal: str, rewards: str, separator: str = "") -> LoggedTable:
    """Join the decisions of a journal with their rewards.

    Parameters
    ----------
    journal
        A file of decisions, or a pattern of several. Of a request's lines the last counts:
        its earlier attempts failed.
    rewards
        A file with the columns request and reward, perhaps cost. Of a request's rows with a
        reward the last counts.
    separator
        Between the cells of CSV; empty where the file tells.

    Raises
    ------
    DataError
        A file cannot be read, a line is no decision, or no request has a reward.
    """
    decisions = _decisions(journal)
    earned = _earned(rewards, separator)
    experts = list(dict.fromkeys(name for line in decisions.values() for name in line["chances"]))
    known = [request for request in decisions if request in earned]
    kept = [request for request in known if decisions[request]["query"].strip()]
    if not kept:
        raise DataError(
            f"{rewards}: no reward of any of the {len(decisions)} requests in {journal}; "
            "expected the journal's values of 'request'"
        )
    columns: dict[str, Column] = {
        "query_id": kept,
        "query": [decisions[request]["query"] for request in kept],
        "propensity": np.asarray([decisions[request]["propensity"] for request in kept]),
    }
    chosen = [decisions[request]["expert"] for request in kept]
    for place, name in enumerate(("reward", "cost")):
        values = [earned[request][place] for request in kept]
        if not np.isnan(values).all():
            for expert in experts:
                columns[f"{name}:{expert}"] = np.asarray(
                    [
                        value if expert == own else np.nan
                        for value, own in zip(values, chosen, strict=True)
                    ]
                )
    table = build_table(
        Columns(journal, columns, list(columns), lambda row: f"{journal}, request {kept[row]!r}")
    )
    return LoggedTable(
        table,
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
            for name, kind in _NEEDED.items():
                value = line.get(name)
                if not isinstance(value, (int, float) if kind is float else kind):
                    raise DataError(
                        f"{file}, line {number}, {name!r}: found {value!r}; expected a decision as "
                        "exports/litellm writes it"
                    )
            if line["expert"] not in line["chances"]:
                raise DataError(
                    f"{file}, line {number}: {line['expert']!r} is not among its 'chances'"
                )
            request = id_of(line["request"])
            lines.pop(request, None)
            lines[request] = line
    if not lines:
        raise DataError(f"{journal}: no decision")
    return lines


def _earned(source: str, separator: str) -> dict[str, tuple[float, float]]:
    """Reward and cost (NaN where there is none) of each request that has a reward."""
    columns = read_columns(
        source,
        lambda names: [name for name in names if name in ("request", "reward", "cost")],
        separator,
    )
    for name in ("request", "reward"):
        if name not in columns.cells:
            raise no_column(source, name, columns.names)
    values = [
        cells.numbers(name, columns.cells[name], columns.where)
        if name in columns.cells
        else np.full(len(columns), np.nan)
        for name in ("reward", "cost")
    ]
    requests: Sequence[object] = columns.cells["request"]  # type: ignore[assignment]
    rows = zip(requests, *(part.tolist() for part in values), strict=True)
    return {id_of(one): (reward, cost) for one, reward, cost in rows if reward == reward}
