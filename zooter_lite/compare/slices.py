"""From a table and a router to the slices that are compared, with every system on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.compare.analysis import Evaluated
from zooter_lite.compare.baselines import ROUTER, TrainedOn, chooser, usual_systems
from zooter_lite.compare.evaluated_rows import (
    Outputs,
    Remembered,
    known_of,
    unseen_apart,
)
from zooter_lite.compare.noise import NOISES, noisy, robustness
from zooter_lite.compare.picking import picker, reward_ranking
from zooter_lite.compare.rivals import Rival, tuned_scores
from zooter_lite.compare.suite import SuiteTable, check_groups, chosen_splits
from zooter_lite.errors import DataError
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.measure.metrics import draw
from zooter_lite.measure.system import Array, FloatArray, Slice, System
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Precision
from zooter_lite.table import RewardTable, in_router_order, read_table

Rows = NDArray[np.int64]
Bar = Callable[[str, int], AbstractContextManager[Any]]

NOISY_ROWS = 400  # of a slice, on which noise in the prompts is tried


@dataclass(frozen=True)
class Plan:
    """What is done with every table.

    Attributes
    ----------
    precision
        Of the router.
    rivals
        Trained baselines.
    robustness
        Whether the prompts are tried with noise.
    seed
        Of folds, noise and bootstrap.
    remembered
        Where embeddings of an earlier fit are found, for fp32; None computes all anew.
    """

    precision: Precision = "fp32"
    rivals: Sequence[Rival] = ()
    robustness: bool = False
    seed: int = 0
    remembered: Remembered | None = None


@dataclass(frozen=True)
class EvaluatedTable:
    """One table, evaluated.

    Attributes
    ----------
    wanted
        What was asked for.
    router
        The router that was evaluated.
    known
        The training rows, as far as there are any.
    evaluated
        The slices.
    reward_ranking
        For tables that hold the scores of single scorers: what picking by one of them earns.
    notes
        What is to be said about the rows.
    encoders
        Encoder of the router and of each further one, by the name of its system.
    """

    wanted: SuiteTable
    router: Router
    known: TrainedOn
    evaluated: list[Evaluated]
    reward_ranking: list[dict[str, Any]]
    notes: list[str]
    encoders: dict[str, str]


def evaluate_table(wanted: SuiteTable, plan: Plan, bar: Bar) -> EvaluatedTable:
    """Route a table's rows, fit the baselines on its training rows, and make the slices.

    Parameters
    ----------
    wanted
        The table, its router and the splits.
    plan
        What is compared.
    bar
        Makes a progress bar of a label and a total.

    Raises
    ------
    DataError, RouterError
        The table, the router or a choice of rows is not usable.
    """
    router = Router.load(wanted.router, plan.precision)
    table = in_router_order(read_table(wanted.data, responses=False), router.experts, wanted.data)
    outputs = Outputs(router, table, plan.remembered)
    table, notes = _with_splits(table, outputs, wanted, plan, bar)
    chosen = chosen_splits(table, wanted)
    rows = [kept for _, kept in chosen]
    needed = np.concatenate([table.rows("train"), *rows])
    with bar("routing", len(np.unique(needed))) as progress:
        outputs.compute(needed, progress.update)
    known = known_of(table, outputs)
    groups = check_groups(table, wanted)
    temperature = float(router.config["calibration"]["temperature"])
    scored = _scored_by_rivals(outputs, known, rows, plan, bar)
    encoders = {ROUTER: str(router.config["encoder"]["name"])}
    for folder in wanted.also:
        other = _other_router(folder, table.experts, plan)
        encoders[other_name(folder)] = str(other.config["encoder"]["name"])
        scored[other_name(folder)] = _scored_by_router(other, table, rows, bar)
    evaluated, ranked = [], []
    for place, (choice, kept) in enumerate(chosen):
        part = table.take(kept)
        pickers = {scorer: scores[kept] for scorer, scores in table.scores.items()}
        others = [
            chooser(name, "baseline", part.rewards.astype(np.float64), scores[place])
            for name, scores in scored.items()
        ]
        others += [picker(name, s, part, known) for name, s in pickers.items()]
        outs = (outputs.probs[kept], outputs.embeddings[kept])
        one = make_slice((wanted.name, choice.split), part, outs, known, groups, others)
        noise = _robustness(one, router, plan.seed, bar) if plan.robustness else None
        evaluated.append(described(one, temperature, known, noise))
        ranked += reward_ranking(one.name, part, pickers, plan.seed)
    return EvaluatedTable(wanted, router, known, evaluated, ranked, notes, encoders)


def _with_splits(
    table: RewardTable, outputs: Outputs, wanted: SuiteTable, plan: Plan, bar: Bar
) -> tuple[RewardTable, list[str]]:
    """Make sure of splits; say what is to be said about them."""
    if table.splits is not None:
        leaks = len(table.leaks())
        said = f"{leaks} evaluated rows have a query that also stands in train"
        return table, [said] if leaks else []
    # the tag index holds fp32 embeddings, to which those of another precision are unequal
    exact = plan.precision == "fp32"
    told = outputs if exact else Outputs(Router.load(wanted.router), table)
    with bar("routing", len(table)) as progress:
        table, said = unseen_apart(table, told, progress.update)
    return table, [said] if said else []


def make_slice(
    name: tuple[str, str],
    part: RewardTable,
    outputs: tuple[FloatArray, FloatArray],
    known: TrainedOn,
    groups: dict[str, str] | None = None,
    others: Sequence[System] = (),
) -> Slice:
    """Put the usual systems, and `others`, on the rows of one split.

    Parameters
    ----------
    name
        Of the table and of the split.
    part
        The n rows.
    outputs
        The router's probabilities (n, n_experts) and embeddings (n, dim) of them.
    known
        What the baselines may know.
    groups
        Group of each subset.
    """
    return Slice(
        name=" ".join(name),
        table_name=name[0],
        split=name[1],
        table=part,
        groups=groups or {},
        best_single=known.best_single,
        probs=outputs[0],
        embeddings=outputs[1],
        systems=usual_systems(part, *outputs, known, others),
    )


def described(
    one: Slice, temperature: float, known: TrainedOn, noise: list[dict[str, Any]] | None = None
) -> Evaluated:
    """Add to a slice what its report needs beside the systems."""
    costs = None if known.table is None else known.table.costs
    return Evaluated(
        one,
        temperature=temperature,
        train_costs=None if costs is None else observed_mean(costs),
        train_rewards=known.mean_rewards,
        robustness=noise,
    )


def _scored_by_rivals(
    outputs: Outputs, known: TrainedOn, rows: list[Rows], plan: Plan, bar: Bar
) -> dict[str, list[Array]]:
    """Per rival the scores of each slice's rows."""
    scored: dict[str, list[Array]] = {}
    if known.table is None or known.embeddings is None or not plan.rivals:
        return scored
    inputs = outputs.embeddings[np.concatenate(rows)]
    with bar("rivals", len(plan.rivals)) as progress:
        for rival in plan.rivals:
            scores, _ = tuned_scores(
                rival, known.embeddings, known.table.rewards, inputs, plan.seed
            )
            scored[rival.name] = _parted(scores, rows)
            progress.update(1)
    return scored


