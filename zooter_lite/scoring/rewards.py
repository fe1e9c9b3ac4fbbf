"""From a journal of responses to the items to score, and from their scores to a reward table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.known import Known, Record
from zooter_lite.ask.responses import SETTINGS
from zooter_lite.ask.texts import spoken
from zooter_lite.errors import DataError
from zooter_lite.scoring.scorer import Item
from zooter_lite.table.columns import Columns
from zooter_lite.table.keys import id_of
from zooter_lite.table.queries import Queries
from zooter_lite.table.reward_table import RewardTable, build_table

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Responses:
    """What the experts said."""

    queries: Queries  # those that have a response or a failure, with their other columns
    experts: list[str]  # in the order of the collection's settings, others after them by name
    items: list[Item]  # the responses, query by query, expert by expert
    places: NDArray[np.int64]  # (n_items, 2) position of the query and of the expert of each
    costs: FloatArray  # (n_items,) of each response
    cut: int  # responses that a server ended early, such as at max_tokens
    failed: int  # pairs of query and expert without response whose last record is an error
    left_out: int  # queries of the journal that the file of queries does not have

    def matrix(self, values: FloatArray) -> FloatArray:
        """Spread (n_items,) over (n_queries, n_experts), NaN where there is no item."""
        matrix = np.full((len(self.queries), len(self.experts)), np.nan)
        matrix[self.places[:, 0], self.places[:, 1]] = values
        return matrix


def read_responses(path: Path, queries: Queries | None = None) -> Responses:
    """Read a journal of responses; the last response of a pair counts, else its failure.

    A response is what an expert said after its thinking. `queries` gives the order, and the
    other columns; without it queries stand by their id.

    Raises
    ------
    DataError
        The journal is missing or damaged, has another text under an id, or no response.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the journal that collect writes")
    texts: dict[str, str] = {}

    def pair(record: Record) -> tuple[str, str]:
        name, text = id_of(record["query_id"]), str(record["query"])
        if texts.setdefault(name, text) != text:
            raise DataError(f"{path}: query_id {name!r} stands there for two queries")
        return name, str(record["expert"])

    def answer(record: Record) -> tuple[str, float, bool]:
        return spoken(str(record["response"])), float(record.get("cost", 0.0)), "cut" in record

    known = Known(path, "response", pair, answer)
    if queries is None:
        names = sorted(texts)
        queries = Queries(names, [texts[name] for name in names], [{} for _ in names])
    for name, text in zip(queries.ids, queries.texts, strict=True):
        if texts.get(name, text) != text:
            raise DataError(f"{path}: query_id {name!r} stands there for another query")
    asked = queries.take([place for place, name in enumerate(queries.ids) if name in texts])
    kept = set(asked.ids)
    met = [key for key in (*known.answers, *known.failed) if key[0] in kept]
    experts = _in_order({expert for _, expert in met}, path.parent / SETTINGS)
    items, places, costs, n_cut = [], [], [], 0
    for row, (name, text) in enumerate(zip(asked.ids, asked.texts, strict=True)):
        for column, expert in enumerate(experts):
            if (name, expert) in known.answers:
                said, cost, cut = known.answers[name, expert]
                n_cut += cut
                items.append(Item(name, text, expert, said, asked.rows[row]))
                places.append((row, column))
                costs.append(cost)
    if not items:
        raise DataError(f"{path}: no response to any of the queries")
    failed, left_out = len(met) - len(items), len(texts) - len(asked)
    pairs = np.array(places), np.array(costs)
    return Responses(asked, experts, items, *pairs, n_cut, failed, left_out)


def _in_order(experts: set[str], settings: Path) -> list[str]:
    try:
        order = list(json.loads(settings.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        order = []
    return [name for name in order if name in experts] + sorted(experts - set(order))


def combine(scores: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """Return the weighted mean of standardised scores, (n_items,) as each of `scores`.

    One mean and one deviation serve all queries, so the order and the relative distances of a
    scorer's rewards stay; values that do not vary become 0. So a weight says how much of the
    spread of the rewards a scorer decides, whatever its unit (0 or 1, 1 to 10, a logit). Where
    a scorer cannot say, the others' weights count alone; NaN where none can. One scorer alone
    is returned as it is.

    >>> combine([np.array([0.0, 1.0]), np.array([2.0, 6.0])], [3, 1])
    array([-1.,  1.])
    """
    if len(scores) == 1:
        return scores[0]
    standardised = []
    for values in scores:
        seen = values[~np.isnan(values)]
        shifted = (values - seen.mean()) / (seen.std() or 1.0) if len(seen) else values
        standardised.append(shifted)
    stacked = np.stack(standardised)
    shares = np.where(np.isnan(stacked), 0.0, np.asarray(weights, np.float64)[:, None])
    total = shares.sum(axis=0)
    summed = (shares * np.nan_to_num(stacked)).sum(axis=0)
    return np.asarray(np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan))


@dataclass(frozen=True)
class Agreement:
    """Agreement of two scorers on the responses that both scored; NaN where nothing varies.

    `kendall` is the mean rank correlation (Kendall's tau-b) within the `queries` on which both
    tell experts apart; `same_best` is how often both pick the same expert, over queries with
    two responses or more, where each picks among its best ones at random.
    """

    responses: int
    queries: int
    kendall: float
    same_best: float

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.responses} responses, Kendall {self.kendall:.3f} within queries "
            f"({self.queries} where both tell experts apart), same best expert {self.same_best:.1%}"
        )


