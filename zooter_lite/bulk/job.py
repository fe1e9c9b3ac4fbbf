"""A job: files planned, blocks through an engine, outputs that appear when they are complete."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal, Protocol

from zooter_lite.bulk.block import Result, Settings, Start
from zooter_lite.bulk.choose import versions
from zooter_lite.bulk.engine import run_local
from zooter_lite.bulk.inputs import Task, plan
from zooter_lite.bulk.output import Output, Standard, State
from zooter_lite.bulk.parquet import write_parquet
from zooter_lite.bulk.tally import Done, Tally, best_single, read_costs, table_costs
from zooter_lite.bulk.work import Worker
from zooter_lite.errors import DataError
from zooter_lite.files.places import STANDARD, is_url, split_suffix


@dataclass(frozen=True)
class Job:
    """What `route_files` is to do.

    Attributes
    ----------
    source, target, kind
        As `plan` takes them.
    settings
        What every worker has to know.
    size
        Bytes of a block: what a worker takes at a time, and what a kill can cost.
    force
        Whether existing outputs are overwritten.
    costs
        JSON file with the cost of one prompt by expert, for the summary; None for the mean
        costs of the router's reward table.
    engine, workers, address
        Where the work is done, in how many processes, and for Ray the cluster; None for
        what `run_local` and `run_ray` then take.
    """

    source: str
    target: str
    settings: Settings
    kind: str | None = None
    size: int = 2**19
    force: bool = False
    costs: str | None = None
    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    address: str | None = None


class Engine(Protocol):
    """Routes files and yields the results, file by file, block by block."""

    def __call__(
        self, starts: Sequence[Start], worker: Worker, settings: Settings
    ) -> Iterator[Result]:
        """Do so; `worker` is one of this process."""


def route_files(job: Job, progress: Callable[[int], object]) -> Done:
    """Route files; go on where a killed run of the same job stopped.

    Parameters
    ----------
    job
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
    tasks = plan(job.source, job.target, job.kind)
    outputs = [_output(task, job) for task in tasks]
    worker = Worker(job.settings)
    config = worker.router.config
    costs = read_costs(job.costs, worker.router.experts) if job.costs else table_costs(config)
    starts = [
        _start(task, output.state, worker.added, job, alone=len(tasks) == 1)
        for task, output in zip(tasks, outputs, strict=True)
        if not output.state.done
    ]
    earlier = sum(output.state.tally.rows for output in outputs)
    started = time.perf_counter()
    results = _engine(job)(starts, worker, job.settings)
    for task, output in zip(tasks, outputs, strict=True):
        with output:
            while not output.state.done:
                result = next(results)
                output.append(result)
                progress(result.tally.rows)
            output.finish(_conversion(task, worker.added))
    tally = Tally(experts=dict.fromkeys(worker.router.experts, 0))
    for output in outputs:
        output.forget()
        tally = tally.plus(output.state.tally)
    return Done(
        tally,
        earlier,
        time.perf_counter() - started,
        [each.rejects_target for each in outputs if each.rejects_target and each.state.rejects],
        costs,
        best_single(config),
        repeats=job.settings.precision == "auto",
    )


def _engine(job: Job) -> Engine:
    if job.engine == "ray":
        from zooter_lite.bulk.ray.pipeline import run_ray

        return partial(run_ray, address=job.address, workers=job.workers)
    return partial(run_local, workers=job.workers)


def _output(task: Task, job: Job) -> Output | Standard:
    """Open the output of a task, or refuse to overwrite what stands there."""
    if task.target == STANDARD:
        return Standard()
    single = task.target == job.target and not is_url(task.target)
    if single and not Path(task.target).parent.is_dir():
        raise DataError(f"{task.target}: expected a file name in an existing folder")
    return Output(task.target, _fingerprint(task, job), force=job.force)


def _fingerprint(task: Task, job: Job) -> str | None:
    """Return a text that differs where the same input would give another output."""
    path = task.source.path
    if path == STANDARD:
        return None
    config = Path(job.settings.router) / "config.json"
    values = asdict(job.settings) | {
        "router": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else "",
        "versions": versions(),
        "size": job.size,
        "input": [path if is_url(path) else str(Path(path).absolute()), task.source.stamp],
    }
    del values["on_error"]  # a job that failed at a row may go on another way
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _start(task: Task, state: State, added: tuple[str, ...], job: Job, *, alone: bool) -> Start:
    packing = split_suffix(task.target)[1] if task.target != STANDARD else ""
    column = job.settings.column
    return Start(task.source, packing, column, added, job.size, state.end, state.last, alone=alone)


def _conversion(task: Task, added: tuple[str, ...]) -> Callable[[IO[bytes], Path], None] | None:
    return partial(write_parquet, task.source, added) if task.source.kind == "parquet" else None
