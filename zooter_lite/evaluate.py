"""Evaluate a router on a reward table, beside baselines, with bootstrap intervals.

  python -m zooter_lite.evaluate --router exports/mine --data rewards.parquet
  python -m zooter_lite.evaluate --router exports/mine --data t.parquet --report report.html
  python -m zooter_lite.evaluate --suite suite.toml --report report.html --json report.json

Without --split, every split except 'train' is evaluated. Rows of 'train' in the same
table are what the baselines learn from; without such rows only the best single expert is
known, from the router's own training. In a table without a column 'split', the queries
that the router was fitted on count as 'train'. A suite names several tables and routers
(zooter_lite/compare/suite.py shows its form), and ranks over all their subsets at once.
"""

import json
import shlex
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
from tqdm import tqdm

from zooter_lite import __version__
from zooter_lite.cli import option, run
from zooter_lite.compare.analysis import analyse, choice_estimates, plain
from zooter_lite.compare.evaluated_rows import Remembered
from zooter_lite.compare.rivals import RIVALS, Rival
from zooter_lite.compare.slices import EvaluatedTable, Plan, evaluate_table
from zooter_lite.compare.suite import SplitChoice, SuiteTable, read_suite, table_name
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.rows import atomic_text
from zooter_lite.report.card import ranking_table, rewritten_card, text_table
from zooter_lite.router.directory.store import read_router, rewrite_router
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Precision

