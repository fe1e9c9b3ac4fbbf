"""From a journal of responses to the items to score, and from their scores to a reward table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.known import Record
from zooter_lite.ask.responses import read_known
from zooter_lite.ask.texts import spoken
from zooter_lite.errors import DataError
from zooter_lite.scoring.scorer import FloatArray, Item
from zooter_lite.table.columns import Columns
from zooter_lite.table.queries import Queries
from zooter_lite.table.reward_table import RewardTable, build_table


@dataclass(frozen=True)
class Responses:
    """What the experts said."""

    queries: Queries  # those that have a response or a failure, with their other columns
    experts: list[str]  # by name
    items: list[Item]  # the responses, query by query, expert by expert
    seen: NDArray[np.bool_]  # (n_queries, n_experts) where there is one, in the items' order
    costs: FloatArray  # (n_items,) of each response
    cut: int  # responses that a server ended early, such as at max_tokens
    failed: int  # pairs of query and expert without response whose last record is an error
    left_out: int  # queries of the journal that the file of queries does not have

    def matrix(self, values: FloatArray) -> FloatArray:
        """Spread (n_items,) over (n_queries, n_experts), NaN where there is no item."""
        matrix = np.full(self.seen.shape, np.nan)
        matrix[self.seen] = values
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
    texts = {} if queries is None else dict(zip(queries.ids, queries.texts, strict=True))

    def answer(record: Record) -> tuple[str, float, bool]:
        return spoken(str(record["response"])), float(record.get("cost", 0.0)), "cut" in record

    known = read_known(path, texts, answer)
    if queries is None:
        names = sorted(texts)
        queries = Queries(names, [texts[name] for name in names], [{} for _ in names])
    asked = {name for name, _ in (*known.answers, *known.failed)}
    left_out = len(asked - set(queries.ids))
    queries = queries.take([place for place, name in enumerate(queries.ids) if name in asked])
    kept = set(queries.ids)
    met = [key for key in (*known.answers, *known.failed) if key[0] in kept]
    experts = sorted({expert for _, expert in met})
    seen = np.zeros((len(queries), len(experts)), bool)
    items, costs, n_cut = [], [], 0
    for row, column in np.ndindex(*seen.shape):
        pair = queries.ids[row], experts[column]
        if pair in known.answers:
            said, cost, cut = known.answers[pair]
            seen[row, column] = True
            n_cut += cut
            items.append(Item(pair[0], queries.texts[row], pair[1], said, queries.rows[row]))
            costs.append(cost)
    if not items:
        raise DataError(f"{path}: no response to any of the queries")
    failed = len(met) - len(items)
    return Responses(queries, experts, items, seen, np.array(costs), n_cut, failed, left_out)


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
    stacked = np.ma.masked_invalid(np.stack(scores))
    spread = np.ma.filled(stacked.std(axis=1, keepdims=True), 0.0)
    standardised = (stacked - stacked.mean(axis=1, keepdims=True)) / np.where(spread, spread, 1.0)
    return np.ma.filled(np.ma.average(standardised, axis=0, weights=weights), np.nan)


def same_best(first: FloatArray, second: FloatArray) -> float:
    """How often two scorers pick the same expert, each among its best ones at random.

    Over the queries of (n_queries, n_experts) scores with two responses or more that both scored.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    rows = both.sum(axis=1) > 1
    if not rows.any():
        return float("nan")
    values = np.where(both, [first, second], -np.inf)[:, rows]
    best = values == values.max(axis=2, keepdims=True)
    picks = best / best.sum(axis=2, keepdims=True)
    return float(picks.prod(axis=0).sum(axis=1).mean())


def reward_table(
    responses: Responses, rewards: FloatArray, scores: Mapping[str, FloatArray]
) -> RewardTable:
    """Make the reward table of (n_items,) rewards, NaN where not observed.

    Queries and experts without any reward are left out. `scores` holds what several scorers
    said, like the rewards.

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
    said[responses.seen] = [item.response for item in responses.items]
    costs = responses.matrix(responses.costs)
    for place, expert in zip(places, experts, strict=True):
        cells[f"reward:{expert}"] = matrix[rows, place]
        cells[f"response:{expert}"] = said[rows, place].tolist()
        if responses.costs.any():
            cells[f"cost:{expert}"] = costs[rows, place]
    by_id = Columns("the responses", cells, list(cells), lambda row: f"query {queries.ids[row]!r}")
    own = {name: responses.matrix(values)[rows][:, places] for name, values in scores.items()}
    return replace(build_table(by_id), scores=own)
