"""Reward ranking: ask every expert, then take the answer that a scorer likes best.

It needs all answers, so it is no router; the paper compares with it all the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.compare.baselines import TrainedOn
from zooter_lite.measure.metrics import draw, estimate, micro_mean, reward_of
from zooter_lite.measure.system import Array, System
from zooter_lite.table.reward_table import RewardTable


def picker(scorer: str, scores: Array, part: RewardTable, known: TrainedOn) -> System:
    """Ask every expert, then take the answer that one scorer scores highest.

    Ties go to the expert with the best mean on train. It has no `scores`: they are made of
    the answers, whose cost is spent by then.
    """
    choices = _pick(scores, np.nan_to_num(known.mean_rewards, nan=-np.inf))
    name = f"reward ranking ({scorer})"
    return System(name, "baseline", reward_of(choices, part.rewards), choices)


def _pick(scores: Array, preference: Array) -> NDArray[np.intp]:
    filled = np.where(np.isnan(scores), -np.inf, scores)
    tied = filled == filled.max(axis=1, keepdims=True)
    return np.asarray(np.where(tied, preference, -np.inf).argmax(axis=1), dtype=np.intp)


def reward_ranking(
    name: str, part: RewardTable, scorers: dict[str, Array], seed: int
) -> list[dict[str, Any]]:
    """Mean of what each judge gives to the answers that each scorer picks.

    Judges are the rewards of the table and the other scorers, each in its own unit.

    Parameters
    ----------
    name
        Of the slice.
    part
        Its n rows.
    scorers
        Per scorer (n, n_experts) scores, NaN where there is none.
    """
    if not scorers:
        return []
    draws = draw(part.subsets, seed)
    judges = {"reward": part.rewards.astype(np.float64)} | scorers
    rows = []
    for picker, scores in scorers.items():
        choices = _pick(scores, np.zeros(scores.shape[1]))
        for judge, values in judges.items():
            if judge != picker:
                earned = reward_of(choices, values)
                resampled = draws.means(earned[:, None])[:, 0]
                found = estimate(micro_mean(earned), resampled)
                rows.append({"slice": name, "judge": judge, "picker": picker, "micro": found})
    return rows
