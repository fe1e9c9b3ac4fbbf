"""Fine-tune an encoder end to end: KL to the labels, early stopping on a fold of train.

Every epoch leaves a checkpoint and starts its random numbers anew: a run that was killed
goes on after its last finished epoch, and ends as if it had not been.

Several processes (processes.py) divide every batch among them. The order of the queries, the
batches, the rates and the loss do not depend on how many they are. The first one alone reads
and writes files; the others are told all but the encoder's architecture.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from zooter_lite.encode.find import find_encoder
from zooter_lite.encode.reference import load_torch
from zooter_lite.finetune.checkpoint import (
    Epoch,
    Tensors,
    best_epoch,
    finish,
    finished_figures,
    latest_figures,
    read_checkpoint,
    write_checkpoint,
)
from zooter_lite.finetune.learner import (
    State,
    begin,
    gradient,
    held_reward,
    restore,
    summed,
    tensors_of,
)
from zooter_lite.finetune.processes import ALONE, Processes
from zooter_lite.finetune.tuning import Task, Tuning, batches, schedule

PATIENCE = 3  # epochs without a new best after which training stops

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What the first process tells the others.

    Attributes
    ----------
    task, tuning
        Of the fine-tuning.
    figures, tensors
        Of the epochs that a former run finished, and the state after the last of them.
    """

    task: Task
    tuning: Tuning
    figures: list[Epoch]
    tensors: Tensors


def fine_tune(
    base: Path,
    name: str,
    task: Task,
    tuning: Tuning,
    kept: Path,
    progress: Callable[[int], object] = lambda _: None,
    processes: Processes = ALONE,
) -> list[Epoch]:
    """Fine-tune unless `kept` holds the result; go on where a former run was killed.

    Parameters
    ----------
    base, name
        Folder of the encoder, and its name for errors.
    kept
        Folder for checkpoints, figures and, in "encoder", the encoder of the best epoch;
        none where the best is epoch 0.
    progress
        Called with the number of batches done since the last call.
    processes
        Of this launch, joined; this is the first, and the others call `assist`.

    Returns
    -------
    Figures of epoch 0 and of every epoch trained.

    Raises
    ------
    EncoderError
        The encoder cannot be loaded or has no layers, the folder cannot be written, or
        another process died.
    """
    figures = finished_figures(kept)
    if figures:
        processes.from_first(None)
        processes.leave()
        return figures
    figures = latest_figures(kept) or [Epoch(0, None, task.frozen)]
    tensors = read_checkpoint(kept, figures[-1].number) if len(figures) > 1 else {}
    encoder = load_torch(base, name)
    job = processes.from_first(Job(task, tuning, figures, tensors))
    if tensors:
        log.info("fine-tuning goes on after epoch %d", figures[-1].number)

    begun = time.perf_counter()

    def keep(state: State, figures: Sequence[Epoch]) -> None:
        last = figures[-1]
        log.info(
            "epoch %d: loss %.4f, reward %.4f, %.1f s since fine-tuning began",
            *(last.number, last.loss, last.reward, time.perf_counter() - begun),
        )
        write_checkpoint(kept, figures, tensors_of(state))

    with processes.failing_together():
        state = begin(encoder, name, task, tuning)
        if processes.count > 1:
            log.info(
                "fine-tuning in %d processes, the first on %s", processes.count, state.device.type
            )
        figures = _epochs(state, job, progress, keep)
        processes.leave()
    best = best_epoch(figures)
    if best:
        restore(state, read_checkpoint(kept, best))
    finish(kept, figures, encoder.to("cpu") if best else None)
    return figures


def assist(name: str, cache: Path, processes: Processes) -> None:
    """Fine-tune along with the first process, in every other one; keep nothing.

    Parameters
    ----------
    name, cache
        The encoder, as `find_encoder` takes it: on several machines, each needs its files.

    Raises
    ------
    EncoderError
        As `fine_tune`.
    """
    job = processes.from_first(None)
    if job is not None:
        encoder = load_torch(find_encoder(name, cache), name)
        with processes.failing_together():
            _epochs(begin(encoder, name, job.task, job.tuning), job)
    processes.leave()


def n_batches(task: Task, tuning: Tuning) -> int:
    """Return the number of batches of an epoch."""
    return -(-int((~task.held).sum()) // tuning.batch)


def stalled(figures: Sequence[Epoch]) -> bool:
    """Whether the last `PATIENCE` epochs brought no new best."""
    return figures[-1].number - best_epoch(figures) >= PATIENCE


def _epochs(
    state: State,
    job: Job,
    progress: Callable[[int], object] = lambda _: None,
    keep: Callable[[State, Sequence[Epoch]], object] = lambda *_: None,
) -> list[Epoch]:
    """Train until the last epoch or early stopping; all processes count the same figures."""
    figures = job.figures
    if job.tensors:
        restore(state, job.tensors)
    progress((len(figures) - 1) * n_batches(job.task, job.tuning))
    while len(figures) <= job.tuning.epochs and not stalled(figures):
        number = len(figures)
        loss = _train(state, job.task, job.tuning, number, progress)
        figures = [*figures, Epoch(number, loss, held_reward(state, job.task))]
        keep(state, figures)
    return figures


def _train(
    state: State, task: Task, tuning: Tuning, number: int, progress: Callable[[int], object]
) -> float:
    """Train epoch `number`, 1 for the first; return its mean loss over all processes."""
    rank = state.accelerator.process_index  # dropout's masks are each process's own
    torch.manual_seed(tuning.seed * 1000 + number + (rank << 44))
    learned = np.flatnonzero(~task.held)
    random = np.random.default_rng([tuning.seed, number])
    parts = [learned[part] for part in batches(task.lengths(learned), tuning.batch, random)]
    weights = [w for group in state.optimiser.param_groups for w in group["params"]]
    state.parallel.train()
    total = 0.0
    for step, rows in enumerate(parts, (number - 1) * len(parts)):
        factor = schedule(step, tuning.epochs * len(parts), tuning.warmup)
        for group in state.optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        state.optimiser.zero_grad()
        total += gradient(state, task, tuning, rows)
        state.accelerator.clip_grad_norm_(weights, tuning.clip)
        state.optimiser.step()
        progress(1)
    return summed(state, total) / len(learned)
