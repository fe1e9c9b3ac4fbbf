"""Fine-tune an encoder end to end: KL to the labels, early stopping on a fold of train.

Every epoch leaves a checkpoint and starts its random numbers anew: a run that was killed
goes on after its last finished epoch, and ends as if it had not been.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zooter_lite.learn.checkpoint import (
    Epoch,
    Tensors,
    best_epoch,
    finish,
    finished_figures,
    latest_figures,
    read_checkpoint,
    write_checkpoint,
)
from zooter_lite.learn.distil import Direction, kl_divergence
from zooter_lite.learn.reference import load_torch
from zooter_lite.learn.select import reward_of_choice
from zooter_lite.learn.tuning import Task, Tuning, batches, layer_rates, schedule

Rows = NDArray[np.int64]

PATIENCE = 3  # epochs without a new best after which training stops

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """The encoder, the head and their optimiser; the weights change in place."""

    encoder: Any
    head: torch.nn.Linear
    optimiser: torch.optim.AdamW
    device: torch.device


def fine_tune(
    base: Path,
    name: str,
    task: Task,
    tuning: Tuning,
    kept: Path,
    progress: Callable[[int], object] = lambda _: None,
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

    Returns
    -------
    Figures of epoch 0 and of every epoch trained.

    Raises
    ------
    EncoderError
        The encoder cannot be loaded or has no layers, or the folder cannot be written.
    """
    figures = finished_figures(kept)
    if figures:
        return figures
    state = begin(load_torch(base, name), name, task, tuning)
    figures = latest_figures(kept) or [Epoch(0, None, task.frozen)]
    if len(figures) > 1:
        log.info("fine-tuning goes on after epoch %d", figures[-1].number)
        _restore(state, read_checkpoint(kept, figures[-1].number))
    progress((len(figures) - 1) * n_batches(task, tuning))
    while len(figures) <= tuning.epochs and not stalled(figures):
        number = len(figures)
        loss = _train(state, task, tuning, number, progress)
        figures = [*figures, Epoch(number, loss, held_reward(state, task))]
        log.info("epoch %d: loss %.4f, reward %.4f", number, loss, figures[-1].reward)
        write_checkpoint(kept, figures, _tensors(state))
    best = best_epoch(figures)
    if best:
        _restore(state, read_checkpoint(kept, best))
    finish(kept, figures, state.encoder.to("cpu") if best else None)
    return figures


def n_batches(task: Task, tuning: Tuning) -> int:
    """Return the number of batches of an epoch."""
    return -(-int((~task.held).sum()) // tuning.batch)


def stalled(figures: Sequence[Epoch]) -> bool:
    """Whether the last `PATIENCE` epochs brought no new best."""
    return figures[-1].number - best_epoch(figures) >= PATIENCE


def begin(encoder: Any, name: str, task: Task, tuning: Tuning) -> State:
    """Put encoder and head on the device, under AdamW with a rate for each layer."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = encoder.float().to(device)
    head = torch.nn.Linear(*task.weight.shape[::-1]).to(device)
    with torch.no_grad():
        head.weight.copy_(torch.as_tensor(task.weight))
        head.bias.copy_(torch.as_tensor(task.bias))
    named = dict(encoder.named_parameters())
    rates = layer_rates(list(named), tuning, name)
    pairs = [(named[key], rates[key]) for key in named]
    pairs += [(weights, tuning.rate * tuning.head_factor) for weights in head.parameters()]
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for weights, rate in pairs:
        decay = tuning.weight_decay if weights.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weights)
    optimiser = torch.optim.AdamW(
        [
            {"params": members, "lr": rate, "rate": rate, "weight_decay": decay}
            for (rate, decay), members in groups.items()
        ]
    )
    return State(encoder, head, optimiser, device)


def batch_loss(state: State, task: Task, rows: Rows, how: Direction) -> torch.Tensor:
    """Mean KL divergence of the rows, with a gradient."""
    labels = torch.as_tensor(task.labels[rows], dtype=torch.float32, device=state.device)
    return kl_divergence(_logits(state, task, rows), labels, how)


def held_reward(state: State, task: Task) -> float:
    """Mean reward of the expert chosen for the held queries, in float32 and without dropout."""
    rows = np.flatnonzero(task.held)
    order = rows[np.argsort(task.lengths(rows), kind="stable")]
    state.encoder.eval()
    with torch.no_grad():
        parts = [_logits(state, task, order[i : i + 64]) for i in range(0, len(order), 64)]
    logits = torch.cat(parts).double().cpu().numpy()
    return float(reward_of_choice(logits, task.rewards[order]).mean())


def _train(
    state: State, task: Task, tuning: Tuning, number: int, progress: Callable[[int], object]
) -> float:
    """Train epoch `number`, 1 for the first; return its mean loss."""
    torch.manual_seed(tuning.seed * 1000 + number)
    learned = np.flatnonzero(~task.held)
    random = np.random.default_rng([tuning.seed, number])
    parts = [learned[part] for part in batches(task.lengths(learned), tuning.batch, random)]
    weights = [w for group in state.optimiser.param_groups for w in group["params"]]
    state.encoder.train()
    total = 0.0
    for step, rows in enumerate(parts, (number - 1) * len(parts)):
        factor = schedule(step, tuning.epochs * len(parts), tuning.warmup)
        for group in state.optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        state.optimiser.zero_grad()
        with _half(state.device):
            loss = batch_loss(state, task, rows, tuning.direction)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, tuning.clip)
        state.optimiser.step()
        total += float(loss.detach()) * len(rows)
        progress(1)
    return total / len(learned)


def _logits(state: State, task: Task, rows: Rows) -> torch.Tensor:
    """(n, n_experts) logits of the rows; the encoder alone may run in bfloat16."""
    tokens = [torch.as_tensor(task.tokens[int(row)], device=state.device) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(t) for t in tokens], batch_first=True)
    pooled = state.encoder({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    offset = torch.as_tensor(task.offset[rows], dtype=torch.float32, device=state.device)
    with torch.autocast(state.device.type, enabled=False):
        residual: torch.Tensor = state.head(torch.nn.functional.normalize(pooled.float(), dim=-1))
        return residual + offset


def _half(device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where the processor computes in it; float32 elsewhere."""
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
    else:
        known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        able = any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.autocast(device.type, torch.bfloat16) if able else nullcontext()


def _tensors(state: State) -> Tensors:
    """Weights, head and optimiser by name."""
    named = {f"encoder.{name}": w.detach() for name, w in state.encoder.named_parameters()}
    named |= {f"head.{name}": w.detach() for name, w in state.head.named_parameters()}
    for number, moments in state.optimiser.state_dict()["state"].items():
        named |= {f"adam.{number}.{key}": tensor for key, tensor in moments.items()}
    return {name: tensor.cpu().contiguous() for name, tensor in named.items()}


def _restore(state: State, tensors: Tensors) -> None:
    with torch.no_grad():
        for part, module in (("encoder", state.encoder), ("head", state.head)):
            for name, weights in module.named_parameters():
                weights.copy_(tensors[f"{part}.{name}"])
    adam: dict[int, dict[str, torch.Tensor]] = {}
    for name in tensors:
        if name.startswith("adam."):
            _, number, key = name.split(".")
            adam.setdefault(int(number), {})[key] = tensors[name]
    state.optimiser.load_state_dict(state.optimiser.state_dict() | {"state": adam})
