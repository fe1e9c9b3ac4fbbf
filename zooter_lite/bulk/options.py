"""How files are routed: every option of the command, documented once.

argparse-dataclass reads these annotations, so this module keeps them real: no
`from __future__ import annotations`, and `Optional` for what may be left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Optional

from zooter_lite.cli import check_range, option, separator_option
from zooter_lite.errors import DataError
from zooter_lite.files.records import MAX_RECORD

MAX_WORKERS = 1024


@dataclass(frozen=True)
class Options:
    """Options of a bulk job.

    Each field's help, as `python -m zooter_lite.route --help` shows it, is its documentation.
    """

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
    separator: str = separator_option()
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
        help="processes or actors, each with a router of its own (default: cores / threads, or "
        "one on a GPU; with --engine ray from one to as many as the cluster has room for)",
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

    def added(self, experts: Sequence[str]) -> tuple[str, ...]:
        """Names of the columns that routing adds."""
        probabilities = [f"p:{expert}" for expert in experts] if self.all_probabilities else []
        return ("expert", "probability", *probabilities)

    def check(self) -> None:
        """Refuse what no job can be done with.

        Raises
        ------
        DataError
            A number outside of its range, or an option without the one that it belongs to.
        """
        check_range("--block", self.block, 1, MAX_RECORD // 1024)
        check_range("--min-probability", self.min_probability, 0, 1)
        if self.workers is not None:
            check_range("--workers", self.workers, 1, MAX_WORKERS)
        if self.ray_address is not None and self.engine != "ray":
            raise DataError("--ray-address is for --engine ray")
        if (self.fallback is None) != (self.min_probability == 0):
            raise DataError("--fallback and --min-probability are needed together")
