"""From a table and a router to slices: every row routed, every system on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zooter_lite.ask.prices import priced
from zooter_lite.cli import bar, cache_folder
from zooter_lite.compare.baselines import best_answer, points_of, usual_systems
from zooter_lite.compare.evaluated_rows import (
    Remembered,
    Rows,
    TableChoice,
    chosen_splits,
    outputs_of,
    unseen_apart,
)
from zooter_lite.errors import DataError
from zooter_lite.labels.completion import mean_rewards
from zooter_lite.measure.metrics import Array
from zooter_lite.measure.system import FloatArray, Slice, System, TrainedOn, chooser
from zooter_lite.router.decision import Predictions
from zooter_lite.router.directory.config import Point
from zooter_lite.router.directory.store import read_router
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Precision
from zooter_lite.router.tokens import cut_prompts
from zooter_lite.table import RewardTable, in_router_order
from zooter_lite.table.splits import part_of


@dataclass(frozen=True)
class Plan:
    """What is done with every table of an evaluation.

    Attributes
    ----------
    rivals
        Whether trained baselines are fitted on the training rows.
    precision
        Of the router: "fp32", "int8" or "auto".
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
    exact = plan.precision == "fp32" and router is not wanted.router
    remembered = _remembered(plan) if exact else None
    predicted, embeddings = outputs_of(router, table.queries, remembered)
    notes: list[str] = []
    if table.splits is None:
        # the tag index holds fp32 embeddings, to which those of another precision are unequal
        true = embeddings if exact else outputs_of(Router.load(router.folder), table.queries)[1]
        table, notes = unseen_apart(table, router, true)
    elif leaks := len(table.leaks()):
        notes.append(f"{leaks} evaluated rows have a query that also stands in train")
    chosen = chosen_splits(table, wanted)
    evaluated = np.concatenate([*chosen.values()])
    if n_cut := router.tokens.longer([table.queries[row] for row in evaluated]):
        notes.append(cut_prompts(n_cut, len(evaluated), router.config.encoder.max_length))
    if plan.precision == "auto":
        share = f"{router.repeat_share:.1%}"
        notes.append(f"auto: int8, with {share} of the queries answered again in fp32")
    known = trained_on(table, embeddings, router.config.training.mean_rewards)
    scored = _rival_scores(known, embeddings[evaluated], plan)
    for folder in wanted.also:
        name, other = f"router {Path(folder).name}", Router.load(folder, plan.precision)
        scored[name] = _other_scores(other, folder, table, evaluated)
    points, temperature = router.config.decisions.points, router.config.calibration.temperature
    slices = []
    end = 0
    for split, rows in chosen.items():
        part, start, end = table.take(rows), end, end + len(rows)
        others = [
            chooser(name, "baseline", part.rewards, scores[start:end])
            for name, scores in scored.items()
        ]
        others += [best_answer(n, s, part, known.mean_rewards) for n, s in part.scores.items()]
        outputs = predicted.take(rows), embeddings[rows]
        slices.append(
            sliced((wanted.name, split), part, known, outputs, others, points, temperature)
        )
    return RoutedTable(router, slices, notes)


def sliced(
    name: tuple[str, str],
    part: RewardTable,
    known: TrainedOn,
    outputs: tuple[Predictions, FloatArray],
    others: Sequence[System] = (),
    points: Sequence[Point] = (),
    temperature: float = 1.0,
) -> Slice:
    """Put the usual systems, and `others`, on the rows of one split.

    Parameters
    ----------
    name
        Of the table and of the split.
    outputs
        What the router predicts of the n rows, and their embeddings (n, dim).
    points, temperature
        Operating points and calibration of the router.
    """
    systems = usual_systems(part, *outputs, known, others)
    at = points_of(outputs[0], points, part)
    return Slice(*name, part, known, *outputs, systems, temperature, points=at)


def trained_on(
    table: RewardTable, embeddings: FloatArray, means: Sequence[float] = ()
) -> TrainedOn:
    """Return a table's training rows or, where it has none, mean rewards of a router's own."""
    rows = table.rows("train")
    if not len(rows):
        return TrainedOn(np.asarray(means, dtype=np.float64))
    train = table.take(rows)
    return TrainedOn(mean_rewards(train.rewards, train.subsets), train, part_of(embeddings, rows))


def _read(wanted: TableChoice, plan: Plan) -> tuple[Router, RewardTable]:
    """Load the router and the table, at the plan's prices."""
    router, table = wanted.router, wanted.data
    if not isinstance(router, Router):
        router = Router.load(router, plan.precision)
    if not isinstance(table, RewardTable):
        context = router.config.training.context
        how = {"long": wanted.long, "separator": wanted.separator, "context": context}
        table = RewardTable.read(table, responses=bool(plan.prices), **how)  # type: ignore[arg-type]
    table = in_router_order(table, router.experts, wanted.source)
    if plan.prices:
        now = priced(table, plan.prices, read_router(router.folder).tokenizer)
        table = now.table
        router = Router.load(router.folder, plan.precision, costs=now.mean_costs)
    return router, table


def _remembered(plan: Plan) -> Remembered | None:
    """Return what finds the embeddings that a fit has left; None where there is no cache."""
    from zooter_lite.encode.encoder import recall

    return None if plan.cache == "none" else recall(cache_folder(plan.cache))


def _rival_scores(known: TrainedOn, embeddings: FloatArray, plan: Plan) -> dict[str, Array]:
    """Per rival (n, n_experts) scores of embeddings (n, dim)."""
    if not plan.rivals or known.table is None or known.embeddings is None:
        return {}
    from zooter_lite.compare.rivals import RIVALS, tuned_scores

    scored = {}
    with bar(len(RIVALS), "rivals") as progress:
        for rival in RIVALS:
            train = (known.table, known.embeddings)
            scored[rival.name], _ = tuned_scores(rival, *train, embeddings, plan.seed)
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