def agreement(first: FloatArray, second: FloatArray) -> Agreement:
    """Compare two scorers' (n_queries, n_experts) scores, NaN where there is none."""
    both = ~np.isnan(first) & ~np.isnan(second)
    # tau-b is the correlation of the signs of all differences
    left, right = _signs(first, both), _signs(second, both)
    norms = np.sqrt((left**2).sum(axis=(1, 2)) * (right**2).sum(axis=(1, 2)))
    apart = norms > 0
    kendalls = (left * right).sum(axis=(1, 2))[apart] / norms[apart]
    return Agreement(
        responses=int(both.sum()),
        queries=int(apart.sum()),
        kendall=float(kendalls.mean()) if len(kendalls) else float("nan"),
        same_best=_same_best(first, second, both),
    )


def ties(scores: FloatArray) -> float:
    """Share of the pairs of responses to one query that (n_queries, n_experts) scores equal."""
    seen = ~np.isnan(scores)
    pairs = seen.sum(axis=1) * (seen.sum(axis=1) - 1)
    differ = np.abs(_signs(scores, seen)).sum()
    return 1.0 - float(differ / pairs.sum()) if pairs.sum() else float("nan")


def _signs(scores: FloatArray, seen: NDArray[np.bool_]) -> FloatArray:
    """(n_queries, n_experts, n_experts) sign of the difference of two experts, 0 if unseen."""
    values = np.where(seen, scores, np.nan)
    signs = np.sign(values[:, :, None] - values[:, None, :])
    return np.asarray(np.nan_to_num(signs), np.float64)


def _same_best(first: FloatArray, second: FloatArray, both: NDArray[np.bool_]) -> float:
    rows = both.sum(axis=1) > 1
    if not rows.any():
        return float("nan")
    picks = []
    for scores in (first, second):
        values = np.where(both, scores, -np.inf)[rows]
        best = values == values.max(axis=1, keepdims=True)
        picks.append(best / best.sum(axis=1, keepdims=True))
    return float((picks[0] * picks[1]).sum(axis=1).mean())


def reward_table(
    responses: Responses, rewards: FloatArray
) -> tuple[RewardTable, NDArray[np.int64]]:
    """Make the reward table of (n_items,) rewards, NaN where not observed.

    Queries and experts without any reward are left out. Returns the table, and the positions
    of its rows among `responses.queries`.

    Raises
    ------
    DataError
        There are fewer than two experts with a reward, or a cell of the other columns is
        not what its column needs.
    """
    matrix = responses.matrix(rewards)
    rows = np.flatnonzero(~np.isnan(matrix).all(axis=1))
    places = np.flatnonzero(~np.isnan(matrix).all(axis=0)).tolist()
    experts = [responses.experts[place] for place in places]
    if len(experts) < 2:
        raise DataError(
            f"rewards of {len(experts)} experts ({', '.join(experts) or 'none'}); "
            "a reward table needs two at least"
        )
    queries = responses.queries.take(rows.tolist())
    cells: dict[str, Any] = {"query_id": queries.ids, "query": queries.texts}
    for name in ("subset", "split", "tags"):
        if name in responses.queries.columns:
            cells[name] = [row.get(name) for row in queries.rows]
    said = np.full(matrix.shape, None, dtype=object)
    said[responses.places[:, 0], responses.places[:, 1]] = [x.response for x in responses.items]
    costs = responses.matrix(responses.costs)
    for place, expert in zip(places, experts, strict=True):
        cells[f"reward:{expert}"] = matrix[rows, place]
        cells[f"response:{expert}"] = said[rows, place].tolist()
        if responses.costs.any():
            cells[f"cost:{expert}"] = costs[rows, place]
    by_id = Columns("the responses", cells, list(cells), lambda row: f"query {queries.ids[row]!r}")
    return build_table(by_id), rows
