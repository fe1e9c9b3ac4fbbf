"""Blocks through workers on this machine: one process per core, results in order."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice

from zooter_lite.bulk.block import Block, Result, Task
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.reader import read_blocks
from zooter_lite.bulk.work import Worker
from zooter_lite.cores import cores
from zooter_lite.errors import DataError

_AHEAD = 2  # blocks that wait for each worker: reading never stops it, memory stays bounded

_worker: Worker  # of a process of the pool, loaded when it starts


def usual_workers(provider: str, threads: int) -> int:
    """Return one worker per core, or per so many threads; one in all for a GPU."""
    return max(1, cores() // threads) if provider == "CPUExecutionProvider" else 1


def run_local(tasks: Sequence[Task], worker: Worker, options: Options) -> Iterator[Result]:
    """Route files in processes and yield the results in the order of the blocks.

    Files are read as they are needed: a few more blocks than there are workers are in memory.
    `worker`, of this process, does the work where one process is enough. DataError where a file
    or a row cannot be routed, or a worker was ended from outside.
    """
    workers = options.workers or usual_workers(worker.router.provider, options.threads)
    blocks = chain.from_iterable(map(read_blocks, tasks))
    first = list(islice(blocks, 2))
    if workers == 1 or len(first) < 2:
        yield from map(worker.work, chain(first, blocks))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (options,))
    try:
        waiting: deque[Future[Result]] = deque()
        for block in chain(first, blocks):
            waiting.append(pool.submit(_work, block))
            if len(waiting) >= workers * (1 + _AHEAD):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker ended without a word: short of memory? --workers takes fewer of them"
        ) from error
    finally:
        for process in multiprocessing.active_children():  # whatever they still compute
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def loaded(options: Options) -> Worker:
    """Load a worker that has one core of many, in a process that does nothing else."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    worker = Worker(options, at_once=1)
    gc.freeze()  # what is loaded stays: no need to look through it again and again
    return worker


def _start(options: Options) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process tells when to end
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    _worker = loaded(options)


def _end_with_the_first() -> None:
    """End this process when the one that started it has ended, however that came."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def _work(block: Block) -> Result:
    return _worker.work(block)
