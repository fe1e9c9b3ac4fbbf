"""Blocks through workers on a Ray cluster: the same results, in the same order.

Ray Data reads each file in a task that streams its blocks, hands the blocks to a pool of
actors, and takes care of back pressure, scaling, and what dies on the way. Failures that
are the user's to put right travel as values beside the results, so that they arrive in
order too: what stands before a bad row is written, as it is without Ray.
"""

from __future__ import annotations

import gc
import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnxruntime

from zooter_lite import __version__
from zooter_lite.bulk.block import Block, Result, Settings
from zooter_lite.bulk.ray_cluster import connected, told
from zooter_lite.bulk.reader import Start, read_blocks
from zooter_lite.bulk.work import Worker
from zooter_lite.errors import DataError, RouterError, ZooterError
from zooter_lite.files.rows import STANDARD
from zooter_lite.files.store import is_url
from zooter_lite.router.directory.config import CONFIG
from zooter_lite.router.directory.store import GRAPHS, HEAD, QUERIES, TAG_FILES, TOKENIZER

_READERS = 2  # files that are read at a time: reading one is much quicker than routing it
_AHEAD = 2  # blocks sent to a worker, the one at work included
_COLUMN = "item"
VERSIONS = {"zooter-lite": __version__, "onnxruntime": onnxruntime.__version__}


@dataclass(frozen=True)
class Failure:
    """A `ZooterError` on its way to the driver.

    Attributes
    ----------
    router
        Whether the router is to blame, and not the data.
    message
        What the error says.
    """

    router: bool
    message: str

    def error(self) -> ZooterError:
        """Return the error."""
        return RouterError(self.message) if self.router else DataError(self.message)


@dataclass(frozen=True)
class Shipment:
    """What a worker anywhere on the cluster needs.

    Attributes
    ----------
    settings
        Of the job.
    files
        Reference to the files of the router, by name: each node gets them once.
    versions
        Of the packages on which the last bits of a probability depend.
    """

    settings: Settings
    files: Any
    versions: dict[str, str]


def run_ray(
    starts: Sequence[Start],
    worker: Worker,
    settings: Settings,
    *,
    address: str | None,
    workers: int | None,
) -> Iterator[Result]:
    """Route files on a Ray cluster and yield the results in the order of the blocks.

    Parameters
    ----------
    starts
        The files. Paths are read on the node of this process, URLs on any.
    worker
        Of this process; its experts were looked at already.
    settings
        What the workers load a router by; its files are sent to them.
    address
        Of a running cluster as HOST:PORT, or "auto"; None starts one on this machine.
    workers
        Actors; None lets Ray choose, from one to as many as the cluster has room for.

    Raises
    ------
    DataError, RouterError
        As `run_local` does; or the cluster cannot be reached, or fails.
    MissingPackageError
        Ray is not installed.
    """
    if any(start.source.path == STANDARD for start in starts):
        raise DataError(
            "standard input: --engine ray needs a file, which can be read again when a node fails"
        )
    with connected(address, settings.threads, workers) as ray, told(ray):
        dataset = _pipeline(ray, starts, settings, workers)
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            for item in table.column(_COLUMN):
                found: Result | Failure = pickle.loads(item.as_py())
                if isinstance(found, Failure):
                    raise found.error()
                yield found


def _pipeline(ray: Any, starts: Sequence[Start], settings: Settings, workers: int | None) -> Any:
    """Files to blocks to results; every item is a row that holds one pickled object."""
    anywhere = all(is_url(start.source.path) for start in starts)
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    many: dict[str, int] = {"min_size": 1} if workers is None else {"size": workers}
    files = router_files(Path(settings.router), settings.precision)
    shipment = Shipment(settings, ray.put(files), VERSIONS)
    dataset = ray.data.from_items(
        [{_COLUMN: pickle.dumps(start)} for start in starts], override_num_blocks=len(starts)
    )
    each: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
    return dataset.map_batches(
        read_items,
        **each,
        compute=ray.data.TaskPoolStrategy(size=min(_READERS, len(starts))),
        num_cpus=0,  # it waits for the workers most of the time
        label_selector=None if anywhere else here,
    ).map_batches(
        RayWorker,
        **each,
        fn_constructor_args=(shipment,),
        compute=ray.data.ActorPoolStrategy(**many, max_tasks_in_flight_per_actor=_AHEAD),
        num_cpus=settings.threads,
    )


def read_items(table: Any) -> Iterator[Any]:
    """Yield the blocks of the file in `table`, one table each, or a failure at its place."""
    try:
        for block in read_blocks(unpacked(table)):
            yield packed(block)
    except ZooterError as error:
        yield packed(_failure(error))


class RayWorker:
    """Routes blocks in an actor.

    What keeps it from starting is told in the place of the first block.
    """

    def __init__(self, shipment: Shipment) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there are as many workers as cores
        self._found = _worker(shipment)
        gc.freeze()  # what is loaded stays: no need to look through it again and again

    def __call__(self, table: Any) -> Any:
        """Return a table with the result of the block in `table`."""
        item: Block | Failure = unpacked(table)
        if isinstance(item, Failure):
            return table
        if isinstance(self._found, Failure):
            return packed(self._found)
        try:
            return packed(self._found.work(item))
        except ZooterError as error:
            return packed(_failure(error))


def _worker(shipment: Shipment) -> Worker | Failure:
    """Unpack the router into a private folder, load it, and leave nothing behind."""
    import ray

    if shipment.versions != VERSIONS:
        wanted, found = (
            " and ".join(f"{name} {version}" for name, version in versions.items())
            for versions in (shipment.versions, VERSIONS)
        )
        return Failure(False, f"a node of the cluster has {found}; expected {wanted}, as here")
    router = shipment.settings.router
    with tempfile.TemporaryDirectory(prefix="zooter-lite-") as folder:
        for name, content in ray.get(shipment.files).items():
            (Path(folder) / name).write_bytes(content)
        try:
            return Worker(replace(shipment.settings, router=folder), at_once=1)
        except ZooterError as error:
            failure = _failure(error)
            return replace(failure, message=failure.message.replace(folder, router))


def router_files(folder: Path, precision: str) -> dict[str, bytes]:
    """Content by name of the files that `Router.load` looks at."""
    unused = {name for kind, name in GRAPHS.items() if precision not in (kind, "auto")}
    names = {CONFIG, HEAD, TOKENIZER, QUERIES, *TAG_FILES, *GRAPHS.values()} - unused
    try:
        return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    except OSError as error:
        raise RouterError(f"{folder}: {error.strerror}") from error


def _failure(error: ZooterError) -> Failure:
    return Failure(isinstance(error, RouterError), str(error))


def packed(item: object) -> Any:
    """Return a table of one row that holds `item`."""
    import pyarrow

    values = pyarrow.array([pickle.dumps(item)], pyarrow.large_binary())
    return pyarrow.table({_COLUMN: values})


def unpacked(table: Any) -> Any:
    """Return the item of a table that `packed` made."""
    return pickle.loads(table.column(_COLUMN)[0].as_py())
