"""One block in, its part of the output out: what every worker does, wherever it runs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from zooter_lite import __version__
from zooter_lite.ask.prices import mean_costs, windows_of
from zooter_lite.bulk.batch_file import BatchRows
from zooter_lite.bulk.block import Bad, Block, Cells, Result
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.parquet import ParquetRows
from zooter_lite.bulk.tally import Tally, read_costs
from zooter_lite.bulk.text_rows import CsvRows, JsonRows
from zooter_lite.errors import DataError, RouterError
from zooter_lite.files.places import Source, packer
from zooter_lite.files.records import SHOWN
from zooter_lite.router.decision import Choices, Predictions, choose
from zooter_lite.router.directory.config import Point, RouterConfig
from zooter_lite.router.directory.store import ESTIMATES
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Recent

REMEMBERED = 2**16  # prompts whose choices are kept, and characters of them all
REMEMBERED_CHARACTERS = 2**24
DIGITS = 6  # behind the point; of a cost, which may be tiny, in all
_ROWS: dict[str, Callable[[Block, Mapping[str, str]], CsvRows | JsonRows | ParquetRows]] = {
    "csv": CsvRows,
    "jsonl": JsonRows,
    "parquet": ParquetRows,
}


def rows_of(block: Block, refused: Mapping[str, str]) -> CsvRows | JsonRows | ParquetRows:
    """Read the rows of a block; some prompts are refused, each for a reason."""
    return (BatchRows if block.task.models else _ROWS[block.task.source.kind])(block, refused)


def _reject(source: Source, row: Bad) -> str:
    """One line of the file of rejected rows."""
    line: dict[str, Any] = {"file": source.name, source.unit: row.line, "reason": row.reason}
    if row.raw:
        line |= {"bytes": row.size, "text": row.raw[:SHOWN].decode("utf-8", "backslashreplace")}
    return json.dumps(line, ensure_ascii=False) + "\n"


def versions() -> dict[str, str]:
    """Versions of the packages on which the last bits of a probability depend."""
    return {"zooter-lite": __version__, "onnxruntime": onnxruntime.__version__}


ODD = 0.99  # novelty beyond which a prompt is unlike anything in training


class Choice(NamedTuple):
    """What is decided of a prompt."""

    cells: Cells
    fallback: bool  # whether the fallback got it
    odd: bool  # odder than nearly all training queries
    costs: tuple[float, float, float]  # of the choice, the best single expert, the cheapest
    refusal: str = ""  # why it cannot be routed


def costs_of(options: Options) -> dict[str, float] | None:
    """Mean costs of now by expert, for a router that weighs costs; None where it keeps its own.

    DataError where the file lacks an expert, or the router cannot follow prices.
    """
    if options.costs is None and options.prices is None:
        return None
    config = RouterConfig.read(Path(options.router))
    training = config.training
    if options.prices is not None:
        if training.tokens_in is None or training.tokens_out is None:
            raise DataError(f"--prices: {options.router} was not fitted with --prices")
        return mean_costs(options.prices, config.experts, training.tokens_in, training.tokens_out)
    known = read_costs(str(options.costs), config.experts)
    return known if ESTIMATES in config.files and training.mean_costs is not None else None


class Worker:
    """Routes blocks with a router of its own; one per process.

    The same prompt gets the same cells whatever prompts come with it (`exact`), so what
    is remembered changes no output.

    Parameters
    ----------
    options
        Of the job.
    at_once
        Forward passes side by side; None for as many as the cores allow.

    Raises
    ------
    RouterError
        The router is damaged, or lacks the precision.
    DataError
        A name is none of its experts or points, or it does not predict what is asked.
    """

    def __init__(self, options: Options, at_once: int | None = None) -> None:
        self._options = options
        self.router = Router.load(
            options.router,
            options.precision,
            options.threads,
            remember=0,
            exact=True,
            at_once=at_once,
            costs=costs_of(options),
        )
        self.experts = self.router.experts
        estimates = self.router.head.estimates
        self.predicts_costs = estimates is not None and estimates.costs is not None
        self.added = options.added(self.experts, costs=self.predicts_costs)
        self._point = self._operating_point()
        allowed = options.allowed
        self._allowed = None if allowed is None else [n.strip() for n in allowed.split(",")]
        doubts = options.doubts
        self._doubt = None
        if any(limit is not None for limit in doubts.values()):
            fallback = options.fallback or self._best_allowed()
            self._doubt = self.router.doubt_for(fallback, **doubts)
            if self._allowed is not None and fallback not in self._allowed:
                raise DataError(f"--fallback {fallback}: is not among those of --allowed")
        self._windows = windows_of(options.pool, self.experts) if options.pool else None
        self._single = self.experts.index(self.router.config.best_single)
        self.decide(self.router.predict([]), [])  # refuses what the router cannot do
        self._recent: Recent[Choice] = Recent(REMEMBERED, REMEMBERED_CHARACTERS)

    def work(self, block: Block) -> Result:
        """Route a block.

        Raises
        ------
        DataError
            A row cannot be routed, and the job is to fail then; with file, line and reason.
        """
        piece, task, mode = block.piece, block.task, self._options.on_error
        before, cut = self.router.repeats, self.router.tokens.cut
        rows = rows_of(block, {})
        choices, refused = self._chosen(_different(rows.prompts))
        if refused:
            rows = rows_of(block, refused)
        if rows.bad and mode == "fail":
            row = rows.bad[0]
            raise DataError(f"{task.source.name}, {task.source.unit} {row.line}: {row.reason}")
        tally = Tally(rows=len(rows.prompts), rejected=len(rows.bad), unread=rows.unread)
        tally.kept = len(rows.bad) if mode == "keep" else 0
        data = rows.output(self._cells(rows.prompts, choices, tally), keep=mode == "keep")
        tally.empty = tally.rows - tally.routed - tally.rejected
        tally.repeated, tally.computed = (
            now - then for now, then in zip(self.router.repeats, before, strict=True)
        )
        tally.cut = self.router.tokens.cut - cut
        rejects = "".join(_reject(task.source, row) for row in rows.bad)
        return Result(
            packer(task.packing)(data) if data else b"",
            rejects.encode("utf-8", "backslashreplace"),  # names of files may be no UTF-8
            tally,
            piece.end,
            piece.last,
            block.final,
        )

    def _best_allowed(self) -> str:
        """Return the best single expert on train of those that are allowed."""
        means = zip(self.router.config.training.mean_rewards, self.experts, strict=True)
        known = [pair for pair in means if self._allowed is None or pair[1] in self._allowed]
        return max(known, key=lambda pair: pair[0], default=(0.0, self.experts[0]))[1]

    def _operating_point(self) -> Point:
        options = self._options
        if options.cost_weight is not None:
            return Point("cost weight", options.cost_weight)
        if options.budget is not None or options.floor is not None:
            return self.router.point_for(budget=options.budget, floor=options.floor)
        return self.router.point(options.point)

    def decide(self, predicted: Predictions, prompts: Sequence[str]) -> tuple[Choices, list[str]]:
        """Choose by the options of the job; beside it, why a prompt cannot be routed, or ""."""
        eligible = self.router.eligible(
            predicted, prompts, allowed=self._allowed, windows=self._windows
        )
        refusals = [""] * len(prompts)
        if eligible is not None:
            for row in np.flatnonzero(~eligible.any(axis=1)).tolist():
                refusals[row] = "no expert is eligible: the prompt is longer than any takes"
                eligible[row] = True
        return choose(predicted, self._point, self.experts, eligible, self._doubt), refusals

    def weight_within(self, budget: float, block: Block) -> float:
        """Find the cost weight at which the prompts of a block keep to a mean cost."""
        routed = list(self._chosen(_different(rows_of(block, {}).prompts))[0])
        point = self.router.point_for(budget=budget, queries=routed, allowed=self._allowed)
        return point.cost_weight

    def _cells(
        self, prompts: Sequence[str], choices: Mapping[str, Choice], tally: Tally
    ) -> list[Cells]:
        """Return the added cells of each prompt, None where it is empty; count them."""
        made = [choices[prompt] for prompt in prompts if prompt in choices]
        tally.experts = dict.fromkeys(self.experts, 0) | Counter(one.cells[0] for one in made)
        tally.fallbacks = sum(one.fallback for one in made)
        tally.odd = sum(one.odd for one in made)
        spent = [math.fsum(costs) for costs in zip(*(one.costs for one in made), strict=True)]
        tally.cost, tally.cost_single, tally.cost_cheapest = spent or (0.0, 0.0, 0.0)
        nothing = (None,) * len(self.added)
        return [choices[prompt].cells if prompt in choices else nothing for prompt in prompts]

    def _chosen(self, prompts: list[str]) -> tuple[dict[str, Choice], dict[str, str]]:
        """Return the choices of prompts, and of those that cannot be routed the reasons.

        RouterError where it fails on each of several.
        """
        try:
            made = self.choose(prompts)
        except RouterError as error:
            if len(prompts) == 1:
                return {}, {prompts[0]: str(error)}
            middle = len(prompts) // 2
            halves = [self._chosen(part) for part in (prompts[:middle], prompts[middle:])]
            (first, wrong), (second, broken) = halves
            if not first and not second:
                raise
            return first | second, wrong | broken
        refused = {prompt: one.refusal for prompt, one in made.items() if one.refusal}
        return {p: one for p, one in made.items() if p not in refused}, refused

    def choose(self, prompts: Sequence[str]) -> dict[str, Choice]:
        """Return the choice of each of different prompts, computed where it is not remembered."""
        known = self._recent.get(prompts)
        unknown = [prompt for prompt in prompts if prompt not in known]
        computed = dict(zip(unknown, self._compute(unknown), strict=True))
        self._recent.put(computed)
        return known | computed

    def _compute(self, prompts: list[str]) -> Iterable[Choice]:
        if not prompts:
            return []
        predicted = self.router.predict(prompts)
        made, refusals = self.decide(predicted, prompts)
        rows, best = np.arange(len(prompts)), made.experts
        numbers = [_rounded(predicted.probs[rows, best])]
        costs = np.zeros((len(prompts), 3))
        if predicted.costs is not None and predicted.rewards is not None:
            each = predicted.costs.astype(np.float64)
            paid = [float(f"{cost:.{DIGITS}g}") for cost in each[rows, best].tolist()]
            numbers += [_rounded(predicted.rewards[rows, best]), paid]
            costs = np.stack([each[rows, best], each[:, self._single], each.min(axis=1)], axis=1)
        numbers += map(_rounded, predicted.probs.T if self._options.all_probabilities else ())
        cells = zip(map(self.experts.__getitem__, best.tolist()), *numbers, strict=True)
        odd = np.zeros(len(prompts)) if predicted.novelty is None else predicted.novelty
        flags = zip((made.doubts >= 0).tolist(), (odd > ODD).tolist(), refusals, strict=True)
        return [
            Choice(own, fallback, strange, (spent[0], spent[1], spent[2]), refusal)
            for own, (fallback, strange, refusal), spent in zip(
                cells, flags, costs.tolist(), strict=True
            )
        ]


def _different(prompts: Iterable[str]) -> list[str]:
    """Return each prompt once, in order, without those that are empty."""
    return [prompt for prompt in dict.fromkeys(prompts) if prompt.strip()]


def _rounded(column: NDArray[np.floating]) -> list[float]:
    numbers: list[float] = np.round(column.astype(np.float64), DIGITS).tolist()
    return numbers