Json = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.evaluate`."""

    router: str = option("", help="router directory", metavar="DIR")
    data: str = option(
        "", help="reward table; with --suite, the folder of its tables", metavar="TABLE"
    )
    suite: Optional[str] = option(
        None,
        help="evaluate the tables of this file, each with its router",
        kind=str,
        metavar="FILE",
    )
    split: Optional[str] = option(
        None, help="evaluate this split alone (default: every one except train)", kind=str
    )
    subsets: Optional[str] = option(
        None, help="evaluate these subsets alone, separated by commas", kind=str
    )
    also: Optional[str] = option(
        None,
        help="compare with these router directories too, over the same experts; with commas",
        kind=str,
        metavar="DIRS",
    )
    report: Optional[str] = option(
        None, help="write everything as one HTML page to this file", kind=str, metavar="FILE"
    )
    json: Optional[str] = option(
        None, help="write the same figures to this file", kind=str, metavar="FILE"
    )
    rivals: Literal["auto", "on", "off"] = option(
        "auto",
        help="fit trained baselines on the rows of train (regressions, SVM, MLP, clusters, "
        "matrix factorisation, RouterDC); auto: with --report and --suite",
    )
    ablations: bool = option(
        False, help="refit the head with other labels, divergences and amounts of training rows"
    )
    robustness: bool = option(
        False, help="route some prompts again in other case, with typos, reworded, or extended"
    )
    card: bool = option(
        False, help="write what is found into the router directory: report.json, picture, card"
    )
    precision: Literal["fp32", "int8", "auto"] = option(
        "fp32", help="of the router that is evaluated"
    )
    seed: int = option(0, help="of folds, noise and bootstrap")
    cache: str = option(
        "",
        help="where fit keeps embeddings (default: $ZOOTER_CACHE or ~/.cache/zooter-lite), taken "
        "for fp32 after a check against the router's graph; none: embed everything again",
        metavar="DIR",
    )


def main(options: Options) -> None:
    """Route, fit the baselines, analyse, print, write."""
    started = time.monotonic()
    _check(options)
    suite = _suite(options)
    rivals = _rivals(options)
    remembered = _remembered(options) if options.precision == "fp32" else None
    plan = Plan(options.precision, rivals, options.robustness, options.seed, remembered)
    tables = []
    for wanted in suite:
        tables.append(evaluate_table(wanted, plan, _bar))
        for note in tables[-1].notes:
            print(note)
    evaluated = [one for table in tables for one in table.evaluated]
    with _bar("analysis", len(evaluated)) as bar:
        report = analyse(evaluated, {}, options.seed, bar.update)
    report["reward_ranking"] = plain([r for t in tables for r in t.reward_ranking]) or None
    if options.ablations:
        report["ablations"], report["learning_curve"] = _ablations(tables, options.seed)
    report["made"] = {
        "command": _command(options),
        "version": __version__,
        "seed": options.seed,
        "precision": options.precision,
        "routers": {table.wanted.name: Path(table.wanted.router).name for table in tables},
        "seconds": round(time.monotonic() - started, 1),
    }
    _print(tables, report, options)
    _write(tables, report, options)


def _check(options: Options) -> None:
    """Refuse what cannot work before anything is computed."""
    if options.seed < 0:
        raise DataError(f"--seed {options.seed}: expected a number from 0")
    if options.suite is None and not (options.router and options.data):
        missing = "--data" if options.router else "--router"
        raise DataError(f"{missing}: expected --router and --data, or --suite")
    for name in ("router", "split", "subsets", "also"):
        if options.suite is not None and getattr(options, name):
            raise DataError(f"--{name} with --suite: the suite file names it for each table")
    for path in (options.report, options.json):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise DataError(f"{path}: cannot write (no such folder)")
    for package in ("jinja2", "matplotlib"):
        if options.report is not None and find_spec(package) is None:
            raise MissingPackageError(package, "report", "the HTML report")


def _suite(options: Options) -> list[SuiteTable]:
    """Tables of the suite file, or the one that the options name."""
    if options.suite is not None:
        return read_suite(options.suite, options.data)
    only, also = _listed(options.subsets), _listed(options.also)
    splits = () if options.split is None else (SplitChoice(options.split, only),)
    name = table_name(options.data)
    return [SuiteTable(name, options.data, options.router, splits, only, also=also)]


def _remembered(options: Options) -> Remembered | None:
    """Return what finds the embeddings that a fit has left; None where there is no cache."""
    from zooter_lite.encode.cache import default_cache
    from zooter_lite.encode.recall import recall

    return None if options.cache == "none" else recall(Path(options.cache or default_cache()))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _rivals(options: Options) -> list[Rival]:
    """Baselines to train."""
    wanted = options.rivals == "on" or (
        options.rivals == "auto" and bool(options.report or options.suite)
    )
    if not wanted:
        return []
    try:
        from zooter_lite.compare import torch_rivals as rivals
    except ImportError as error:
        raise MissingPackageError(
            str(error.name), "fit", "training baselines (--rivals off leaves them out)"
        ) from error
    return [
        *RIVALS,
        Rival("matrix factorisation", rivals.factorise, rivals.DECAYS),
        Rival("RouterDC head", rivals.dual_contrastive, rivals.TEMPERATURES),
    ]


def _ablations(tables: list[EvaluatedTable], seed: int) -> tuple[Json | None, Json | None]:
    """Refit the heads of all tables: estimates by ablation and label, and by training rows."""
    try:
        from zooter_lite.compare import ablation
    except ImportError as error:
        raise MissingPackageError(str(error.name), "fit", "--ablations") from error
    rows: dict[str, dict[str, Json]] = {"encoder": _by_encoder(tables, seed)}
    curves: Json = {}
    for table in tables:
        train, embeddings = table.known.table, table.known.embeddings
        if train is None or embeddings is None:
            raise DataError(
                f"{table.wanted.data}: no row has the split 'train', which --ablations fit on"
            )
        slices = [one.slice for one in table.evaluated]
        inputs = np.concatenate([one.embeddings for one in slices])
        ends = np.cumsum([len(one.table) for one in slices])[:-1]
        config = table.router.config
        base = ablation.base_recipe(config, train.tags is not None, seed)
        own = ablation.own_recipe(config, base)
        with _bar("ablations", ablation.n_refits(base) + len(ablation.SHARES)) as bar:
            varied = ablation.ablate(train, embeddings, inputs, base, bar.update)
            curve = ablation.learning_curve(train, embeddings, inputs, own, bar.update)
        for kind, choices in varied.items():
            for label, chosen in choices.items():
                values = rows.setdefault(kind, {}).setdefault(label, {})
                for one, part in zip(slices, np.split(chosen, ends), strict=True):
                    values[one.name] = choice_estimates(part, one, seed)
        for size, chosen in curve:
            for one, part in zip(slices, np.split(chosen, ends), strict=True):
                found = choice_estimates(part, one, seed)
                curves.setdefault(one.name, []).append({"rows": size, "micro": found["micro"]})
    ablations = {
        kind: [{"label": label, "values": values} for label, values in by_label.items()]
        for kind, by_label in rows.items()
    }
    return plain(ablations), plain(curves)


def _by_encoder(tables: list[EvaluatedTable], seed: int) -> dict[str, Json]:
    """Estimate what each table's router and the further ones earn, by their encoder's name."""
    rows: dict[str, Json] = {}
    for table in tables:
        for name, encoder in table.encoders.items():
            twice = list(table.encoders.values()).count(encoder) > 1
            label = f"{encoder} ({name})" if twice else encoder
            for one in table.evaluated:
                system = next(s for s in one.slice.systems if s.name == name)
                if system.choices is not None:
                    found = choice_estimates(system.choices, one.slice, seed)
                    rows.setdefault(label, {})[one.slice.name] = found
    return rows


def _print(tables: list[EvaluatedTable], report: Json, options: Options) -> None:
    slices = {one["name"]: one for one in report["slices"]}
    for table in tables:
        print(f"router: {table.wanted.router}, {_precision(table.router, options.precision)}")
        if len(tables) > 1:
            print(f"table: {table.wanted.data}")
        for each in table.evaluated:
            one = slices[each.slice.name]
            print(text_table(one))
            print(one["verdict"])
            print()
    if options.suite is not None:
        print(ranking_table(report["ranking"]))
        print()


def _precision(router: Router, precision: Precision) -> str:
    if precision != "auto":
        return precision
    return f"auto: int8, with {router.repeat_share:.1%} of the queries answered again in fp32"


def _write(tables: list[EvaluatedTable], report: Json, options: Options) -> None:
    """Write the files that were asked for."""
    if options.json is not None:
        with atomic_text(options.json) as stream:
            json.dump(report, stream, sort_keys=True, indent=1, ensure_ascii=False)
            stream.write("\n")
    if options.report is not None:
        from zooter_lite.report.page import render

        with atomic_text(options.report) as stream:
            stream.write(render(report))
        print(f"report: {options.report}")
    for table in tables if options.card else []:
        folder = Path(table.wanted.router)
        names = {one.slice.name for one in table.evaluated}
        slices = [one for one in report["slices"] if one["name"] in names]
        router = read_router(folder)
        old = json.loads(router.read("report.json")[:])
        files = rewritten_card(router.config, slices, old, _command(options))
        rewrite_router(folder, router, files)
        print(f"model card: {folder / 'README.md'}")


def _command(options: Options) -> str:
    words = ["python", "-m", "zooter_lite.evaluate"]
    for field in fields(Options):
        value = getattr(options, field.name)
        if value != field.default and field.name != "cache":
            words += [f"--{field.name}", *([] if value is True else [_shown(field.name, value)])]
    return shlex.join(words)


def _shown(name: str, value: object) -> str:
    """Return an option's value; of files and folders only the name, as reports are passed on."""
    if name not in ("router", "data", "suite", "also", "report", "json"):
        return str(value)
    return ",".join(Path(part).name for part in _listed(str(value)))


def _bar(label: str, total: int) -> AbstractContextManager[Any]:
    options = {"disable": None, "file": sys.stderr, "leave": False}
    bar: AbstractContextManager[Any] = tqdm(total=total, desc=label, **options)
    return bar


if __name__ == "__main__":
    sys.exit(run(Options, main, "evaluate", __doc__ or ""))
