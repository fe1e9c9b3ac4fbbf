"""What fine-tuning is given, and its arithmetic: rates, schedule, batches."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.find import EncoderError
from zooter_lite.finetune.processes import Precision
from zooter_lite.head.distil import Direction

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

VERSION = 1  # to be raised with every change of what fine-tuning computes
POOL = 20  # batches that are sorted by length together


@dataclass(frozen=True)
class Tuning:
    """How an encoder is fine-tuned.

    Attributes
    ----------
    epochs
        At most; early stopping may keep fewer, also none.
    rate, decay, head_factor
        Learning rate of the top layer, its factor per layer below, and its factor for the
        head.
    batch, warmup, clip, weight_decay
        Queries per step (of all processes together), share of the steps in which the rates
        rise, largest norm of the gradient, AdamW's decay (of matrices alone).
    direction
        Of the KL divergence.
    seed
        Of the order of the queries and of dropout.
    precision
        "bf16" computes the encoder in bfloat16 (the weights stay float32), "no" does not;
        "auto" does where the processor has it.
    accumulate
        Parts in which a process computes its share of a batch, for less memory. The step is
        that of the whole batch all the same.
    """

    epochs: int
    rate: float = 2e-5
    decay: float = 0.85
    head_factor: float = 10.0
    batch: int = 32
    warmup: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.01
    direction: Direction = "label-router"
    seed: int = 0
    precision: Precision = "auto"
    accumulate: int = 1


@dataclass(frozen=True)
class Task:
    """What fine-tuning learns from, and what it is measured on.

    The logits are `offset` + `weight` @ unit embedding + `bias`. The offset stays: it is
    what tags and domains say by the frozen embeddings. Weight and bias are a start.

    Attributes
    ----------
    tokens
        Token ids of each query.
    offset, labels, rewards
        (n_queries, n_experts); labels and rewards NaN where not observed.
    held
        (n_queries,) queries that are not learned from; their labels are not looked at.
    weight, bias
        (n_experts, dim) and (n_experts,), fitted without the held queries.
    frozen
        Mean reward of the expert chosen for the held queries before any training.
    """

    tokens: Sequence[Rows]
    offset: Array
    labels: Array
    rewards: Array
    held: NDArray[np.bool_]
    weight: Array
    bias: Array
    frozen: float

    def key(self, encoder: str, tuning: Tuning) -> str:
        """Return 16 hexadecimal digits over all that decides the result.

        How a batch is divided (`accumulate`, the number of processes) changes its rounding
        and dropout's masks, and has no part in the key.
        """
        tuning = replace(tuning, accumulate=1)
        digest = hashlib.sha256(f"{VERSION}\0{encoder}\0".encode())
        digest.update(json.dumps(asdict(tuning), sort_keys=True).encode())
        learned = np.where(self.held[:, None], 0.0, self.labels)
        numbers = (self.offset, learned, self.rewards, self.weight, self.bias)
        lengths = np.asarray([len(ids) for ids in self.tokens])
        for array in (lengths, *self.tokens, self.held, *(a.astype(np.float32) for a in numbers)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def lengths(self, rows: Rows) -> Rows:
        """(n,) number of tokens of these queries."""
        return np.asarray([len(self.tokens[int(row)]) for row in rows], dtype=np.int64)


def layer_rates(names: Sequence[str], tuning: Tuning, encoder: str = "") -> dict[str, float]:
    """Learning rate of each parameter: smaller by `decay` with every layer below the top.

    Embeddings count as the layer below the first, what is in no layer as the top.

    Examples
    --------
    >>> layer_rates(["embeddings.word", "layer.0.w", "layer.1.w"], Tuning(1, 1.0, 0.5))
    {'embeddings.word': 0.25, 'layer.0.w': 0.5, 'layer.1.w': 1.0}

    Raises
    ------
    EncoderError
        No name has a layer's number.
    """
    found = {name: re.search(r"(?:^|\.)(?:layers?|blocks?)\.(\d+)\.", name) for name in names}
    places = {name: int(match[1]) for name, match in found.items() if match}
    if not places:
        raise EncoderError(f"encoder {encoder!r}: it has no transformer layers to fine-tune")
    top = max(places.values())
    for name in names:
        places.setdefault(name, -1 if "embed" in name else top)
    return {name: tuning.rate * tuning.decay ** (top - places[name]) for name in names}


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the factor of the learning rates in a step: up over the warm-up, down to the end.

    Examples
    --------
    >>> [schedule(step, 6, 1 / 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rising = max(1, round(warmup * steps))
    return (step + 1) / rising if step < rising else (steps - step) / (steps - rising)


def batches(
    lengths: NDArray[np.int64], size: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Positions (up to `size`) of each batch: shuffled, but of similar length within a batch."""
    order = random.permutation(len(lengths))
    pools = [order[i : i + POOL * size] for i in range(0, len(order), POOL * size)]
    found = []
    for pool in pools:
        ranked = pool[np.argsort(lengths[pool], kind="stable")]
        found += [ranked[i : i + size] for i in range(0, len(ranked), size)]
    return [found[i] for i in random.permutation(len(found))]


def share(batch: Rows, rank: int, processes: int, parts: int) -> list[Rows]:
    """Return what process `rank` computes of a batch, in up to `parts` parts; none is empty.

    The batch is sorted by length: every process gets its turn, so that all have as much to
    do, and a part is of similar length.

    Examples
    --------
    >>> [part.tolist() for part in share(np.arange(10), 1, 2, 2)]
    [[1, 3, 5], [7, 9]]
    """
    return [part for part in np.array_split(batch[rank::processes], parts) if len(part)]
