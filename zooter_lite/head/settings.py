"""What cross-validation chooses from, and what the user fixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.head.distil import Direction, HeadKind
from zooter_lite.head.domains import Domains
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.tags.tagging import Tagging

TEMPERATURES = (1.0, 3.0)  # in multiples of the rewards' spread
BETAS = (0.0, 0.3, 1.0)
L2S = (0.1, 0.03, 0.01, 0.003)


@dataclass(frozen=True)
class Candidates:
    """What cross-validation may choose from.

    Attributes
    ----------
    taggings
        Ways of tagging the training queries; may be empty (no tags).
    temperatures, betas, l2s
        Label temperature (reward units), sample share, L2 weight.
    domains
        Subsets of the training queries, for the prior head; None does without.
    """

    taggings: Sequence[Tagging]
    temperatures: Sequence[float]
    betas: Sequence[float]
    l2s: Sequence[float]
    domains: Domains | None = None

    def only(self, setting: Setting) -> Candidates:
        """Return the candidates that leave this setting alone."""
        return replace(
            self,
            taggings=[] if setting.tagging is None else [self.taggings[setting.tagging]],
            temperatures=(setting.temperature,),
            betas=(setting.beta,),
            l2s=(setting.l2,),
        )


@dataclass(frozen=True)
class Method:
    """What the user fixes: the head, the labels and the divergence."""

    kind: HeadKind = "prior"
    hard_labels: bool = False
    direction: Direction = "label-router"
    seed: int = 0


@dataclass(frozen=True)
class Setting:
    """One point of the grid; `tagging` is a position in `Candidates.taggings` or None."""

    tagging: int | None
    temperature: float
    beta: float
    l2: float


def reward_spread(rewards: NDArray[np.floating]) -> float:
    """Root mean squared deviation of rewards from their query's mean; 1 where nothing varies."""
    values = np.asarray(rewards, dtype=np.float64)
    compared = values[(~np.isnan(values)).sum(axis=1) > 1]
    if not len(compared):
        return 1.0
    deviations = compared - np.nanmean(compared, axis=1, keepdims=True)
    spread = float(np.sqrt(np.nanmean(deviations**2)))
    return spread if spread > 0 else 1.0


def never_rewarded(rewards: NDArray[np.floating]) -> list[int]:
    """Positions of the experts without a single observed reward."""
    return [int(i) for i in np.flatnonzero(np.isnan(observed_mean(rewards)))]
