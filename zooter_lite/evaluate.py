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
import sys
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Optional

from zooter_lite.cli import as_command, check_out, check_range, option, run, separator_option
from zooter_lite.compare.evaluation import evaluate_suite
from zooter_lite.compare.routed import Plan
from zooter_lite.compare.suite import SplitChoice, TableChoice, read_suite
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.files.dialect import check_separator
from zooter_lite.recipe import long_columns, names_of
from zooter_lite.report.card import rewrite_card
from zooter_lite.report.terminal import conclusion, ranking_table
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
        None, help="evaluate the tables of this file, each with its router", metavar="FILE"
    )
    split: Optional[str] = option(
        None, help="evaluate this split alone (default: every one except train)"
    )
    subsets: Optional[str] = option(None, help="evaluate these subsets alone, separated by commas")
    also: Optional[str] = option(
        None,
        help="compare with these router directories too, over the same experts; with commas",
        metavar="DIRS",
    )
    report: Optional[str] = option(
        None, help="write everything as one HTML page to this file", metavar="FILE"
    )
    json: Optional[str] = option(None, help="write the same figures to this file", metavar="FILE")
    rivals: Literal["auto", "on", "off"] = option(
        "auto",
        help="fit trained baselines on the rows of train (regressions, SVM, MLP, clusters, "
        "matrix factorisation); auto: with --report and --suite",
    )
    prices: str = option(
        "",
        help="pool file with the prices of now: what if costs were these, times the tokens of the "
        "table's prompts and responses",
        metavar="FILE",
    )
    card: bool = option(
        False, help="write what is found into the router directory: report.json, picture, card"
    )
    precision: Literal["fp32", "fp16", "int8"] = option(
        "fp32", help="of the router that is evaluated"
    )
    seed: int = option(0, help="of folds and bootstrap")
    cache: str = option(
        "",
        help="where fit keeps embeddings (default: $ZOOTER_CACHE or ~/.cache/zooter-lite), taken "
        "for fp32 after a check against the router's graph; none: embed everything again",
        metavar="DIR",
    )


def main(options: Options) -> None:
    """Check, evaluate, print, write."""
    _check(options)
    suite = read_suite(options.suite, options.data) if options.suite else [_table(options)]
    auto = bool(options.report or options.suite)
    rivals = options.rivals == "on" or (options.rivals == "auto" and auto)
    plan = (rivals, options.precision, options.seed, options.cache, options.prices)
    report = evaluate_suite(suite, Plan(*plan))
    command = _command(options)
    report = replace(report, made={"command": command, **report.made})
    print(*report.notes, sep="\n", end="\n" if report.notes else "")
    for table in suite:
        print(f"router: {table.router}, {options.precision}")
        if options.suite:
            print(f"table: {table.source}")
        print(conclusion(report.of_table(table.name)))
    if options.suite:
        print(ranking_table(report.ranking), "", sep="\n")
    if options.json is not None:
        with atomic_text(options.json) as stream:
            json.dump(report.to_dict(), stream, sort_keys=True, indent=1, ensure_ascii=False)
            stream.write("\n")
    if options.report is not None:
        report.save(options.report)
        print(f"report: {options.report}")
    for table in suite if options.card else []:
        rewrite_card(Path(str(table.router)), report.of_table(table.name), command)
        print(f"model card: {Path(str(table.router)) / 'README.md'}")


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
    for path, suffixes in ((options.report, (".html", ".htm")), (options.json, ("",))):
        if path is not None:
            check_out(path, suffixes)
    if options.report is not None and find_spec("jinja2") is None:
        raise MissingPackageError("jinja2", "report", "the HTML report")


def _table(options: Options) -> TableChoice:
    """Return the one table that the options name."""
    only = names_of(options.subsets or "")
    return TableChoice(
        name=table_name(options.data),
        data=options.data,
        router=options.router,
        splits=[SplitChoice(options.split, only)] if options.split else [],
        only=only,
        also=names_of(options.also or ""),
        long=long_columns(options.long),
        separator=options.separator,
    )


def _command(options: Options) -> str:
    """Return the command line; of files and folders only the name, as reports are passed on."""
    given = asdict(options) | {"cache": ""}
    for name in ("router", "data", "suite", "also", "report", "json", "prices"):
        given[name] = given[name] and ",".join(Path(part).name for part in names_of(given[name]))
    return as_command("evaluate", given, {field.name: field.default for field in fields(options)})


if __name__ == "__main__":
    sys.exit(run(Options, main, "evaluate", __doc__ or ""))
