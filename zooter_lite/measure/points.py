"""What each operating point earns and costs, beside always asking the best single expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zooter_lite.measure.metrics import (
    Array,
    Draws,
    Estimate,
    estimate,
    measured,
    micro_mean,
    reward_of,
)
from zooter_lite.measure.system import System
from zooter_lite.table.reward_table import RewardTable


@dataclass(frozen=True)
class PointResult:
    """One operating point on one slice.

    Attributes
    ----------
    name
        Of the point.
    reward
        Mean over the queries.
    gap
        The same minus that of the best single expert, paired by query.
    cost, cost_share
        Mean cost of a query, and that divided by the best single expert's; None without costs.
    shares
        Share of the queries that each expert gets.
    verdict
        In words.
    """

    name: str
    reward: Estimate
    gap: Estimate
    cost: Estimate | None
    cost_share: Estimate | None
    shares: dict[str, float]
    verdict: str


def point_results(
    points: Sequence[System], single: System, table: RewardTable, draws: Draws
) -> list[PointResult]:
    """Measure operating points against the best single expert.

    Parameters
    ----------
    points, single
        Systems with choices on the rows of `table`.
    draws
        Resamples of the rows.
    """
    if not points or single.choices is None:
        return []
    alone, best = single.means(draws), table.experts[int(single.choices[0])]
    means = np.stack([point.means(draws) for point in points], axis=2)
    rewards = measured(means, draws).micro
    gaps = measured(means - alone[:, :, None], draws).micro
    paid = _costs([*points, single], table, draws)
    found = []
    for place, point in enumerate(points):
        choices = np.zeros(0, dtype=np.intp) if point.choices is None else point.choices
        counts = np.bincount(choices, minlength=len(table.experts)) / max(len(choices), 1)
        cost = share = None
        if paid is not None:
            own = paid[:, place]
            cost = estimate(float(own[0]), own[1:])
            ratio = own / np.where(paid[:, -1] > 0, paid[:, -1], np.nan)
            share = estimate(float(ratio[0]), ratio[1:])
        found.append(
            PointResult(
                name=point.name,
                reward=rewards[place],
                gap=gaps[place],
                cost=cost,
                cost_share=share,
                shares=dict(zip(table.experts, counts.tolist(), strict=True)),
                verdict=f"always {best}, the best single expert on train"
                if np.array_equal(choices, single.choices)
                else _verdict(gaps[place], share, best),
            )
        )
    return found


def _costs(systems: Sequence[System], table: RewardTable, draws: Draws) -> Array | None:
    """(1 + n_resamples, k) mean cost of each system's choices; None without costs."""
    if table.costs is None or np.isnan(table.costs).all():
        return None
    columns = np.stack(
        [reward_of(one.choices, table.costs) for one in systems if one.choices is not None], axis=1
    )
    whole = np.asarray([micro_mean(column) for column in columns.T])
    return np.concatenate([whole[None], draws.means(columns)])


def _verdict(gap: Estimate, share: Estimate | None, best: str) -> str:
    """Say what is gained or lost, and at which share of the cost."""
    at = "" if share is None or np.isnan(share.value) else f"{share.value:.0%} of the cost, "
    points = f"{100 * gap.value:+.2f} points [{100 * gap.low:.2f}, {100 * gap.high:.2f}]"
    if np.isnan(gap.value):
        return f"cannot be compared with always {best}"
    words = "no loss is shown" + (", nor a gain" if gap.low <= 0 else "")
    words = "a LOSS is shown" if gap.high < 0 else words
    return f"{at}{words}: {points} against always {best}"
