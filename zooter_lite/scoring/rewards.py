"""From a journal of responses to the items to score, and from scores to a reward table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.responses import SETTINGS
from zooter_lite.errors import DataError
from zooter_lite.files.journal import read_journal
from zooter_lite.scoring.scorer import Item
from zooter_lite.table.checks import tags_of
from zooter_lite.table.queries import Queries
from zooter_lite.table.reward_table import RewardTable

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Responses:
    """What the experts said.

    Attributes
    ----------
    query_ids, queries, rows
        The queries that have a response or a failure, and their other columns.
    experts
        In the order of the collection's settings, others after them by name.
    items
        The responses, query by query in the order above, expert by expert.
    places
        (n_items, 2) position of the query and of the expert of each item.
    costs
        (n_queries, n_experts), NaN where there is no response; None where all are 0.
    failed
        Pairs of query and expert whose last record is an error.
    left_out
        Queries of the journal that the file of queries does not have.
    """

    query_ids: list[str]
    queries: list[str]
    rows: list[Mapping[str, Any]]
    experts: list[str]
    items: list[Item]
    places: NDArray[np.int64]
    costs: FloatArray | None
    failed: int
    left_out: int

    def matrix(self, values: FloatArray) -> FloatArray:
        """Spread (n_items,) over (n_queries, n_experts), NaN where there is no item."""
        matrix = np.full((len(self.queries), len(self.experts)), np.nan)
        matrix[self.places[:, 0], self.places[:, 1]] = values
        return matrix


def read_responses(path: Path, queries: Queries | None = None) -> Responses:
    """Read a journal of responses; the last response of a pair counts, else its failure.

    Parameters
    ----------
    queries
        Gives the order, and the other columns; without it queries stand by their id.

    Raises
    ------
    DataError
        The journal is missing or damaged, has another text under an id, or no response.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the journal that collect writes")
    texts: dict[str, str] = {}
    answers: dict[tuple[str, str], tuple[str | None, float]] = {}
    for record in read_journal(path):
        try:
            pair = (str(record["query_id"]), str(record["expert"]))
            text = str(record["query"])
            said = None if "error" in record else str(record["response"])
            cost = float(record.get("cost", 0.0))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: a record is not one of a response ({error!r})") from error
        if texts.setdefault(pair[0], text) != text:
            raise DataError(f"{path}: query_id {pair[0]!r} stands there for two queries")
        if said is not None or answers.get(pair, (None, 0.0))[0] is None:
            answers[pair] = (said, cost)
    if queries is None:
        names = sorted(texts)
        rows: list[Mapping[str, Any]] = [{} for _ in names]
    else:
        for name, text in zip(queries.ids, queries.texts, strict=True):
            if texts.get(name, text) != text:
                raise DataError(f"{path}: query_id {name!r} stands there for another query")
        chosen = [place for place, name in enumerate(queries.ids) if name in texts]
        names = [queries.ids[place] for place in chosen]
        rows = [queries.rows[place] for place in chosen]
    kept = set(names)
    answers = {pair: answer for pair, answer in answers.items() if pair[0] in kept}
    experts = _in_order({expert for _, expert in answers}, path.parent / SETTINGS)
    found = _items(names, texts, rows, experts, answers)
    if not found[0]:
        raise DataError(f"{path}: no response to any of the queries")
    failed = sum(said is None for said, _ in answers.values())
    queried = [texts[name] for name in names]
    return Responses(names, queried, rows, experts, *found, failed, len(texts) - len(names))


def _items(
    names: Sequence[str],
    texts: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    experts: Sequence[str],
    answers: Mapping[tuple[str, str], tuple[str | None, float]],
) -> tuple[list[Item], NDArray[np.int64], FloatArray | None]:
    items, places = [], []
    costs = np.full((len(names), len(experts)), np.nan)
    for row, name in enumerate(names):
        for column, expert in enumerate(experts):
            said, cost = answers.get((name, expert), (None, 0.0))
            if said is not None:
                items.append(Item(name, texts[name], expert, said, rows[row]))
                places.append((row, column))
                costs[row, column] = cost
    priced = bool(np.nansum(costs))
    return items, np.array(places, np.int64).reshape(-1, 2), costs if priced else None


