"""What to expect of each expert on a prompt: its reward, its cost, and how odd the prompt is.

The same arithmetic stands in `router.onnx`; `onnx/router_graph.py` builds it from these arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

COSTS = ("cost.weight", "cost.length", "cost.bias", "cost.low", "cost.high")
MAX_LOG = 60.0  # of a cost, either way; float32 holds its exponential


def as_written(named: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
    """Return arrays as safetensors takes them: C-contiguous float32."""
    return {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in named.items()}


def check_arrays(
    tensors: Mapping[str, NDArray[np.float32]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ValueError unless a file holds these arrays alone, finite float32 of these shapes."""
    if set(tensors) != set(shapes):
        raise ValueError(f"expected the arrays {sorted(shapes)}, found {sorted(tensors)}")
    for name, array in tensors.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"array {name!r} is not finite float32")
    for name, shape in shapes.items():
        if tensors[name].shape != shape or 0 in shape:
            found = tensors[name].shape
            raise ValueError(f"array {name!r} has shape {found}, expected {shape}")


@dataclass(frozen=True)
class CostModel:
    """Log-linear costs: log cost = weight @ embedding + length * log(tokens) + bias."""

    weight: Array  # (n_experts, dim); zero where an expert's cost could not be told from its mean
    length: Array  # (n_experts,) factor of the logarithm of the prompt's tokens
    bias: Array  # (n_experts,)
    low: Array  # (n_experts,) least log cost seen on train, below which none goes
    high: Array  # (n_experts,) largest

    def __call__(self, linear: Array, tokens: NDArray[np.number]) -> Array:
        """(n, n_experts) costs of prompts of (n,) tokens, at least 1.

        `linear` is weight @ embedding + bias, (n, n_experts).
        """
        logs = np.log(np.maximum(tokens, 1).astype(linear.dtype))[:, None] * self.length
        logs += linear
        return np.asarray(np.exp(np.minimum(np.maximum(logs, self.low), self.high)))


@dataclass(frozen=True)
class Estimates:
    """From embedding and logits to expected rewards, costs and novelty."""

    slope: Array  # (1,) reward that a logit is worth: a difference of rewards over a temperature
    level: Array  # (dim,) of the mean reward of all experts: how easy the prompt is
    level_bias: Array  # (1,)
    costs: CostModel | None = None  # None for a table without costs
    # (n_knots,) rising quantiles of the training queries' largest similarity to a tag, out of
    # fold; None for a head without tags
    nearness: Array | None = None

    def rewards(self, level: Array, logits: Array) -> Array:
        """(n, n_experts) expected rewards, in the unit of the table; ordered as the logits.

        `level` is that of each prompt, (n, 1): level @ embedding + level_bias.
        """
        centred = logits - np.add.reduce(logits, axis=1, keepdims=True) / logits.shape[1]
        return np.asarray(level + self.slope * centred)

    def novelty(self, nearest: Array) -> Array:
        """(n,) share of the training queries that are nearer to the tags than each prompt.

        Parameters
        ----------
        nearest
            (n,) largest cosine similarity to a tag.
        """
        if self.nearness is None:
            raise ValueError("a head without tags tells no novelty")
        knots, shares = self._knots
        return np.interp(nearest, knots, shares)

    @cached_property
    def _knots(self) -> tuple[Array, Array]:
        """(n_knots,) the nearness, and the share of the training queries beyond each."""
        knots = np.asarray(self.nearness, dtype=np.float64)
        return knots, np.linspace(1.0, 0.0, len(knots))

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays by their names in estimates.safetensors, C-contiguous float32."""
        named = {"slope": self.slope, "level": self.level, "level.bias": self.level_bias}
        if self.costs is not None:
            named |= {name: getattr(self.costs, name.split(".")[1]) for name in COSTS}
        if self.nearness is not None:
            named["nearness"] = self.nearness
        return as_written(named)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[np.float32]], n_experts: int, dim: int
    ) -> Estimates:
        """Rebuild what `tensors` returned, for a router of so many experts and dimensions.

        Raises
        ------
        ValueError
            An array is missing, unexpected, out of its range, or does not fit the router.
        """
        each = (n_experts,)
        shapes: dict[str, tuple[int, ...]] = {"slope": (1,), "level": (dim,), "level.bias": (1,)}
        if COSTS[0] in tensors:
            shapes |= {COSTS[0]: (n_experts, dim)} | dict.fromkeys(COSTS[1:], each)
        if "nearness" in tensors:
            shapes["nearness"] = (max(2, tensors["nearness"].size),)
        check_arrays(tensors, shapes)
        costs = CostModel(*(tensors[name] for name in COSTS)) if COSTS[0] in tensors else None
        if costs and not (costs.low.min() >= -MAX_LOG and costs.high.max() <= MAX_LOG):
            raise ValueError(f"log costs go beyond {MAX_LOG:g}")
        nearness = tensors.get("nearness")
        if nearness is not None and not (np.diff(nearness) > 0).all():
            raise ValueError("array 'nearness' does not rise")
        return cls(tensors["slope"], tensors["level"], tensors["level.bias"], costs, nearness)
