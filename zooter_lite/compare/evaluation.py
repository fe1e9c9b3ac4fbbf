"""Evaluate routers on reward tables: from files or objects to the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from zooter_lite import __version__
from zooter_lite.cli import bar
from zooter_lite.compare.analysis import analyse
from zooter_lite.compare.evaluated_rows import SplitChoice, TableChoice
from zooter_lite.compare.noise import robustness_of
from zooter_lite.compare.routed import Plan, RoutedTable, routed
from zooter_lite.errors import MissingPackageError
from zooter_lite.measure.results import Report, Robustness
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Precision
from zooter_lite.table import RewardTable, table_name


def evaluate_router(
    router: str | Path | Router,
    table: Any,
    *,
    splits: Sequence[str] | None = None,
    subsets: Sequence[str] | None = None,
    also: Sequence[str | Path] = (),
    rivals: bool = False,
    robustness: bool = False,
    ablations: bool = False,
    precision: Precision = "fp32",
    seed: int = 0,
    cache: str = "",
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
    rivals, robustness, ablations, precision, seed, cache
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
    source = str(table) if isinstance(table, (str, Path)) else table
    if not isinstance(source, (str, RewardTable)):
        source = RewardTable.of(source)
    only = tuple(subsets or ())
    wanted = TableChoice(
        name=name or (table_name(source) if isinstance(source, str) else "table"),
        data=source,
        router=router if isinstance(router, Router) else str(router),
        splits=tuple(SplitChoice(split, only) for split in splits or ()),
        only=only,
        also=tuple(str(folder) for folder in also),
    )
    plan = Plan(rivals, robustness, ablations, precision, seed, cache)
    return evaluate_suite([wanted], plan, by_split=True)


def evaluate_suite(suite: Sequence[TableChoice], plan: Plan, *, by_split: bool = False) -> Report:
    """Evaluate several tables, each with its router, and rank over all their subsets at once.

    Parameters
    ----------
    by_split
        Whether the report's slices are found by split alone, as those of one table are.

    Raises
    ------
    DataError, RouterError
        A table, a router or a choice of rows is not usable.
    MissingPackageError
        Rivals or ablations without the extra `fit`.
    """
    started = time.monotonic()
    _check_packages(plan)
    tables = [routed(wanted, plan) for wanted in suite]
    slices = [one for table in tables for one in table.slices]
    report = analyse(slices, plan.seed, by_split=by_split)
    tried = _tried(tables, plan.seed) if plan.robustness else {}
    settings, curve = None, None
    if plan.ablations:
        from zooter_lite.compare.ablation import ablations_of

        settings, curve = ablations_of(tables, plan.seed)
    return replace(
        report,
        slices={
            key: replace(one, robustness=tried.get(one.name)) for key, one in report.slices.items()
        },
        ablations=settings,
        learning_curve=curve,
        reward_ranking=[ranking for table in tables for ranking in table.rankings] or None,
        notes=[note for table in tables for note in table.notes],
        made={
            "version": __version__,
            "seed": plan.seed,
            "precision": plan.precision,
            "routers": {table.wanted.name: table.wanted.router_name for table in tables},
            "seconds": round(time.monotonic() - started, 1),
        },
    )


def _check_packages(plan: Plan) -> None:
    """Refuse what the installed packages cannot do before anything is computed."""
    needed = {"ablation": "--ablations"} if plan.ablations else {}
    if plan.rivals:
        needed["rivals"] = "training baselines (--rivals off leaves them out)"
    for module, what in needed.items():
        try:
            import_module(f"zooter_lite.compare.{module}")
        except ImportError as error:
            raise MissingPackageError(str(error.name), "fit", what) from error


def _tried(tables: Sequence[RoutedTable], seed: int) -> dict[str, list[Robustness]]:
    """Route some prompts of every slice again with noise; by the slice's name."""
    tried = {}
    with bar(sum(len(table.slices) for table in tables), "noise") as progress:
        for table in tables:
            for one in table.slices:
                tried[one.name] = robustness_of(one, table.router.predict_proba, seed)
                progress.update(1)
    return tried
