"""What cross-validation chooses from: a few settings from weak to strong signal, or a grid."""

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
from zooter_lite.tags.tagging import GIVEN, Tags, cluster_tags, given_tags

# Label temperature in multiples of the rewards' spread, sample share, L2. The first is for
# noisy rewards and experts that are much alike, the last for true specialists.
SETTINGS = ((3.0, 0.3, 0.03), (3.0, 1.0, 0.01), (1.0, 1.0, 0.003))
GRID = tuple(product((3.0, 1.0), (0.0, 0.3, 1.0), (0.1, 0.03, 0.01, 0.003)))  # of --tune
Fixed = tuple[float, float, float]
GRANULARITIES = ((8, 16, 32),)
TUNED_GRANULARITIES = ((8, 16, 32), (16, 32, 64))


@dataclass(frozen=True)
class Candidates:
    """Settings, whose `tagging` is a position in `taggings`; `usual` are those without --tune."""

    taggings: Sequence[Tags]
    settings: Sequence[Setting]
    usual: Sequence[Setting] = ()

    def tags_of(self, tagging: int | None) -> Tags | None:
        """Tags of the training queries by their position."""
        return None if tagging is None else self.taggings[tagging]

    def simplicity(self, setting: Setting) -> tuple[float, ...]:
        """Sort key, least for the simplest: no domains, no tags, then tags of many queries.

        Then the highest temperature, the largest L2, the most tag share.
        """
        tags = self.tags_of(setting.tagging)
        support = np.inf if tags is None else float(np.median(tags.assignment.support()))
        return (setting.domains, -support, -setting.temperature, -setting.l2, setting.beta)


def candidates_for(
    train: RewardTable,
    embeddings: NDArray[np.float32],
    recipe: Recipe,
    tagging: str | None = None,
    *,
    domains: bool = False,
) -> Candidates:
    """Build what the recipe leaves open on these training rows.

    `tagging` names the one to take of those that `recipe.tags` gives; None takes any. Where
    there are `domains` to tell apart, each setting is tried with and without.

    Raises
    ------
    DataError
        Tags are asked for that the table does not have.
    """
    found: list[Tags | None] = []
    if recipe.tags == "given" and train.tags is None:
        raise DataError("--tags given: the table has no column 'tags'")
    if recipe.tags in ("best", "given") and train.tags is not None:
        found.append(given_tags(embeddings, train.tags))
    if recipe.tags == "given" and found == [None]:
        raise DataError("--tags given: no tag is carried by enough training queries (10)")
    if recipe.tags in ("best", "auto") and tagging != GIVEN:
        sizes = TUNED_GRANULARITIES if recipe.tune else GRANULARITIES
        found += cluster_tags(embeddings, sizes, recipe.seed)
    taggings = [tags for tags in found if tags and tagging in (None, tags.name)]
    spread = reward_spread(train.rewards)

    def settings(places: Sequence[int | None], open_ones: Sequence[Fixed]) -> list[Setting]:
        settings = (
            Setting(
                place,
                (spread if recipe.labels == "hard" else temperature * spread)
                if recipe.temperature is None
                else recipe.temperature,
                1.0 if place is None else beta if recipe.beta is None else recipe.beta,
                l2 if recipe.l2 is None else recipe.l2,
                domains=known,
            )
            for place in places
            for known in ((False, True) if domains and taggings else (False,))
            for temperature, beta, l2 in open_ones
        )
        return list(dict.fromkeys(settings))

    places: list[int | None] = list(range(len(taggings))) or [None]
    few = places[: len(places) - (recipe.tune and len(taggings) > 1)]  # without the finer clusters
    usual = settings(few, SETTINGS)
    return Candidates(taggings, settings(places, GRID) if recipe.tune else usual, usual)


def reward_spread(rewards: NDArray[np.floating]) -> float:
    """Root mean squared deviation of rewards from their query's mean; 1 where nothing varies."""
    values = np.asarray(rewards, dtype=np.float64)
    compared = values[(~np.isnan(values)).sum(axis=1) > 1]
    if not len(compared):
        return 1.0
    deviations = compared - np.nanmean(compared, axis=1, keepdims=True)
    spread = float(np.sqrt(np.nanmean(deviations**2)))
    return spread if spread > 0 else 1.0
