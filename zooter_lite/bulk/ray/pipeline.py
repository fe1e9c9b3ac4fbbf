"""Blocks through workers on a Ray cluster: the same results, in the same order.

Ray Data reads each file in a task that streams its blocks, hands the blocks to a pool of
actors, and takes care of back pressure, scaling, and what dies on the way. Errors that are
the user's to put right travel as values beside the results, so that they arrive in order
too: what stands before a bad row is written, as it is without Ray.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zooter_lite.bulk.block import Block, Result, Task
from zooter_lite.bulk.engine import loaded
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.ray.cluster import connected
from zooter_lite.bulk.reader import read_blocks
from zooter_lite.bulk.work import Worker, versions
from zooter_lite.cores import cores
from zooter_lite.errors import DataError, RouterError, ZooterError
from zooter_lite.files.places import STANDARD, is_url

_READERS = 2  # files that are read at a time: reading one is much quicker than routing it
_AHEAD = 2  # blocks sent to a worker, the one at work included
_COLUMN = "item"
Batch = dict[str, Any]  # of one item


def run_ray(tasks: Sequence[Task], options: Options) -> Iterator[Result]:
    """Route files on a Ray cluster and yield the results in the order of the blocks.

    Paths are read on the node of this process, URLs on any. Errors are those of `run_local`;
    or the cluster cannot be reached, or fails; or Ray is not installed.
    """
    if any(task.source.path == STANDARD for task in tasks):
        raise DataError(
            "standard input: --engine ray needs a file, which can be read again when a node fails"
        )
    workers = options.workers or max(1, cores() // options.threads)
    with connected(options.ray_address, workers * options.threads) as ray:
        for row in _pipeline(ray, tasks, options).iter_rows():
            item: Result | ZooterError = row[_COLUMN]
            if isinstance(item, ZooterError):
                raise item
            yield item


def _pipeline(ray: Any, tasks: Sequence[Task], options: Options) -> Any:
    """Files to blocks to results; every item is a row that holds one object."""
    anywhere = all(is_url(task.source.path) for task in tasks)
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    many: dict[str, int] = {"size": options.workers} if options.workers else {"min_size": 1}
    files = ray.put(router_files(Path(options.router)))  # once to each node
    rows = [{_COLUMN: task} for task in tasks]
    dataset = ray.data.from_items(rows, override_num_blocks=len(tasks))
    each: dict[str, Any] = {"batch_size": 1, "batch_format": "numpy"}
    return dataset.map_batches(
        read_items,
        **each,
        compute=ray.data.TaskPoolStrategy(size=min(_READERS, len(tasks))),
        num_cpus=0,  # it waits for the workers most of the time
        label_selector=None if anywhere else here,
    ).map_batches(
        RayWorker,
        **each,
        fn_constructor_args=(options, [files], versions()),
        compute=ray.data.ActorPoolStrategy(**many, max_tasks_in_flight_per_actor=_AHEAD),
        num_cpus=options.threads,
    )


def read_items(batch: Batch) -> Iterator[Batch]:
    """Yield the blocks of the file in a batch, one batch each, or an error at its place."""
    try:
        for block in read_blocks(batch[_COLUMN][0]):
            yield {_COLUMN: [block]}
    except ZooterError as error:
        yield {_COLUMN: [_plain(error)]}


class RayWorker:
    """Routes blocks in an actor; what keeps it from starting is told in the place of a block.

    `files` holds the one reference to the router's files; `expected` are the versions on the
    machine where the job was started.
    """

    def __init__(self, options: Options, files: list[Any], expected: dict[str, str]) -> None:
        try:
            self._worker: Worker | ZooterError = _loaded(options, files, expected)
        except ZooterError as error:
            self._worker = error

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch with the result of the block in a batch; an error stays where it is."""
        item: Block | Result | ZooterError = batch[_COLUMN][0]
        if isinstance(item, Block):
            item = self._result(item)
        return {_COLUMN: [_plain(item) if isinstance(item, ZooterError) else item]}

    def _result(self, block: Block) -> Result | ZooterError:
        if isinstance(self._worker, ZooterError):
            return self._worker
        try:
            return self._worker.work(block)
        except ZooterError as error:
            return error


def _loaded(options: Options, files: list[Any], expected: dict[str, str]) -> Worker:
    """Unpack the router into a private folder, load it, and leave nothing behind."""
    import ray

    if versions() != expected:
        here, wanted = (
            " and ".join(f"{name} {version}" for name, version in each.items())
            for each in (versions(), expected)
        )
        raise DataError(f"a node of the cluster has {here}; expected {wanted}, as here")
    with tempfile.TemporaryDirectory(prefix="zooter-lite-") as folder:
        for name, content in ray.get(files[0]).items():
            (Path(folder) / name).write_bytes(content)
        try:
            return loaded(replace(options, router=folder))
        except ZooterError as error:
            error.args = (str(error).replace(folder, options.router),)
            raise


def router_files(folder: Path) -> dict[str, bytes]:
    """Content by name of the files that `Router.load` looks at, each of them readable."""
    try:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    except OSError as error:
        raise RouterError(f"{folder}: {error.strerror}") from error


def _plain(error: ZooterError) -> ZooterError:
    """Return an error of the same message that can be pickled, as some cannot."""
    return (RouterError if isinstance(error, RouterError) else DataError)(str(error))
