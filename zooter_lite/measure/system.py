"""The things that are compared: a system chooses an expert per query, a slice is where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.measure.metrics import Array, Draws, IntArray, reward_of
from zooter_lite.measure.partial import subset_means
from zooter_lite.router.decision import Predictions
from zooter_lite.table.reward_table import RewardTable

FloatArray = NDArray[np.float32]
Role = Literal["router", "baseline", "single", "bound"]

ROUTER, RANDOM, ORACLE = "router", "random", "oracle"
BEST_SINGLE, BEST_PER_SUBSET, KNN = "best single on train", "best per subset on train", "kNN"
RIDGE, THRESHOLD = "ridge per expert", "threshold between cheapest and best"
ALWAYS = "always "  # before the name of a single expert


@dataclass(frozen=True)
class System:
    """One way to choose an expert, with what it earned on every evaluated row.

    Attributes
    ----------
    role
        `bound` is a limit rather than a rival (random, oracle, reward ranking): it is not
        ranked, and no gap to it is tested.
    rewards
        (n,) reward earned on each row, NaN where it was not observed.
    choices
        (n,) chosen expert; None where the system chooses none (random, oracle).
    scores, costs
        (n, n_experts) what the system predicts; higher scores are better. None where it
        predicts nothing that costs could be weighed against, or goes by mean costs on train.
    level
        (n,) what other experts earned on each row (measure/partial.py); None where every
        reward of the rows was observed.
    """

    name: str
    role: Role
    rewards: Array
    choices: IntArray | None = None
    scores: Array | None = None
    costs: NDArray[np.floating] | None = None
    level: Array | None = None

    def means(self, draws: Draws) -> Array:
        """(1 + n_resamples, n_subsets) mean over all rows of each subset: whole, then resampled."""
        return subset_means(self.rewards, self.level, draws)


def chooser(name: str, role: Role, rewards: NDArray[np.floating], scores: Array) -> System:
    """Make the system that takes the best-scored expert of each row; both (n, n_experts)."""
    choices = scores.argmax(axis=1)
    return System(name, role, reward_of(choices, rewards), choices, scores)


@dataclass(frozen=True)
class TrainedOn:
    """What baselines and costs may know: mean rewards (n_experts,) on the training rows.

    And the rows with their unit embeddings (n, dim); None where the evaluated file has no
    training rows: only the best single expert is known then.
    """

    mean_rewards: Array
    table: RewardTable | None = None
    embeddings: FloatArray | None = None

    @property
    def best_single(self) -> int:
        """Position of the expert with the highest mean reward."""
        return int(np.nanargmax(self.mean_rewards))

    @property
    def mean_costs(self) -> Array | None:
        """(n_experts,) mean cost of each expert, NaN where unknown; None where nothing is."""
        costs = None if self.table is None else self.table.costs
        return None if costs is None or np.isnan(costs).all() else observed_mean(costs)


@dataclass(frozen=True)
class Slice:
    """One split of one table, with every system that was run on it.

    Attributes
    ----------
    table
        The n evaluated rows, experts in the router's order.
    known
        What could be learned on train.
    predicted, embeddings
        What the router predicts of the rows, and their unit embeddings (n, dim).
    systems
        The router first, the oracle last.
    points
        The router at each of its operating points.
    """

    table_name: str
    split: str
    table: RewardTable
    known: TrainedOn
    predicted: Predictions
    embeddings: FloatArray
    systems: list[System]
    points: Sequence[System] = ()

    @property
    def name(self) -> str:
        """As the report shows it, for instance `routerdc test`."""
        return f"{self.table_name} {self.split}"