def _other_router(folder: str, experts: list[str], plan: Plan) -> Router:
    other = Router.load(folder, plan.precision)
    if set(other.experts) != set(experts):
        raise DataError(
            f"{folder}: routes to {', '.join(other.experts)}; expected {', '.join(experts)}"
        )
    return other


def _scored_by_router(other: Router, table: RewardTable, rows: list[Rows], bar: Bar) -> list[Array]:
    queries = [table.queries[row] for row in np.concatenate(rows)]
    with bar("routing", len(queries)) as progress:
        probs = other.predict_proba(queries, progress.update)
    order = [other.experts.index(expert) for expert in table.experts]
    return _parted(probs[:, order].astype(np.float64), rows)


def _parted(values: Array, rows: list[Rows]) -> list[Array]:
    return np.split(values, np.cumsum([len(kept) for kept in rows])[:-1])


def other_name(folder: str) -> str:
    """Name of the system that another router directory is."""
    return f"router {Path(folder).name}"


def _robustness(part: Slice, router: Router, seed: int, bar: Bar) -> list[dict[str, Any]]:
    """Route some of the slice's prompts again with every kind of noise."""
    size = min(NOISY_ROWS, len(part.table))
    rows = np.sort(np.random.default_rng(seed).permutation(len(part.table))[:size])
    table = part.table.take(rows)
    before = part.probs[rows].argmax(axis=1)
    draws = draw(table.subsets, seed)
    found = []
    with bar("noise", size * len(NOISES)) as progress:
        for noise in NOISES:
            changed = noisy(table.queries, noise, seed)
            after = router.predict_proba(changed, progress.update).argmax(axis=1)
            told = robustness(
                noise, (table.queries, changed), (before, after), table.rewards, draws
            )
            found.append(asdict(told))
    return found