def _in_order(experts: set[str], settings: Path) -> list[str]:
    try:
        order = list(json.loads(settings.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        order = []
    return [name for name in order if name in experts] + sorted(experts - set(order))


def standardise(values: FloatArray) -> FloatArray:
    """Subtract the mean of the observed values and divide by their standard deviation.

    Values that do not vary become 0; NaN stays. One mean and one deviation serve all
    queries, so the order and the relative distances of a scorer's rewards stay.
    """
    seen = values[~np.isnan(values)]
    spread = float(seen.std()) if len(seen) else 0.0
    return np.asarray((values - (seen.mean() if len(seen) else 0.0)) / (spread or 1.0))


def combine(scores: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """Return the weighted mean of standardised scores, (n_items,) as each of `scores`.

    Standardised, a weight says how much of the spread of the rewards a scorer decides,
    whatever its unit (0 or 1, 1 to 10, a logit). Where a scorer cannot say, the others'
    weights count alone; NaN where none can. One scorer alone is returned as it is.

    >>> combine([np.array([0.0, 1.0]), np.array([2.0, 6.0])], [3, 1])
    array([-1.,  1.])
    """
    if len(scores) == 1:
        return scores[0]
    stacked = np.stack([standardise(values) for values in scores])
    shares = np.where(np.isnan(stacked), 0.0, np.asarray(weights, np.float64)[:, None])
    total = shares.sum(axis=0)
    summed = (shares * np.nan_to_num(stacked)).sum(axis=0)
    return np.asarray(np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan))


def reward_table(
    responses: Responses, rewards: FloatArray
) -> tuple[RewardTable, NDArray[np.int64]]:
    """Make the reward table; queries and experts without any reward are left out.

    Parameters
    ----------
    rewards
        (n_items,), NaN where not observed.

    Returns
    -------
    The table, and the positions of its rows among `responses.queries`.

    Raises
    ------
    DataError
        There are fewer than two experts with a reward, or no reward at all.
    """
    matrix = responses.matrix(rewards)
    rewarded = np.flatnonzero(~np.isnan(matrix).all(axis=0)).tolist()
    experts = [responses.experts[place] for place in rewarded]
    if len(experts) < 2:
        raise DataError(
            f"rewards of {len(experts)} experts ({', '.join(experts) or 'none'}); "
            "a reward table needs two at least"
        )
    said: list[list[str | None]] = [[None] * len(responses.experts) for _ in responses.queries]
    for item, (row, column) in zip(responses.items, responses.places.tolist(), strict=True):
        said[row][column] = item.response
    rows = responses.rows
    columns = {name for row in rows for name in row}
    costs = responses.costs
    table = RewardTable(
        queries=responses.queries,
        experts=experts,
        rewards=matrix[:, rewarded].astype(np.float32),
        subsets=[str(row.get("subset") or "(none)") for row in rows]
        if "subset" in columns
        else ["all"] * len(rows),
        splits=_splits(responses) if "split" in columns else None,
        tags=[tags_of(row.get("tags")) for row in rows] if "tags" in columns else None,
        costs=None if costs is None else costs[:, rewarded].astype(np.float32),
        responses=[[texts[place] for place in rewarded] for texts in said],
        query_ids=responses.query_ids,
    )
    kept = np.flatnonzero(~np.isnan(matrix).all(axis=1))
    return table.take(kept), kept


def _splits(responses: Responses) -> list[str]:
    splits = [row.get("split") for row in responses.rows]
    for name, split in zip(responses.query_ids, splits, strict=True):
        if not isinstance(split, str) or not split.strip():
            raise DataError(f"query {name!r}: split is {split!r}, expected a text such as train")
    return [str(split) for split in splits]
