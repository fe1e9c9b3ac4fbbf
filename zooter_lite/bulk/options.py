"""How files are routed: every option of the command, documented once.

argparse-dataclass reads these annotations, so this module keeps them real: no
`from __future__ import annotations`, and `Optional` for what may be left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Optional

from zooter_lite.cli import check_range, option, separator_option
from zooter_lite.errors import DataError
from zooter_lite.files.records import MAX_RECORD
from zooter_lite.router.decision import MOST_WEIGHT

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
    column: str = option(
        "query",
        help="column or key that holds the prompt: text, or a chat (a list of messages, also as "
        "JSON in a cell); body.messages is a key within another",
    )
    context: Optional[str] = option(
        None,
        help="which turns of a chat are the prompt (default: as at the fit)",
        choices=("last", "user", "all"),
    )
    separator: str = separator_option()
    format: Optional[str] = option(
        None, help="format of standard input and output", choices=("csv", "jsonl")
    )
    all_probabilities: bool = option(False, help="add one column 'p:<expert>' per expert")
    on_error: Literal["fail", "skip", "keep"] = option(
        "fail",
        help="a row that cannot be routed ends the run; or is left out; or is kept without an "
        "expert. Those left out or kept stand in OUTPUT.rejects.jsonl with the reason",
    )
    point: Optional[str] = option(
        None,
        help="operating point of the router, such as quality, match, economy or recommended "
        "(default: the router's own)",
    )
    budget: Optional[float] = option(
        None, help="mean cost of a prompt that the choices keep to, on the first block of the input"
    )
    floor: Optional[float] = option(
        None, help="mean reward that the choices keep to at least cost, as on train"
    )
    cost_weight: Optional[float] = option(
        None, help="choose by reward - WEIGHT * cost, as expected", metavar="WEIGHT"
    )
    allowed: Optional[str] = option(
        None, help="experts that may be chosen (default: all)", metavar="EXPERT,EXPERT"
    )
    models: Optional[str] = option(
        None,
        help="pool file: the input is a batch file of a vendor's API (.jsonl, prompts in "
        "body.messages), and so is the output, with body.model set to the chosen expert's model",
        metavar="FILE",
    )
    split_by: Optional[str] = option(
        None,
        help="with --models: the requests of each expert in a file of their own beside the output, "
        "OUTPUT.EXPERT.jsonl without the output's own suffix; the output lists these files",
        choices=("expert",),
    )
    pool: Optional[str] = option(
        None,
        help="pool file with context_window of the experts: a prompt goes to none that is too "
        "small for it",
        metavar="FILE",
    )
    min_reward: Optional[float] = option(
        None, help="least expected reward of a choice; below it the fallback decides"
    )
    max_novelty: Optional[float] = option(
        None,
        help="share of the training queries, 0 to 1, that may be less odd than a prompt; beyond "
        "it the fallback decides",
    )
    min_probability: float = option(
        0.0,
        help="least probability that the choice is the best expert, which says little of the "
        "reward; below it the fallback decides",
    )
    fallback: Optional[str] = option(
        None,
        help="expert that then gets a prompt (default: the best single expert on train, of those "
        "allowed)",
    )
    costs: Optional[str] = option(
        None,
        help="JSON object from expert to the mean cost of a prompt, where it is another than at "
        "the fit: expected costs follow, and the summary",
        metavar="FILE",
    )
    prices: Optional[str] = option(
        None,
        help="pool file with the prices of now, for a router that was fitted with --prices",
        metavar="FILE",
    )
    force: bool = option(False, help="overwrite an existing output")
    precision: Literal["fp32", "fp16", "int8"] = option(
        "fp32", help="int8 is faster; fp16 is for a GPU"
    )
    workers: Optional[int] = option(
        None,
        help="processes or actors, each with a router of its own (default: cores / threads, or "
        "one on a GPU; with --engine ray from one to as many as the cluster has room for)",
    )
    threads: int = option(1, help="threads of one forward pass")
    engine: Literal["local", "ray"] = option(
        "local", help="where the workers run: processes on this machine, or actors of Ray Data"
    )
    ray_address: Optional[str] = option(
        None,
        help="running cluster to use with --engine ray; auto is one of this machine (default: "
        "$RAY_ADDRESS, or one that is started for the job)",
        metavar="HOST:PORT",
    )
    block: int = option(
        512, help="KiB of input that a worker takes at a time, and that a kill can cost"
    )

    def added(self, experts: Sequence[str], *, costs: bool = False) -> tuple[str, ...]:
        """Names of the columns that routing adds, by a router that predicts costs or does not."""
        probabilities = [f"p:{expert}" for expert in experts] if self.all_probabilities else []
        expected = ("expected_reward", "expected_cost") if costs else ()
        return ("expert", "probability", *expected, *probabilities)

    @property
    def doubts(self) -> dict[str, Optional[float]]:
        """Thresholds beyond which the fallback decides; None for one that is off."""
        return {
            "min_reward": self.min_reward,
            "max_novelty": self.max_novelty,
            "min_probability": self.min_probability or None,
        }

    def check(self) -> None:
        """Refuse what no job can be done with: a DataError that names the options."""
        check_range("--block", self.block, 1, MAX_RECORD // 1024)
        check_range("--workers", self.workers, 1, MAX_WORKERS)
        check_range("--min-probability", self.min_probability, 0, 1)
        check_range("--max-novelty", self.max_novelty, 0, 1)
        check_range("--min-reward", self.min_reward, -MOST_WEIGHT, MOST_WEIGHT)
        check_range("--floor", self.floor, -MOST_WEIGHT, MOST_WEIGHT)
        check_range("--budget", self.budget, 0, MOST_WEIGHT)
        check_range("--cost-weight", self.cost_weight, 0, MOST_WEIGHT)
        for first, second in (
            *combinations(("point", "budget", "floor", "cost_weight"), 2), ("costs", "prices"),
        ):  # fmt: skip
            if getattr(self, first) is not None and getattr(self, second) is not None:
                names = f"--{first} and --{second}".replace("_", "-")
                raise DataError(f"{names}: expected one of them")
        if self.floor is not None and self.allowed is not None:
            raise DataError("--floor with --allowed: the curve of train has every expert")
        if self.fallback is not None and not any(v is not None for v in self.doubts.values()):
            raise DataError(
                "--fallback: expected with --min-reward, --max-novelty or --min-probability"
            )
        if self.split_by is not None and self.models is None:
            raise DataError("--split-by is for batch files, with --models")
        if self.ray_address is not None and self.engine != "ray":
            raise DataError("--ray-address is for --engine ray")
