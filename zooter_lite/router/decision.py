"""From probabilities to a decision: here a policy is added, a pure function like `arg_max`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Decision:
    """Where one query goes.

    Attributes
    ----------
    expert
        Name of the chosen expert.
    probability
        Its calibrated probability of being the best expert.
    probabilities
        That of every expert.
    """

    expert: str
    probability: float
    probabilities: dict[str, float]


def arg_max(probs: NDArray[np.floating], experts: Sequence[str]) -> list[Decision]:
    """Send each query to its most probable expert; of equals the first.

    Parameters
    ----------
    probs
        (n_queries, n_experts), rows sum to 1.
    experts
        Names in the order of the columns.
    """
    decisions = []
    for row, best in zip(probs.tolist(), probs.argmax(axis=1).tolist(), strict=True):
        by_expert = dict(zip(experts, row, strict=True))
        decisions.append(Decision(experts[best], row[best], by_expert))
    return decisions
