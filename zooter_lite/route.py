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
from typing import Literal, Optional

from zooter_lite.bulk.block import Settings
from zooter_lite.bulk.job import Job, route_files
from zooter_lite.cli import bar, check_range, option, run
from zooter_lite.errors import DataError
from zooter_lite.files.records import MAX_RECORD

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
    check_range("--block", options.block, 1, MAX_RECORD // 1024)
    check_range("--min-probability", options.min_probability, 0, 1)
    if options.workers is not None:
        check_range("--workers", options.workers, 1, MAX_WORKERS)
    if options.ray_address is not None and options.engine != "ray":
        raise DataError("--ray-address is for --engine ray")
    if (options.fallback is None) != (options.min_probability == 0):
        raise DataError("--fallback and --min-probability are needed together")
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
    job = Job(
        options.input,
        options.output,
        settings,
        options.format,
        options.block * 1024,
        options.force,
        options.costs,
        options.engine,
        options.workers,
        options.ray_address,
    )
    with bar(None, "rows routed") as progress:
        done = route_files(job, progress.update)
    print(*done.summary(), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(Options, main, "route", __doc__ or ""))
