"""From a table and a router to slices: every row routed, every system on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.ask.prices import priced
from zooter_lite.cli import bar, cache_folder
from zooter_lite.compare.baselines import points_of, usual_systems
from zooter_lite.compare.suite import Rows, TableChoice, chosen_splits
from zooter_lite.errors import DataError
from zooter_lite.labels.completion import mean_rewards
from zooter_lite.measure.metrics import Array
from zooter_lite.measure.system import FloatArray, Slice, TrainedOn
from zooter_lite.router.decision import Predictions
from zooter_lite.router.directory.config import Point
from zooter_lite.router.directory.store import read_router
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Precision
from zooter_lite.router.tokens import cut_prompts
from zooter_lite.table import RewardTable, as_table, in_router_order
from zooter_lite.table.splits import part_of

Remembered = Callable[[Router, Sequence[str]], tuple[NDArray[np.bool_], FloatArray]]

SAME = 1e-5  # cosine distance below which two queries are one
CHECKED = 32  # remembered embeddings that the router's graph computes again
EQUAL = 1e-4  # difference of a number of an embedding up to which it is the same


@dataclass(frozen=True)
class Plan:
    """What is done with every table of an evaluation.

    Attributes
    ----------
    rivals
        Whether trained baselines are fitted on the training rows.
    precision
        Of the router: "fp32", "fp16" or "int8".
    seed
        Of folds and bootstrap.
    cache
        Where fits keep embeddings, which are taken for fp32 after a check against the
        router's graph; "" for the default, "none" to embed everything again.
    prices
        Pool file whose prices, times the tokens of prompts and responses, are the costs;
        "" for those of the table.
    """

    rivals: bool = False
    precision: Precision = "fp32"
    seed: int = 0
    cache: str = ""
    prices: str = ""


@dataclass(frozen=True)
class RoutedTable:
    """A router, the evaluated slices of its table, and what is to be said about these."""

    router: Router
    slices: list[Slice]
    notes: list[str]


def routed(wanted: TableChoice, plan: Plan) -> RoutedTable:
    """Route a table's rows, fit the baselines on its training rows, and make the slices."""
    router, table = _read(wanted, plan)
    chosen = None
    if table.splits is not None:  # only what is evaluated, and what the baselines are fitted on
        chosen = chosen_splits(table, wanted)
        needed = np.unique(np.concatenate([table.rows("train"), *chosen.values()]))
        chosen = {split: np.searchsorted(needed, rows) for split, rows in chosen.items()}
        table = table.take(needed)
    exact = plan.precision == "fp32" and router is not wanted.router
    remembered = None
    if exact and plan.cache != "none":
        from zooter_lite.encode.encoder import recall

        remembered = recall(cache_folder(plan.cache))
    predicted, embeddings = outputs_of(router, table.queries, remembered)
    notes: list[str] = []
    if table.splits is None:
        # the tag index holds fp32 embeddings, to which those of another precision are unequal
        true = embeddings if exact else outputs_of(Router.load(router.folder), table.queries)[1]
        table, notes = unseen_apart(table, router, true)
    elif leaks := len(table.leaks()):
        notes.append(f"{leaks} evaluated rows have a query that also stands in train")
    chosen = chosen or chosen_splits(table, wanted)
    evaluated = np.sort(np.concatenate([*chosen.values()]))
    if n_cut := router.tokens.longer([table.queries[row] for row in evaluated]):
        notes.append(cut_prompts(n_cut, len(evaluated), router.config.encoder.max_length))
    known = trained_on(table, embeddings, router.config.training.mean_rewards)
    scored = _rival_scores(known, embeddings[evaluated], plan)
    for folder in wanted.also:
        name, other = f"router {Path(folder).name}", Router.load(folder, plan.precision)
        scored[name] = _other_scores(other, folder, table, evaluated)
    slices = []
    for split, rows in chosen.items():
        part, outputs = table.take(rows), (predicted.take(rows), embeddings[rows])
        there = {name: scores[np.searchsorted(evaluated, rows)] for name, scores in scored.items()}
        points = router.config.decisions.points
        slices.append(sliced((wanted.name, split), part, known, outputs, there, points))
    return RoutedTable(router, slices, notes)


def sliced(
    name: tuple[str, str],
    part: RewardTable,
    known: TrainedOn,
    outputs: tuple[Predictions, FloatArray],
    scored: Mapping[str, Array] | None = None,
    points: Sequence[Point] = (),
) -> Slice:
    """Put every system on the rows of one split.

    Parameters
    ----------
    name
        Of the table and of the split.
    outputs
        What the router predicts of the n rows, and their embeddings (n, dim).
    scored
        Scores (n, n_experts) of further baselines.
    points
        Operating points of the router.
    """
    systems = usual_systems(part, *outputs, known, scored)
    at = points_of(outputs[0], points, part)
    return Slice(*name, part, known, *outputs, systems, at)


