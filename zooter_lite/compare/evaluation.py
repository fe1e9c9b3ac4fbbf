"""Evaluate routers on reward tables: from files, objects or a fit to the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite import __version__
from zooter_lite.compare.analysis import analyse
from zooter_lite.compare.routed import Plan, routed, sliced, trained_on
from zooter_lite.compare.suite import SplitChoice, TableChoice
from zooter_lite.errors import needs
from zooter_lite.measure.results import Report
from zooter_lite.measure.system import FloatArray
from zooter_lite.router.directory.config import Point
from zooter_lite.router.head import Head
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Precision
from zooter_lite.table import RewardTable, table_name
from zooter_lite.table.splits import part_of

MOST_ROWS = 20_000  # of a held-out split; its bootstrap takes 2000 bytes a row, and as long


def evaluate_router(
    router: str | Path | Router,
    table: Any,
    *,
    splits: Sequence[str] | None = None,
    subsets: Sequence[str] | None = None,
    also: Sequence[str | Path] = (),
    rivals: bool = False,
    precision: Precision = "fp32",
    seed: int = 0,
    cache: str = "",
    prices: str = "",
    name: str = "",
) -> Report:
    """Evaluate a router on a reward table, beside baselines, with bootstrap intervals.

    Rows of the split "train" are what the baselines learn from. In a table without splits
    the queries that the router was fitted on count as "train", and the others as "all".

    Parameters
    ----------
    router
        The router, or its directory.
    table
        A RewardTable, the path of one, or a frame that `RewardTable.of` takes.
    splits, subsets
        What is evaluated; without them every split except "train", and every subset.
    also
        Further router directories over the same experts, to compare with.
    rivals, precision, seed, cache, prices
        As `Plan` says; a loaded router keeps the precision it was loaded with.
    name
        Of the table in the report; that of its file, or "table".

    Returns
    -------
    The report; its slices are found by the name of their split.

    Raises
    ------
    DataError, RouterError
        The table, the router or a choice of rows is not usable.

    Examples
    --------
    >>> report = evaluate_router("exports/mine", "rewards.csv")  # doctest: +SKIP
    >>> report.slices["test"].router.micro.mean  # doctest: +SKIP
    0.61
    """
    only, path = list(subsets or ()), isinstance(table, (str, Path))
    wanted = TableChoice(
        name=name or (table_name(str(table)) if path else "table"),
        data=str(table) if path else table,
        router=router if isinstance(router, Router) else str(router),
        splits=[SplitChoice(split, only) for split in splits or ()],
        only=only,
        also=[str(folder) for folder in also],
    )
    plan = Plan(rivals, precision, seed, cache, prices)
    return evaluate_suite([wanted], plan, by_split=True)


def evaluate_suite(suite: Sequence[TableChoice], plan: Plan, *, by_split: bool = False) -> Report:
    """Evaluate several tables, each with its router, and rank over all their subsets at once.

    Errors are those of `evaluate_router`, and MissingPackageError for rivals without the extra
    `fit`.
    """
    started = time.monotonic()
    if plan.rivals:  # what is missing is said before anything is computed
        with needs("fit", "training baselines (--rivals off leaves them out)"):
            import zooter_lite.compare.rivals  # noqa: F401
    tables = [routed(wanted, plan) for wanted in suite]
    report = analyse([one for table in tables for one in table.slices], plan.seed, by_split)
    return replace(
        report,
        notes=[note for table in tables for note in table.notes],
        made={
            "version": __version__,
            "seed": plan.seed,
            "precision": plan.precision,
            "routers": {
                wanted.name: table.router.folder.name
                for wanted, table in zip(suite, tables, strict=True)
            },
            "seconds": round(time.monotonic() - started, 1),
        },
    )


def held_out_report(
    table: RewardTable,
    embeddings: FloatArray,
    head: Head,
    name: str,
    seed: int,
    *,
    points: Sequence[Point] = (),
    tokens: NDArray[np.int64] | None = None,
) -> Report:
    """Describe every split but train of a table that a head was just fitted on.

    `embeddings` (n, dim) are unit vectors of all rows, `tokens` (n,) those of the queries, which
    costs depend on, and `points` the router's. Of a split with more than `MOST_ROWS`, so many
    are drawn; `seed` is of that, and of the bootstrap.
    """
    known = trained_on(table, embeddings)
    slices, notes = [], []
    for split in sorted(set(table.splits or []) - {"train"}):
        rows = table.rows(split)
        if len(rows) > MOST_ROWS:
            notes.append(
                f"split {split}: {MOST_ROWS} of its {len(rows)} rows are evaluated here, drawn at "
                "random; python -m zooter_lite.evaluate takes all"
            )
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
        own = part_of(embeddings, rows)
        outputs = head.predict(own, None if tokens is None else tokens[rows]), own
        part, named = table.take(rows), (name, split)
        slices.append(sliced(named, part, known, outputs, None, points))
    return replace(analyse(slices, seed), notes=notes)
