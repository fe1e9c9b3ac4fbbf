"""A job: files planned, blocks through an engine, outputs that appear when they are complete."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, cast

from zooter_lite.ask.prices import models_of
from zooter_lite.bulk.batch_file import check_parts, write_parts
from zooter_lite.bulk.block import Tally, Task
from zooter_lite.bulk.engine import run_local
from zooter_lite.bulk.inputs import plan
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.output import Output, Standard
from zooter_lite.bulk.parquet import write_parquet
from zooter_lite.bulk.reader import read_blocks
from zooter_lite.bulk.work import Worker, versions
from zooter_lite.errors import DataError
from zooter_lite.files.dialect import check_separator
from zooter_lite.files.messages import Context
from zooter_lite.files.places import STANDARD, is_url
from zooter_lite.router.tokens import cut_prompts

_DECIDING_NOTHING = (  # options on which no byte of an output depends; the files count apart
    "router", "input", "output", "format", "on_error", "force", "workers", "engine", "ray_address",
)  # fmt: skip
_FILES = ("costs", "pool", "prices", "models")  # options that name files, whose content decides

MESSAGES = "body.messages"  # where a batch file of a vendor's API has the prompts


@dataclass(frozen=True)
class Done:
    """What a job did."""

    tally: Tally  # of every file, also of what earlier runs of the job did
    earlier: int  # rows that those had done
    seconds: float  # of this run, without the loading of the router
    rejects: Sequence[str]  # files that hold rejected rows
    kept: bool  # whether these rows are in the output, too
    single: str  # the best single expert on the training rows
    max_length: int  # tokens of a prompt that the encoder reads

    def summary(self) -> list[str]:
        """Lines about rows, speed, experts, what was not routed, and costs."""
        tally, routed = self.tally, self.tally.routed
        shares = ", ".join(
            f"{expert} {count / routed:.0%}"
            for expert, count in sorted(tally.experts.items(), key=lambda item: -item[1])
            if count
        )
        left = f"; {tally.empty} rows with an empty prompt left unrouted" if tally.empty else ""
        rows = tally.rows - self.earlier
        before = f" after {self.earlier} of an earlier run" if self.earlier else ""
        speed = f"{rows / self.seconds:.0f} rows/s" if rows else "nothing left to do"
        lines = [
            f"{routed} rows routed ({shares or 'none'}){left}",
            f"{rows} rows in {self.seconds:.1f} s{before} ({speed})",
        ]
        if tally.fallbacks:
            lines.append(f"fallbacks: {tally.fallbacks} prompts ({tally.fallbacks / routed:.0%})")
        if tally.rejected:
            kept = "kept without an expert" if self.kept else "left out"
            where = f": {', '.join(self.rejects)}" if self.rejects else ""
            lines.append(f"rejected: {tally.rejected} rows, {kept}{where}")
        if tally.cut:
            lines.append(cut_prompts(tally.cut, tally.computed, self.max_length))
        if tally.unread:
            lines.append(f"{tally.unread} images or other parts that are no text were not read")
        if tally.odd:
            odd = tally.odd / routed
            lines.append(f"{tally.odd} prompts ({odd:.1%}) are unlike anything in training")
        if tally.cost:
            lines.append(
                f"expected cost of all: {tally.cost:.6g} ({tally.cost / routed:.4g} a prompt); "
                f"with {self.single}, the best single expert on train, alone: "
                f"{tally.cost_single:.6g}; with the cheapest for each: {tally.cost_cheapest:.6g}"
            )
        return lines


def route_files(options: Options, progress: Callable[[int], object]) -> Done:
    """Route files; go on where a killed run of the same job stopped.

    `progress` is called with the number of rows done since the last call. DataError where an
    input or output is not what was expected, or a row cannot be routed; RouterError where the
    router cannot be loaded.
    """
    options.check()
    tasks = plan(options.input, options.output, options.format)
    outputs = [_output(task, options) for task in tasks]
    worker = Worker(options)
    tasks = _completed(tasks, outputs, options, worker)
    if options.split_by is not None:
        new = [not output.state.begun and not options.force for output in outputs]
        check_parts(tasks, worker.experts, new)
    if options.budget is not None and tasks[0].source.path != STANDARD:
        start = next(read_blocks(replace(tasks[0], end=0, last=0)))
        weight = worker.weight_within(options.budget, start)
        options = replace(options, budget=None, cost_weight=weight)
        worker = Worker(options)
    undone = [t for t, output in zip(tasks, outputs, strict=True) if not output.state.done]
    earlier = sum(output.state.tally.rows for output in outputs)
    started = time.perf_counter()
    if options.engine == "ray":
        from zooter_lite.bulk.ray.pipeline import run_ray

        results = run_ray(undone, options)
    else:
        results = run_local(undone, worker, options)
    for task, output in zip(tasks, outputs, strict=True):
        with output:
            while not output.state.done:
                result = next(results)
                output.append(result)
                progress(result.tally.rows)
            output.finish(_conversion(task))
    tally = Tally(experts=dict.fromkeys(worker.experts, 0))
    for output in outputs:
        output.forget()
        tally = tally.plus(output.state.tally)
    return Done(
        tally,
        earlier,
        time.perf_counter() - started,
        [each.rejects_target for each in outputs if each.rejects_target and each.state.rejects],
        options.on_error == "keep",
        worker.router.config.best_single,
        worker.router.config.encoder.max_length,
    )


def _completed(
    tasks: list[Task], outputs: Sequence[Output | Standard], options: Options, worker: Worker
) -> list[Task]:
    """Return the tasks with all that a block needs to know."""
    models: tuple[tuple[str, str], ...] = ()
    column, added = options.column, worker.added
    if options.models is not None:
        models, added = models_of(options.models, worker.experts), ()
        column = MESSAGES if column == "query" else column
        if any(task.source.kind != "jsonl" for task in tasks):
            raise DataError("--models: expected batch files, which are JSON lines")
    return [
        replace(
            task,
            column=column,
            separator=check_separator(options.separator),
            models=models,
            split=options.split_by is not None,
            context=cast(Context, options.context or worker.router.config.training.context),
            added=added,
            size=options.block * 1024,
            end=output.state.end,
            last=output.state.last,
            alone=len(tasks) == 1,
        )
        for task, output in zip(tasks, outputs, strict=True)
    ]


def _conversion(task: Task) -> Callable[[IO[bytes], Path], None] | None:
    """Return what makes the output from what was appended; None where that is the output."""
    if task.split:
        return partial(write_parts, task)
    return partial(write_parquet, task) if task.source.kind == "parquet" else None


def _output(task: Task, options: Options) -> Output | Standard:
    """Open the output of a task, or refuse to overwrite what stands there."""
    if task.target == STANDARD:
        return Standard()
    single = task.target == options.output and not is_url(task.target)
    if single and not Path(task.target).parent.is_dir():
        raise DataError(f"{task.target}: expected a file name in an existing folder")
    return Output(task.target, _fingerprint(task, options), force=options.force)


def _fingerprint(task: Task, options: Options) -> str | None:
    """Return a text that differs where the same input would give another output.

    A job that failed at a row may go on with another `on_error`.
    """
    path = task.source.path
    if path == STANDARD:
        return None
    given = {name: value for name, value in vars(options).items() if name not in _DECIDING_NOTHING}
    values = given | {
        "router": _digest(str(Path(options.router) / "config.json")),
        "files": [_digest(getattr(options, name)) for name in _FILES],
        "versions": versions(),
        "input": [path if is_url(path) else str(Path(path).absolute()), task.source.stamp],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _digest(path: str | None) -> str:
    """Return the SHA-256 of a file; "" where there is none."""
    if path is None or not Path(path).is_file():
        return ""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
