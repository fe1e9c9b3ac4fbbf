"""A job: files planned, blocks through an engine, outputs that appear when they are complete."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from zooter_lite.ask.prices import models_of
from zooter_lite.bulk.block import Task
from zooter_lite.bulk.engine import run_local
from zooter_lite.bulk.inputs import plan
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.output import Output, Standard
from zooter_lite.bulk.parquet import write_parquet
from zooter_lite.bulk.reader import read_blocks
from zooter_lite.bulk.tally import Done, Tally, read_costs, table_costs
from zooter_lite.bulk.work import Worker, versions
from zooter_lite.errors import DataError
from zooter_lite.files.dialect import check_separator
from zooter_lite.files.messages import Context
from zooter_lite.files.places import is_url
from zooter_lite.files.rows import STANDARD

_DECIDING_NOTHING = (  # options on which no byte of an output depends; the files count apart
    "router", "input", "output", "format", "on_error", "force", "workers", "engine", "ray_address",
)  # fmt: skip
MESSAGES = "body.messages"  # where a batch file of a vendor's API has the prompts


def route_files(options: Options, progress: Callable[[int], object]) -> Done:
    """Route files; go on where a killed run of the same job stopped.

    Parameters
    ----------
    options
        What to do.
    progress
        Called with the number of rows done since the last call.

    Raises
    ------
    DataError
        An input or output is not what was expected, or a row cannot be routed.
    RouterError
        The router cannot be loaded.
    """
    options.check()
    tasks = plan(options.input, options.output, options.format)
    outputs = [_output(task, options) for task in tasks]
    worker = Worker(options)
    config = worker.router.config
    costs = None
    if not worker.predicts_costs:  # then the means tell what the job costs
        read = read_costs(options.costs, worker.experts) if options.costs else None
        costs = read or table_costs(config)
    models: tuple[tuple[str, str], ...] = ()
    column, added = options.column, worker.added
    if options.models is not None:
        models, added = models_of(options.models, worker.experts), ()
        column = MESSAGES if column == "query" else column
        if any(task.source.kind != "jsonl" for task in tasks):
            raise DataError("--models: expected batch files, which are JSON lines")
    tasks = [
        replace(
            task,
            column=column,
            separator=check_separator(options.separator),
            models=models,
            context=cast(Context, options.context or config.training.context),
            added=added,
            size=options.block * 1024,
            end=output.state.end,
            last=output.state.last,
            alone=len(tasks) == 1,
        )
        for task, output in zip(tasks, outputs, strict=True)
    ]
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
            is_parquet = task.source.kind == "parquet"
            output.finish(partial(write_parquet, task) if is_parquet else None)
    tally = Tally(experts=dict.fromkeys(worker.experts, 0))
    for output in outputs:
        output.forget()
        tally = tally.plus(output.state.tally)
    return Done(
        tally,
        earlier,
        time.perf_counter() - started,
        [each.rejects_target for each in outputs if each.rejects_target and each.state.rejects],
        costs,
        config.best_single,
        repeats=options.precision == "auto",
        max_length=config.encoder.max_length,
    )


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
    config = Path(options.router) / "config.json"
    given = {name: value for name, value in vars(options).items() if name not in _DECIDING_NOTHING}
    values = given | {
        "router": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else "",
        "versions": versions(),
        "input": [path if is_url(path) else str(Path(path).absolute()), task.source.stamp],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
