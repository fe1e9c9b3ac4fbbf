"""What each operating point earns and costs, beside always asking the best single expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zooter_lite.measure.metrics import Draws, Estimate, estimate, measured, ratio, reward_of
from zooter_lite.measure.system import System
from zooter_lite.table.reward_table import RewardTable


@dataclass(frozen=True)
class PointResult:
    """One operating point on one slice.

    Attributes
    ----------
    reward
        Mean over the queries.
    gap
        The same minus that of the best single expert, paired by query.
    cost, cost_share
        Mean cost of a query, and that divided by the best single expert's; None without costs.
    """

    name: str
    reward: Estimate
    gap: Estimate
    cost: Estimate | None
    cost_share: Estimate | None
    verdict: str


def point_results(
    points: Sequence[System], single: System, table: RewardTable, draws: Draws
) -> list[PointResult]:
    """Measure operating points against the best single expert, on the rows of `table`."""
    systems = [*points, single]
    choices = [one.choices for one in systems if one.choices is not None]
    best = table.experts[int(choices[-1][0])]
    means = np.stack([one.means(draws) for one in systems], axis=2)
    rewards = measured(means, draws).micro
    gaps = measured(means - means[:, :, -1:], draws).micro
    costs: Sequence[Estimate | None] = [None] * len(systems)
    shares = costs
    if table.costs is not None and not np.isnan(table.costs).all():
        paid = draws.means(np.stack([reward_of(one, table.costs) for one in choices], axis=1))
        costs = [estimate(own) for own in paid.T]
        shares = [estimate(own) for own in ratio(paid, paid[:, -1:]).T]
    return [
        PointResult(
            name=point.name,
            reward=rewards[place],
            gap=gaps[place],
            cost=costs[place],
            cost_share=shares[place],
            verdict=f"always {best}, the best single expert on train"
            if np.array_equal(choices[place], choices[-1])
            else _verdict(gaps[place], shares[place], best),
        )
        for place, point in enumerate(points)
    ]


def _verdict(gap: Estimate, share: Estimate | None, best: str) -> str:
    """Say what is gained or lost, and at which share of the cost."""
    at = "" if share is None or np.isnan(share.value) else f"{share.value:.0%} of the cost, "
    points = f"{100 * gap.value:+.2f} points [{100 * gap.low:.2f}, {100 * gap.high:.2f}]"
    if np.isnan(gap.value):
        return f"cannot be compared with always {best}"
    words = "no loss is shown" + (", nor a gain" if gap.low <= 0 else "")
    words = "a LOSS is shown" if gap.high < 0 else words
    return f"{at}{words}: {points} against always {best}"
