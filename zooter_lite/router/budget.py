"""Operating points of your own: a mean cost to keep to, or a mean reward to reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zooter_lite.errors import DataError
from zooter_lite.router.decision import MOST_WEIGHT, Mask, Predictions
from zooter_lite.router.directory.config import Knot, Point

_NO_COSTS = "this router knows no costs, so it has no budget and no floor"


def point_on(
    curve: Sequence[Knot], *, budget: float | None = None, floor: float | None = None
) -> Point:
    """Find a point on a curve: the best within a mean cost, or the cheapest above a mean reward.

    Raises
    ------
    DataError
        Not exactly one of budget and floor, no curve, or a figure out of reach.
    """
    if (budget is None) == (floor is None):
        raise DataError("expected either a budget or a floor")
    if not curve:
        raise DataError(_NO_COSTS)
    if budget is not None:
        good = [knot for knot in curve if knot.cost <= budget]
        if not good:
            raise _too_cheap(budget, min(knot.cost for knot in curve))
        name, best = f"budget {budget:g}", max(good, key=lambda knot: (knot.reward, -knot.cost))
    else:
        good = [knot for knot in curve if floor is not None and knot.reward >= floor]
        if not good:
            most = max(knot.reward for knot in curve)
            raise DataError(f"floor {floor:g}: the best choices earn {most:.6g} a prompt")
        name, best = f"floor {floor:g}", min(good, key=lambda knot: (knot.cost, -knot.reward))
    return Point(name, best.cost_weight, None, best.reward, best.cost)


def _too_cheap(budget: float, least: float) -> DataError:
    return DataError(f"budget {budget:g}: the cheapest choices cost {least:.6g} a prompt")


def within_budget(
    predicted: Predictions,
    budget: float,
    curve: Sequence[Knot] = (),
    eligible: Mask | None = None,
) -> Point:
    """Find the least cost weight at which these n prompts cost no more than the budget.

    The point has the mean reward and cost that are expected of these prompts.

    Parameters
    ----------
    predicted
        Of prompts like those that will come.
    budget
        Mean cost of a prompt, in the unit of the table.
    curve
        Of the router: expected costs are corrected by what choices turned out to cost on train.
    eligible
        (n, n_experts) who may be chosen, somebody for each prompt; None for everybody.

    Raises
    ------
    DataError
        The router predicts no costs, or even the cheapest expert costs more.
    """
    if predicted.rewards is None or predicted.costs is None:
        raise DataError(_NO_COSTS)
    rewards, costs = predicted.rewards.astype(np.float64), predicted.costs.astype(np.float64)
    if eligible is not None:
        rewards = np.where(eligible, rewards, -np.inf)
    rows = np.arange(len(costs))
    weights = [knot.cost_weight for knot in curve] or [0.0]
    ratios = [knot.cost / max(knot.expected_cost, 1e-30) for knot in curve] or [1.0]

    def means(weight: float) -> tuple[float, float]:
        """Mean reward and mean cost, as corrected, at a cost weight."""
        choices = (rewards - weight * costs).argmax(axis=1)
        spent = costs[rows, choices].mean() * np.interp(weight, weights, ratios)
        return float(rewards[rows, choices].mean()), float(spent)

    least = float(np.where(np.isneginf(rewards), np.inf, costs).min(axis=1).mean() * ratios[-1])
    if not budget >= least:
        raise _too_cheap(budget, least)
    low = high = 0.0
    if means(low)[1] > budget:
        high = 1.0 / max(float(costs.mean()), 1e-29)
        while means(high)[1] > budget and high < MOST_WEIGHT / 4:
            high *= 4.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if means(middle)[1] <= budget else (middle, high)
    return Point(f"budget {budget:g}", high, None, *means(high))
