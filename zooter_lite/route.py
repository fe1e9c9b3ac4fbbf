"""Route files of prompts: every row kept, in order, with its expert added.

  python -m zooter_lite.route --router exports/mine --input prompts.csv --output routed.csv
  python -m zooter_lite.route --router R --input 'logs/*.jsonl.gz' --output routed/
  cat p.jsonl | python -m zooter_lite.route --router R --input - --output - --format jsonl

Appends the columns 'expert' and 'probability'. A row whose prompt is empty is kept and
gets neither. Rows are streamed: memory does not grow with the file. An output appears
when it is complete; a run that was killed goes on where it stopped when the same command
is given again. A prompt gets the same answer whatever rows stand around it, and however
the work is divided.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Optional

from tqdm import tqdm

from zooter_lite.bulk.block import Settings
from zooter_lite.bulk.engine import run_local
from zooter_lite.bulk.inputs import plan
from zooter_lite.bulk.job import Engine, run_job
from zooter_lite.bulk.summary import read_costs, summary, table_costs
from zooter_lite.bulk.work import Worker
from zooter_lite.cli import option, run
from zooter_lite.errors import DataError
from zooter_lite.files.records import MAX_RECORD
from zooter_lite.files.rows import STANDARD
from zooter_lite.files.store import is_url
from zooter_lite.untrusted.limits import cores

MAX_WORKERS = 1024


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.route`."""

    router: str = option(help="router directory", metavar="DIR")
    input: str = option(
        help="prompts: .csv, .jsonl (also .gz, .bz2, .xz, .zst) or .parquet; a folder or a "
        "'pattern*' of such files; a URL that fsspec opens; - for standard input",
        metavar="FILE",
    )
    output: str = option(
        help="file to write, of the same format; a folder where the input is one or a pattern; "
        "- for standard output",
        metavar="FILE",
    )
    column: str = option("query", help="column that holds the prompt")
    format: Optional[str] = option(
        None, help="format of standard input and output", kind=str, choices=("csv", "jsonl")
    )
    all_probabilities: bool = option(False, help="add one column 'p:<expert>' per expert")
    on_error: Literal["fail", "skip", "keep"] = option(
        "fail",
        help="a row that cannot be routed ends the run; or is left out; or is kept without an "
        "expert. Those left out or kept stand in OUTPUT.rejects.jsonl with the reason",
    )
    fallback: Optional[str] = option(
        None, help="expert that gets the prompts below --min-probability", kind=str
    )
    min_probability: float = option(
        0.0, help="least probability of an expert that is trusted; see --fallback"
    )
    costs: Optional[str] = option(
        None,
        help="JSON object from expert to the cost of one prompt, for the summary (default: the "
        "mean costs of the reward table, if it had any)",
        kind=str,
        metavar="FILE",
    )
    force: bool = option(False, help="overwrite an existing output")
    precision: Literal["fp32", "int8", "auto"] = option(
        "fp32", help="int8 is faster; auto is int8 with close calls answered again in fp32"
    )
    workers: Optional[int] = option(
        None,
        help="processes or actors, each with a router of its own (default: cores / threads; with "
        "--engine ray from one to as many as the cluster has room for)",
        kind=int,
    )
    threads: int = option(1, help="threads of one forward pass")
    engine: Literal["local", "ray"] = option(
        "local", help="where the workers run: processes on this machine, or actors of Ray Data"
    )
    ray_address: Optional[str] = option(
        None,
        help="running cluster to use with --engine ray; auto is one of this machine (default: "
        "$RAY_ADDRESS, or one that is started for the job)",
        kind=str,
        metavar="HOST:PORT",
    )
    block: int = option(
        512, help="KiB of input that a worker takes at a time, and that a kill can cost"
    )


def main(options: Options) -> None:
    """Run the job and tell what it did."""
    _check(options)
    settings = Settings(
        options.router,
        options.precision,
        options.threads,
        options.column,
        options.all_probabilities,
        options.on_error,
        options.fallback,
        options.min_probability,
    )
    tasks = plan(options.input, options.output, options.format)
    if len(tasks) == 1 and options.output == tasks[0].target:
        _check_target(options.output, force=options.force)
    worker = Worker(settings)
    costs = read_costs(options.costs, worker.experts) if options.costs else None
    with tqdm(desc="routing", unit=" rows", disable=None, file=sys.stderr) as bar:
        done = run_job(
            tasks,
            worker,
            settings,
            _engine(options),
            options.block * 1024,
            force=options.force,
            progress=bar.update,
        )
    costs = costs or table_costs(worker.config)
    lines = summary(done, worker.config, costs, repeats=options.precision == "auto")
    print(*lines, sep="\n", file=sys.stderr)


def _engine(options: Options) -> Engine:
    if options.engine == "ray":
        from zooter_lite.bulk.ray_engine import run_ray

        return partial(run_ray, address=options.ray_address, workers=options.workers)
    return partial(run_local, workers=options.workers or max(1, cores() // options.threads))


def _check(options: Options) -> None:
    most = MAX_RECORD // 1024
    if not 1 <= options.block <= most:
        raise DataError(f"--block {options.block}: expected a number from 1 to {most}")
    if options.workers is not None and not 1 <= options.workers <= MAX_WORKERS:
        raise DataError(f"--workers {options.workers}: expected a number from 1 to {MAX_WORKERS}")
    if not 0 <= options.min_probability <= 1:
        raise DataError(f"--min-probability {options.min_probability}: expected 0 to 1")
    if options.ray_address is not None and options.engine != "ray":
        raise DataError("--ray-address is for --engine ray")
    if (options.fallback is None) != (options.min_probability == 0):
        raise DataError("--fallback and --min-probability are needed together")


def _check_target(path: str, *, force: bool) -> None:
    """Refuse what a file cannot replace, before anything is loaded."""
    if path == STANDARD or is_url(path):
        return
    target = Path(path)
    try:
        there = target.exists()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if there and not force:
        raise DataError(f"{path}: exists already; --force overwrites it")
    if there and not target.is_dir() and not target.is_file():
        raise DataError(f"{path}: expected a file, found a device or pipe; - is standard output")
    if target.is_dir() or not target.parent.is_dir():
        raise DataError(f"{path}: expected a file name in an existing folder")


if __name__ == "__main__":
    sys.exit(run(Options, main, "route", __doc__ or ""))
