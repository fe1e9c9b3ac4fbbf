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
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Optional

from zooter_lite.cli import check_range, option, run, separator_option
from zooter_lite.compare.evaluated_rows import SplitChoice, TableChoice
from zooter_lite.compare.evaluation import evaluate_suite
from zooter_lite.compare.routed import Plan
from zooter_lite.compare.suite import read_suite
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.files.dialect import check_separator
from zooter_lite.measure.results import Report
from zooter_lite.recipe import long_columns
from zooter_lite.report.card import rewritten_card
from zooter_lite.report.terminal import ranking_table, text_table
from zooter_lite.router.directory.store import read_router, rewrite_router
from zooter_lite.table import table_name


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.evaluate`."""

    router: str = option("", help="router directory", metavar="DIR")
    data: str = option(
        "", help="reward table; with --suite, the folder of its tables", metavar="TABLE"
    )
    long: str = option(
        "",
        help="columns of the model and of the reward in a table with a row for each query and "
        "model, as in fit",
        metavar="MODEL,REWARD",
    )
    separator: str = separator_option()
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
        "matrix factorisation); auto: with --report and --suite",
    )
    ablations: bool = option(
        False, help="refit the head with other labels, divergences and amounts of training rows"
    )
    robustness: bool = option(
        False, help="route some prompts again in other case, with typos, or extended"
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
    """Check, evaluate, print, write."""
    _check(options)
    suite = _suite(options)
    auto = bool(options.report or options.suite)
    plan = Plan(
        rivals=options.rivals == "on" or (options.rivals == "auto" and auto),
        robustness=options.robustness,
        ablations=options.ablations,
        precision=options.precision,
        seed=options.seed,
        cache=options.cache,
    )
    report = evaluate_suite(suite, plan)
    report = replace(report, made={"command": _command(options), **report.made})
    _print(suite, report, options)
    _write(suite, report, options)


def _check(options: Options) -> None:
    """Refuse what cannot work before anything is computed."""
    check_range("--seed", options.seed, 0, 2**32 - 1)
    check_separator(options.separator)
    if options.suite is None and not (options.router and options.data):
        missing = "--data" if options.router else "--router"
        raise DataError(f"{missing}: expected --router and --data, or --suite")
    for name in ("router", "split", "subsets", "also"):
        if options.suite is not None and getattr(options, name):
            raise DataError(f"--{name} with --suite: the suite file names it for each table")
    for path in (options.report, options.json):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise DataError(f"{path}: cannot write (no such folder)")
    if options.report is not None and find_spec("jinja2") is None:
        raise MissingPackageError("jinja2", "report", "the HTML report")


def _suite(options: Options) -> list[TableChoice]:
    """Tables of the suite file, or the one that the options name."""
    if options.suite is not None:
        return read_suite(options.suite, options.data)
    only, also = _listed(options.subsets), _listed(options.also)
    splits = () if options.split is None else (SplitChoice(options.split, only),)
    name = table_name(options.data)
    long = tuple(long_columns(options.long))
    how: dict[str, Any] = {"also": also, "long": long, "separator": options.separator}
    return [TableChoice(name, options.data, options.router, splits, only, **how)]


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _print(suite: list[TableChoice], report: Report, options: Options) -> None:
    print(*report.notes, sep="\n", end="\n" if report.notes else "")
    for table in suite:
        print(f"router: {table.router}, {options.precision}")
        if len(suite) > 1:
            print(f"table: {table.source}")
        for one in report.of_table(table.name):
            print(text_table(one), one.verdict.text, "", sep="\n")
    if options.suite is not None:
        print(ranking_table(report.ranking), "", sep="\n")


def _write(suite: list[TableChoice], report: Report, options: Options) -> None:
    """Write the files that were asked for."""
    if options.json is not None:
        with atomic_text(options.json) as stream:
            json.dump(report.to_dict(), stream, sort_keys=True, indent=1, ensure_ascii=False)
            stream.write("\n")
    if options.report is not None:
        report.save(options.report)
        print(f"report: {options.report}")
    for table in suite if options.card else []:
        folder = Path(str(table.router))
        router = read_router(folder)
        old = json.loads(router.read("report.json")[:])
        files = rewritten_card(router.config, report.of_table(table.name), old, _command(options))
        rewrite_router(folder, router, files)
        print(f"model card: {folder / 'README.md'}")


def _command(options: Options) -> str:
    """Return the command line; of files and folders only the name, as reports are passed on."""
    words = ["python", "-m", "zooter_lite.evaluate"]
    for field in fields(Options):
        value: Any = getattr(options, field.name)
        if value == field.default or field.name == "cache":
            continue
        if field.name in ("router", "data", "suite", "also", "report", "json"):
            value = ",".join(Path(part).name for part in _listed(value))
        words += [f"--{field.name}", *([] if value is True else [str(value)])]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(run(Options, main, "evaluate", __doc__ or ""))
