"""The weights in training: encoder and head, their optimiser, their loss, their tensors."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zooter_lite.finetune.checkpoint import Tensors
from zooter_lite.finetune.processes import accelerator
from zooter_lite.finetune.tuning import Rows, Task, Tuning, layer_rates, share
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.distil import Direction, kl_divergence

_CHUNK = 64  # held queries that are computed together


class Learner(torch.nn.Module):
    """Encoder and head as one module: logits of a batch of tokens."""

    def __init__(self, encoder: Any, head: torch.nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """(n, n_experts) logits; accelerate wraps this, in bfloat16 where that was asked."""
        return self.logits(ids, mask, offset)

    def logits(self, ids: torch.Tensor, mask: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """(n, n_experts) logits; the encoder alone may run in bfloat16."""
        pooled = self.encoder({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
        with torch.autocast(ids.device.type, enabled=False):
            unit = torch.nn.functional.normalize(pooled.float(), dim=-1)
            residual: torch.Tensor = self.head(unit)
            return residual + offset


@dataclass(frozen=True)
class State:
    """Encoder and head under an optimiser; the weights change in place.

    Attributes
    ----------
    learner
        The module whose weights are kept.
    parallel
        The same as accelerate prepared it: its gradient is the mean over the processes.
    accelerator, optimiser
        accelerate's Accelerator, and AdamW with a rate for each layer.
    """

    learner: Learner
    parallel: Any
    accelerator: Any
    optimiser: torch.optim.AdamW

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = self.accelerator.device
        return found


def begin(encoder: Any, name: str, task: Task, tuning: Tuning) -> State:
    """Put encoder and head on the device, under AdamW with a rate for each layer.

    Every process of a launch has to call this; they start from the first one's weights.
    """
    prepared = accelerator(tuning.precision)
    head = torch.nn.Linear(*task.weight.shape[::-1])
    with torch.no_grad():
        head.weight.copy_(torch.as_tensor(task.weight))
        head.bias.copy_(torch.as_tensor(task.bias))
    learner = Learner(encoder.float(), head).to(prepared.device)
    named = dict(learner.encoder.named_parameters())
    rates = layer_rates(list(named), tuning, name)
    pairs = [(named[key], rates[key]) for key in named]
    pairs += [(w, tuning.rate * tuning.head_factor) for w in learner.head.parameters()]
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
    return State(learner, prepared.prepare(learner), prepared, optimiser)


def batch_loss(state: State, task: Task, rows: Rows, how: Direction) -> torch.Tensor:
    """Mean KL divergence of the rows, with a gradient."""
    labels = torch.as_tensor(task.labels[rows], dtype=torch.float32, device=state.device)
    return kl_divergence(state.parallel(*_inputs(state, task, rows)), labels, how)


def gradient(state: State, task: Task, tuning: Tuning, batch: Rows) -> float:
    """Leave the gradient of the mean loss of the batch, computed by all processes together.

    A process computes its share in `tuning.accumulate` parts. accelerate averages over the
    processes: each part is weighted so that this is the mean over the batch, whatever the
    sizes of the shares. A process that has no share computes one row with weight 0.

    Returns
    -------
    Sum of the losses of this process's share.
    """
    place = state.accelerator
    parts = share(batch, place.process_index, place.num_processes, tuning.accumulate)
    total = 0.0
    for number, rows in enumerate(parts or [batch[:1]], 1):
        counted = len(rows) if parts else 0
        with place.no_sync(state.parallel) if number < len(parts) else nullcontext():
            loss = batch_loss(state, task, rows, tuning.direction)
            place.backward(loss * (counted * place.num_processes / len(batch)))
        total += float(loss.detach()) * counted
    return total


def held_reward(state: State, task: Task) -> float:
    """Mean reward of the expert chosen for the held queries, in float32 and without dropout.

    The processes share the work; all return the same, whatever their number.
    """
    rows = np.flatnonzero(task.held)
    order = rows[np.argsort(task.lengths(rows), kind="stable")]
    starts = range(0, len(order), _CHUNK)
    place = state.accelerator
    state.learner.eval()
    found: list[tuple[int, NDArray[np.float64]]] = []
    with torch.no_grad():
        for start in starts[place.process_index :: place.num_processes]:
            inputs = _inputs(state, task, order[start : start + _CHUNK])
            found.append((start, state.learner.logits(*inputs).double().cpu().numpy()))
    found = sorted(_gathered(found), key=lambda part: part[0])
    logits = np.concatenate([part for _, part in found])
    return float(np.nanmean(reward_of_choice(logits, task.rewards[order])))


def summed(state: State, value: float) -> float:
    """Return the sum of the processes' values, the same in all of them."""
    own = torch.tensor(value, dtype=torch.float64, device=state.device)
    return float(state.accelerator.reduce(own, "sum"))


def tensors_of(state: State) -> Tensors:
    """Weights, head and optimiser by name."""
    named = {name: weights.detach() for name, weights in state.learner.named_parameters()}
    for number, moments in state.optimiser.state_dict()["state"].items():
        named |= {f"adam.{number}.{key}": tensor for key, tensor in moments.items()}
    return {name: tensor.cpu().contiguous() for name, tensor in named.items()}


def restore(state: State, tensors: Tensors) -> None:
    """Put back what `tensors_of` gave."""
    with torch.no_grad():
        for name, weights in state.learner.named_parameters():
            weights.copy_(tensors[name])
    adam: dict[int, dict[str, torch.Tensor]] = {}
    for name in tensors:
        if name.startswith("adam."):
            _, number, key = name.split(".")
            adam.setdefault(int(number), {})[key] = tensors[name]
    state.optimiser.load_state_dict(state.optimiser.state_dict() | {"state": adam})


def _gathered(own: list[Any]) -> list[Any]:
    """Return the elements of every process's list, in all of them."""
    from accelerate.utils import gather_object

    found: list[Any] = gather_object(own)
    return found


def _inputs(state: State, task: Task, rows: Rows) -> tuple[torch.Tensor, ...]:
    """Token ids and mask, (n, length), and offset, (n, n_experts), on the device."""
    tokens = [torch.as_tensor(task.tokens[int(row)], device=state.device) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(t) for t in tokens], batch_first=True)
    offset = torch.as_tensor(task.offset[rows], dtype=torch.float32, device=state.device)
    return ids, mask, offset