def trained_on(
    table: RewardTable, embeddings: FloatArray, means: Sequence[float] = ()
) -> TrainedOn:
    """Return a table's training rows or, where it has none, mean rewards of a router's own."""
    rows = table.rows("train")
    if not len(rows):
        return TrainedOn(np.asarray(means, dtype=np.float64))
    train = table.take(rows)
    return TrainedOn(mean_rewards(train.rewards, train.subsets), train, part_of(embeddings, rows))


def outputs_of(
    router: Router, queries: Sequence[str], remembered: Remembered | None = None
) -> tuple[Predictions, FloatArray]:
    """Predictions and unit embeddings (n, dim) of n queries.

    `remembered` tells which queries' embeddings an earlier fit left, and gives them; the head
    does the rest. They are taken where the router's graph agrees on a part of them.
    """
    known, kept = np.zeros(len(queries), dtype=bool), np.zeros((0, router.head.dim), "f4")
    if remembered is not None:
        known, kept = remembered(router, queries)
        sample = np.unique(np.linspace(0, len(kept) - 1, min(CHECKED, len(kept))).astype(int))
        again = router.embed([queries[row] for row in np.flatnonzero(known)[sample]])[1]
        if np.abs(again - kept[sample]).max(initial=0.0) > EQUAL:
            known = np.zeros(len(queries), dtype=bool)
    left = np.flatnonzero(~known)
    with bar(len(left), "routing") as progress:
        asked = router.predict_and_embed([queries[row] for row in left.tolist()], progress.update)
    if len(left) == len(queries):
        return asked
    embeddings = np.empty((len(queries), router.head.dim), dtype=np.float32)
    embeddings[known], embeddings[left] = kept, asked[1]
    estimates = router.head.estimates
    costed = estimates is not None and estimates.costs is not None
    tokens = router.tokens.lengths(queries) if costed else None
    return router.repriced(router.head.predict(embeddings, tokens)), embeddings


def unseen_apart(
    table: RewardTable, router: Router, embeddings: FloatArray
) -> tuple[RewardTable, list[str]]:
    """Split a table without splits: queries that the router was fitted on are `train`.

    They are told by an embedding (n, dim), of the fp32 graph, that equals one in the router's
    tag index. Beside the table with splits stands what is to be said about it.
    """
    index = router.tag_index
    if index is None:
        note = "no column 'split', and a router without tags cannot tell what it was fitted on"
        return replace(table, splits=["all"] * len(table)), [note]
    # an index that rounds its vectors sees a query a little way off itself
    seen = index.distance(embeddings) < SAME + 2 * index.choice.error
    note = (
        f"{int(seen.sum())} of {len(table)} queries are among those the router was fitted on: "
        "they count as 'train' and are not evaluated"
    )
    splits = np.where(seen, "train", "all").tolist()
    return replace(table, splits=splits), [note] if seen.any() else []


def _read(wanted: TableChoice, plan: Plan) -> tuple[Router, RewardTable]:
    """Load the router and the table, at the plan's prices."""
    router = wanted.router
    if not isinstance(router, Router):
        router = Router.load(router, plan.precision)
    how = {"long": wanted.long, "separator": wanted.separator, "scores": True}
    how |= {"context": router.config.training.context, "responses": bool(plan.prices)}
    table = in_router_order(as_table(wanted.data, **how), router.experts, wanted.source)
    if plan.prices:
        now = priced(table, plan.prices, read_router(router.folder).tokenizer)
        table = now.table
        router = Router.load(router.folder, plan.precision, costs=now.mean_costs)
    return router, table


def _rival_scores(known: TrainedOn, embeddings: FloatArray, plan: Plan) -> dict[str, Array]:
    """Per rival (n, n_experts) scores of embeddings (n, dim)."""
    if not plan.rivals or known.table is None or known.embeddings is None:
        return {}
    from zooter_lite.compare.rivals import RIVALS, tuned_scores

    scored = {}
    with bar(len(RIVALS), "rivals") as progress:
        for rival in RIVALS:
            train = (known.table, known.embeddings)
            scored[rival.name] = tuned_scores(rival, *train, embeddings, plan.seed)
            progress.update(1)
    return scored


def _other_scores(other: Router, folder: str, table: RewardTable, evaluated: Rows) -> Array:
    """(n, n_experts) probabilities by another router, for the n `evaluated` of the rows."""
    if set(other.experts) != set(table.experts):
        raise DataError(
            f"{folder}: routes to {', '.join(other.experts)}; expected {', '.join(table.experts)}"
        )
    with bar(len(evaluated), "routing") as progress:
        queries = [table.queries[row] for row in evaluated]
        probs = other.predict_proba(queries, progress.update)
    order = [other.experts.index(expert) for expert in table.experts]
    return probs[:, order].astype(np.float64)
