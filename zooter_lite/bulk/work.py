"""One block in, its part of the output out: what every worker does, wherever it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from zooter_lite import __version__
from zooter_lite.ask.prices import mean_costs, windows_of
from zooter_lite.bulk.batch_file import BatchRows
from zooter_lite.bulk.block import Block, Cells, Result, Tally
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.parquet import ParquetRows
from zooter_lite.bulk.rows import CsvRows, JsonRows, Rows
from zooter_lite.errors import DataError
from zooter_lite.files.lines import json_object
from zooter_lite.files.places import Source, packer, refusals
from zooter_lite.files.records import SHOWN
from zooter_lite.router.decision import Predictions, choose
from zooter_lite.router.directory.config import Point, RouterConfig
from zooter_lite.router.directory.store import ESTIMATES
from zooter_lite.router.router import Router

DIGITS = 6  # behind the point; of a cost, which may be tiny, in all
ODD = 0.99  # novelty beyond which a prompt is unlike anything in training
_NOBODY = "no expert is eligible: the prompt is longer than any takes"


def rows_of(block: Block) -> Rows:
    """Read the rows of a block."""
    if block.task.models:
        return BatchRows(block)
    if block.task.source.kind == "parquet":
        return ParquetRows(block)
    return CsvRows(block) if block.task.source.kind == "csv" else JsonRows(block)


def versions() -> dict[str, str]:
    """Versions of the packages on which the last bits of a probability depend."""
    return {"zooter-lite": __version__, "onnxruntime": onnxruntime.__version__}


def read_costs(path: str, experts: Sequence[str]) -> dict[str, float]:
    """Cost of one prompt by expert, from a JSON object; DataError where one is missing."""
    with refusals(path, "no JSON object of costs"):
        costs: dict[str, Any] = json_object(Path(path).read_text(encoding="utf-8"))
    for expert in experts:
        cost: Any = costs.get(expert)
        if type(cost) not in (int, float) or not 0 <= cost <= sys.float_info.max:
            raise DataError(f"{path}: {expert!r} has the cost {cost!r}; expected a number from 0")
    return {expert: float(costs[expert]) for expert in experts}


def told_costs(options: Options, config: RouterConfig) -> dict[str, float] | None:
    """Mean cost of a prompt by expert as --costs or --prices tell it; None without them."""
    training = config.training
    if options.costs is not None:
        return read_costs(options.costs, config.experts)
    if options.prices is None:
        return None
    if training.tokens_in is None or training.tokens_out is None:
        raise DataError(f"--prices: {options.router} was not fitted with --prices")
    return mean_costs(options.prices, config.experts, training.tokens_in, training.tokens_out)


class Worker:
    """Routes blocks with a router of its own; one per process.

    The same prompt gets the same cells whatever prompts come with it (`exact`). `at_once` forward
    passes run side by side; None stands for as many as the cores allow. RouterError where the
    router is damaged or lacks the precision; DataError where a name is none of its experts or
    points, or it does not predict what is asked.
    """

    def __init__(self, options: Options, at_once: int | None = None) -> None:
        self._options = options
        config = RouterConfig.read(Path(options.router))
        told, known = told_costs(options, config), config.training.mean_costs
        weighs = ESTIMATES in config.files and known is not None
        self.router = Router.load(
            options.router,
            options.precision,
            options.threads,
            remember=0,
            exact=True,
            at_once=at_once,
            costs=told if weighs or options.prices else None,
        )
        self.experts = self.router.experts
        estimates = self.router.head.estimates
        self._predicts_costs = estimates is not None and estimates.costs is not None
        means = list(told.values()) if told else known
        self._mean_costs = None if means is None or None in means else np.asarray(means, float)
        self.added = options.added(self.experts, costs=self._predicts_costs)
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
        self._single = self.experts.index(config.best_single)
        self.choose([])  # refuses what the router cannot do

    def work(self, block: Block) -> Result:
        """Route a block; DataError where a row cannot be routed, and the job is to fail then."""
        source, mode, router = block.task.source, self._options.on_error, self.router
        before = router.tokens.cut
        rows = rows_of(block)
        asked = [row for row, prompt in enumerate(rows.prompts) if prompt.strip()]
        prompts = [rows.prompts[row] for row in asked]
        chosen, tally = self.choose(prompts)
        cells: list[Cells] = [(None,) * len(self.added)] * len(rows.prompts)
        for row, own in zip(asked, chosen, strict=True):
            if own is None:
                rows.problems[row] = _NOBODY
            else:
                cells[row] = own
        bad = [(*rows.origin(row), reason) for row, reason in sorted(rows.problems.items())]
        if bad and mode == "fail":
            line, _, _, reason = bad[0]
            raise DataError(f"{source.name}, {source.unit} {line}: {reason}")
        data = rows.output(cells, keep=mode == "keep")
        tally = replace(
            tally,
            rows=len(cells),
            empty=len(cells) - tally.routed - len(bad),
            rejected=len(bad),
            computed=len(set(prompts)),
            cut=router.tokens.cut - before,
            unread=rows.unread,
        )
        return Result(
            packer(block.task.packing)(data) if data else b"",
            b"".join(_reject(source, *one) for one in bad),
            tally,
            block.piece.end,
            block.piece.last,
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

    def weight_within(self, budget: float, block: Block) -> float:
        """Find the cost weight at which the prompts of a block keep to a mean cost."""
        prompts = [prompt for prompt in dict.fromkeys(rows_of(block).prompts) if prompt.strip()]
        point = self.router.point_for(budget=budget, queries=prompts, allowed=self._allowed)
        return point.cost_weight

    def choose(self, prompts: Sequence[str]) -> tuple[list[Cells | None], Tally]:
        """Choose for each prompt by the options of the job, and count what was chosen.

        None stands for a prompt that no expert may have.
        """
        router, predicted = self.router, self.router.predict(prompts)
        anyone = router.eligible(predicted, prompts, allowed=self._allowed, windows=self._windows)
        some = np.ones(len(prompts), dtype=bool)
        if anyone is not None:
            some = np.asarray(anyone.any(axis=1))
            anyone[~some] = True
        made = choose(predicted, self._point, self.experts, anyone, self._doubt)
        rows, best = np.arange(len(prompts)), made.experts
        costs = self._costs(predicted)
        numbers = [_rounded(predicted.probs[rows, best])]
        if self._predicts_costs and predicted.rewards is not None:
            paid = [float(f"{cost:.{DIGITS}g}") for cost in costs[rows, best].tolist()]
            numbers += [_rounded(predicted.rewards[rows, best]), paid]
        numbers += map(_rounded, predicted.probs.T if self._options.all_probabilities else ())
        names = map(self.experts.__getitem__, best.tolist())
        cells = zip(names, *numbers, strict=True)
        odd = np.zeros(len(rows)) if predicted.novelty is None else predicted.novelty
        counts = np.bincount(best[some], minlength=len(self.experts)).tolist()
        return [own if ok else None for own, ok in zip(cells, some, strict=True)], Tally(
            fallbacks=int((made.doubts >= 0)[some].sum()),
            odd=int((odd > ODD)[some].sum()),
            cost=float(costs[rows, best][some].sum()),
            cost_single=float(costs[some, self._single].sum()),
            cost_cheapest=float(costs[some].min(axis=1).sum()),
            experts=dict(zip(self.experts, counts, strict=True)),
        )

    def _costs(self, predicted: Predictions) -> NDArray[np.float64]:
        """(n, n_experts) costs as predicted, or else the mean ones; 0 where nobody knows them."""
        if predicted.costs is not None:
            return predicted.costs.astype(np.float64)
        means = np.zeros(len(self.experts)) if self._mean_costs is None else self._mean_costs
        return np.broadcast_to(means, predicted.probs.shape)


def _rounded(column: NDArray[np.floating]) -> list[float]:
    numbers: list[float] = np.round(column.astype(np.float64), DIGITS).tolist()
    return numbers


def _reject(source: Source, line: int, raw: bytes, size: int, reason: str) -> bytes:
    """Return the line that tells of a row that could not be routed."""
    told: dict[str, object] = {"file": source.name, source.unit: line, "reason": reason}
    if raw:
        told |= {"bytes": size, "text": raw[:SHOWN].decode("utf-8", "backslashreplace")}
    text = json.dumps(told, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # names of files may be no UTF-8
