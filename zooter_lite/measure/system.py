"""The things that are compared: a system chooses an expert per query, a slice is where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zooter_lite.table.reward_table import RewardTable

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.intp]

Role = Literal["router", "baseline", "single", "bound"]

ROUTER, RANDOM, ORACLE = "router", "random", "oracle"
BEST_SINGLE, BEST_PER_SUBSET, KNN = "best single on train", "best per subset on train", "kNN"
ALWAYS = "always "  # before the name of a single expert


@dataclass(frozen=True)
class System:
    """One way to choose an expert, with what it earned on every evaluated row.

    Attributes
    ----------
    name
        As the tables show it.
    role
        `bound` is a limit rather than a rival (random, oracle) and is not ranked.
    rewards
        (n,) reward earned on each row, NaN where it was not observed.
    choices
        (n,) chosen expert; None where the system chooses none (random, oracle).
    scores
        (n, n_experts) what the system predicts, higher is better; None where it predicts
        nothing that costs could be weighed against.
    """

    name: str
    role: Role
    rewards: Array
    choices: IntArray | None
    scores: Array | None = None


@dataclass(frozen=True)
class Slice:
    """One split of one table, with every system that was run on it.

    Attributes
    ----------
    name
        As the report shows it, for instance `routerdc test`.
    table_name, split
        Where the rows come from.
    table
        The n evaluated rows, experts in the router's order.
    groups
        Group of each subset; subsets without one are absent.
    best_single
        Index of the expert with the best mean on the training rows.
    probs
        (n, n_experts) the router's calibrated probabilities.
    embeddings
        (n, dim) unit embeddings of the queries.
    systems
        The router first.
    """

    name: str
    table_name: str
    split: str
    table: RewardTable
    groups: dict[str, str]
    best_single: int
    probs: FloatArray
    embeddings: FloatArray
    systems: list[System]
