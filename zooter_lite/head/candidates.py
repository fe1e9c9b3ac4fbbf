"""What cross-validation chooses from: tags, label temperatures, shares of the label, L2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.head.fit_setting import Setting
from zooter_lite.recipe import Recipe
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.tags.tagging import Tags, cluster_tags, given_tags

TEMPERATURES = (1.0, 3.0)  # in multiples of the rewards' spread
BETAS = (0.0, 0.3, 1.0)
L2S = (0.1, 0.03, 0.01, 0.003)
GRANULARITIES = ((8, 16, 32), (16, 32, 64))


@dataclass(frozen=True)
class Candidates:
    """What cross-validation may choose from.

    Attributes
    ----------
    taggings
        Ways of tagging the training queries; may be empty (no tags).
    temperatures, betas, l2s
        Label temperature (reward units), sample share, L2 weight.
    """

    taggings: Sequence[Tags]
    temperatures: Sequence[float]
    betas: Sequence[float]
    l2s: Sequence[float]

    def paths(self) -> list[list[Setting]]:
        """List settings that differ in L2 alone, strongest first, so that each starts the next."""
        taggings: list[int | None] = list(range(len(self.taggings))) or [None]
        betas = self.betas if self.taggings else (1.0,)
        descending = sorted(self.l2s, reverse=True)
        return [
            [Setting(tagging, temperature, beta, l2) for l2 in descending]
            for tagging, temperature, beta in product(taggings, self.temperatures, betas)
        ]

    def tags_of(self, setting: Setting) -> Tags | None:
        """Tags of the training queries under a setting."""
        return None if setting.tagging is None else self.taggings[setting.tagging]


def candidates_for(
    train: RewardTable,
    embeddings: NDArray[np.float32],
    recipe: Recipe,
    tagging: str | None = None,
) -> Candidates:
    """Build the grid that the recipe leaves open on these training rows.

    Parameters
    ----------
    tagging
        Name of the one tagging to take of those that `recipe.tags` gives; None takes any.

    Raises
    ------
    DataError
        Tags are asked for that the table does not have.
    """
    taggings: list[Tags | None] = []
    if recipe.tags == "given" and train.tags is None:
        raise DataError("--tags given: the table has no column 'tags'")
    if recipe.tags in ("best", "given") and train.tags is not None:
        taggings.append(given_tags(embeddings, train.tags))
    if recipe.tags == "given" and taggings == [None]:
        raise DataError("--tags given: no tag is carried by enough training queries (10)")
    if recipe.tags in ("best", "auto"):
        taggings += cluster_tags(embeddings, GRANULARITIES, recipe.seed)
    spread = reward_spread(train.rewards)
    temperatures = [t * spread for t in TEMPERATURES]
    if recipe.temperature is not None or recipe.labels == "hard":  # which do not depend on it
        temperatures = [recipe.temperature or spread]
    return Candidates(
        taggings=[tags for tags in taggings if tags and tagging in (None, tags.name)],
        temperatures=temperatures,
        betas=BETAS if recipe.beta is None else (recipe.beta,),
        l2s=L2S if recipe.l2 is None else (recipe.l2,),
    )


def reward_spread(rewards: NDArray[np.floating]) -> float:
    """Root mean squared deviation of rewards from their query's mean; 1 where nothing varies."""
    values = np.asarray(rewards, dtype=np.float64)
    compared = values[(~np.isnan(values)).sum(axis=1) > 1]
    if not len(compared):
        return 1.0
    deviations = compared - np.nanmean(compared, axis=1, keepdims=True)
    spread = float(np.sqrt(np.nanmean(deviations**2)))
    return spread if spread > 0 else 1.0
