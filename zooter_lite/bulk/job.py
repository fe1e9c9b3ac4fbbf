"""A job: files planned, blocks through an engine, outputs that appear when they are complete."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from zooter_lite.bulk.block import Result, Settings, Tally, added_columns
from zooter_lite.bulk.inputs import Task
from zooter_lite.bulk.output import Output
from zooter_lite.bulk.reader import Start
from zooter_lite.bulk.work import Worker
from zooter_lite.errors import DataError
from zooter_lite.files.parquet import open_parquet, output_schema, write_parquet
from zooter_lite.files.rows import STANDARD
from zooter_lite.files.store import Source, is_url, split_suffix


class Engine(Protocol):
    """Routes files and yields the results, file by file, block by block."""

    def __call__(
        self, starts: Sequence[Start], worker: Worker, settings: Settings
    ) -> Iterator[Result]:
        """Do so; `worker` is one of this process."""


@dataclass(frozen=True)
class Done:
    """What a job did.

    Attributes
    ----------
    tally
        Counts of every file, also of what earlier runs of the job did.
    earlier
        Rows that those had done.
    seconds
        Of this run, without the loading of the router.
    rejects
        Files that hold rejected rows.
    """

    tally: Tally
    earlier: int
    seconds: float
    rejects: list[str]


class Standard:
    """Standard output in the place of an `Output`; rejected rows go to standard error."""

    def __enter__(self) -> Standard:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the stream open."""

    def append(self, result: Result) -> None:
        """Write the rows of a block."""
        try:
            sys.stdout.buffer.write(result.data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise DataError(f"standard output: cannot write ({error.strerror})") from error
        sys.stderr.write(result.rejects.decode("utf-8"))


def run_job(
    tasks: Sequence[Task],
    worker: Worker,
    settings: Settings,
    engine: Engine,
    size: int,
    *,
    force: bool,
    progress: Callable[[int], object],
) -> Done:
    """Route files; go on where a killed run of the same job stopped.

    Parameters
    ----------
    tasks
        From `plan`.
    worker
        Of this process, loaded.
    engine
        That does the work.
    size
        Bytes of a block: what a worker takes at a time, and what a kill can cost.
    force
        As `Output` takes it.
    progress
        Called with the number of rows done since the last call.

    Raises
    ------
    DataError
        An input or output is not what was expected, or a row cannot be routed.
    """
    key = _key(settings, size)
    outputs = [_output(task, key, force) for task in tasks]
    starts = list(_starts(tasks, outputs, settings, worker.experts, size))
    earlier = sum(output.state.tally.rows for output in outputs if output is not None)
    tally = Tally(experts=dict.fromkeys(worker.experts, 0))
    started = time.perf_counter()
    results = engine(starts, worker, settings)
    pending = {start.number for start in starts}
    for number, (task, output) in enumerate(zip(tasks, outputs, strict=True)):
        with output if output is not None else Standard() as sink:
            if number in pending:
                counts = _write(results, sink, progress)
            if output is not None:
                output.finish(_conversion(task, settings, worker.experts))
                counts = output.state.tally
        tally = tally.plus(counts)
    for output in outputs:
        if output is not None:
            output.forget()
    rejects = [
        output.rejects_target for output in outputs if output is not None and output.state.rejects
    ]
    return Done(tally, earlier, time.perf_counter() - started, rejects)


def _write(
    results: Iterator[Result], sink: Output | Standard, progress: Callable[[int], object]
) -> Tally:
    """Append the results of one file; return the counts of this run."""
    tally = Tally()
    for result in results:
        sink.append(result)
        tally = tally.plus(result.tally)
        progress(result.tally.rows)
        if result.final:
            return tally
    raise RuntimeError("the engine stopped before the file ended")


def _starts(
    tasks: Sequence[Task],
    outputs: Sequence[Output | None],
    settings: Settings,
    experts: Sequence[str],
    size: int,
) -> Iterator[Start]:
    added = tuple(added_columns(experts, settings.all_probabilities))
    for number, (task, output) in enumerate(zip(tasks, outputs, strict=True)):
        if output is not None and output.state.done:
            continue
        found = split_suffix(task.target) if output is not None else None
        yield Start(
            number,
            task.source,
            found[1] if found is not None else "",
            settings.column,
            added,
            size,
            output.state.end if output is not None else 0,
            output.state.last if output is not None else 0,
            alone=len(tasks) == 1,
        )


def _output(task: Task, key: str, force: bool) -> Output | None:
    if task.target == STANDARD:
        return None
    source = task.source
    if source.path == STANDARD:
        return Output(task.target, None, force=force)
    path = source.path if is_url(source.path) else str(Path(source.path).absolute())
    text = json.dumps([key, path, source.stamp])
    return Output(task.target, hashlib.sha256(text.encode()).hexdigest(), force=force)


def _key(settings: Settings, size: int) -> str:
    """Return a text that differs where the same input would give another output."""
    config = (Path(settings.router) / "config.json").read_bytes()
    values = asdict(settings) | {"router": hashlib.sha256(config).hexdigest(), "size": size}
    del values["on_error"]  # a job that failed at a row may go on another way
    return json.dumps(values, sort_keys=True)


def _conversion(
    task: Task, settings: Settings, experts: Sequence[str]
) -> Callable[[IO[bytes], Path], None] | None:
    if task.source.kind != "parquet":
        return None
    return partial(_write_parquet, task.source, added_columns(experts, settings.all_probabilities))


def _write_parquet(source: Source, added: list[str], spool: IO[bytes], target: Path) -> None:
    with open_parquet(source) as file:
        schema: Any = output_schema(file, added, source)
    write_parquet(spool, target, schema, source)
