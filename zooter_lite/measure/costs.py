"""Cost and quality: the non-decreasing hull and AIQ, as in RouterBench; operating points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.measure.metrics import (
    Array,
    Draws,
    Estimate,
    IntArray,
    estimate,
    measured,
    ratio,
    reward_of,
)
from zooter_lite.measure.system import KNN, RIDGE, THRESHOLD, Role, System, TrainedOn
from zooter_lite.table.reward_table import RewardTable

SWEEP = 32  # points of a cost-quality curve


@dataclass(frozen=True)
class Point:
    """Mean cost and mean reward of one way to choose."""

    cost: float
    reward: float


@dataclass(frozen=True)
class CostCurve:
    """What one system reaches at which cost.

    Attributes
    ----------
    own
        Its own choices, by quality alone.
    hull
        Non-decreasing convex hull of what it reaches from there down to the cheapest expert
        for all; of a single expert, of that and the cheapest.
    aiq
        Average improvement in quality: mean height of the hull over the range of costs.
    aiq_gap
        The router's AIQ minus this one, paired by query; None for the router itself.
    """

    name: str
    role: Role
    own: Point
    hull: list[Point]
    aiq: Estimate
    aiq_gap: Estimate | None = None


@dataclass(frozen=True)
class CostQuality:
    """Costs against quality on one slice.

    Attributes
    ----------
    systems
        A curve for each system that costs can be weighed in, and for each single expert.
    random_mix
        Hull of the single experts: what mixing them at random reaches. The mixture is picked
        on the evaluated rows, which favours it.
    """

    systems: list[CostCurve]
    random_mix: list[Point]


def cost_quality(
    systems: Sequence[System], table: RewardTable, train: TrainedOn, draws: Draws
) -> CostQuality | None:
    """Measure the trade between cost and quality.

    A row counts for a choice where both its reward and its cost were observed. Where some
    were not, the points of two systems are means over different rows. None where the rows or
    train have no costs.

    The router stands first. Systems without scores are left out, but for single experts. Of an
    answer a choice may know mean costs and rewards on train alone.
    """
    train_costs = train.mean_costs
    if table.costs is None or np.isnan(table.costs).all() or train_costs is None:
        return None
    weak = int(np.nanargmin(train_costs))
    pair = (table.costs, table.rewards)
    singles = np.repeat(np.arange(len(table.experts))[:, None], len(table), axis=1)
    of_singles = _measure(singles, pair, draws)
    cheapest, costs = of_singles[:, weak], of_singles[:, :, 0]
    dearest = np.where(np.isnan(costs), -np.inf, costs).max(axis=1)
    curves: list[CostCurve] = []
    heights: list[Array] = []
    for system in [*systems, *_threshold(systems, weak, train.best_single)]:
        if system.choices is None or (system.scores is None and system.role != "single"):
            continue
        choices = system.choices[None]
        if system.scores is not None:
            known = train_costs if system.costs is None else system.costs.astype(np.float64)
            choices = np.concatenate([choices, sweep(system.scores, known)])
        measured = _measure(choices, pair, draws)
        reached = np.append(measured, cheapest[:, None], axis=1)
        heights.append(mean_height(hull(reached), cheapest[:, 0], dearest))
        curves.append(
            CostCurve(
                *(system.name, system.role, Point(*measured[0, 0].tolist()), _hull(reached[0])),
                aiq=estimate(heights[-1]),
                aiq_gap=None if system.role == "router" else estimate(heights[0] - heights[-1]),
            )
        )
    return CostQuality(curves, _hull(of_singles[0]))


def sweep(scores: Array, expert_costs: Array, n_points: int = SWEEP) -> IntArray:
    """Choose arg max of score - lambda * cost for lambdas from just above 0 to infinity.

    RouterBench (arXiv 2403.12031, section 3) sweeps the willingness to pay, 1 / lambda. The
    lambdas are quantiles of those at which some query would leave its best expert for a
    cheaper one, so the scale of the scores does not matter.

    Parameters
    ----------
    scores
        (n, n_experts), higher is better; -inf for an expert that may not be chosen.
    expert_costs
        (n_experts,) or (n, n_experts) known before a query is answered. An expert with NaN is
        never chosen.

    Returns
    -------
    (n_points, n) choices; the last row is the cheapest expert for every query.
    """
    scores = np.where(np.isnan(expert_costs), -np.inf, scores)
    costs = np.broadcast_to(expert_costs, scores.shape)
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    saved = costs[rows, best][:, None] - costs
    lost = scores[rows, best][:, None] - scores
    cheaper = (saved > 0) & np.isfinite(lost)
    prices = lost[cheaper] / saved[cheaper]
    cheapest = np.nan_to_num(costs, nan=np.inf).argmin(axis=1)[None]
    if not len(prices):
        return np.asarray(cheapest, dtype=np.intp)
    levels = (np.arange(n_points - 2) + 0.5) / (n_points - 2)
    known = np.nan_to_num(costs)
    lambdas = [prices.min() / 2, *np.quantile(prices, levels)]
    chosen = [(scores - price * known).argmax(axis=1) for price in lambdas]
    return np.concatenate([np.stack(chosen), cheapest])


def hull(points: Array) -> Array:
    """Non-decreasing convex hull of each set of points (n, m, 2), cost and reward: (n, h, 2).

    What a random mixture of the points reaches at most, by rising cost, from the cheapest point
    up to the best one; beyond that money buys nothing. RouterBench, section 3.3. A hull of fewer
    than h points repeats its last. NaN counts nowhere; a set of nothing else has a hull of NaN.

    Examples
    --------
    >>> hull(np.array([[[0.0, 0.1], [2.0, 0.5], [1.0, 0.2], [3.0, 0.4]]])).tolist()
    [[[0.0, 0.1], [2.0, 0.5]]]
    """
    known = np.where(np.isnan(points).any(axis=2, keepdims=True), np.nan, points)
    # the cheapest stands last, so that argmax takes the dearest of several on one line
    order = np.lexsort((-known[..., 1], known[..., 0]))[:, ::-1]
    costs, rewards = np.moveaxis(np.take_along_axis(known, order[..., None], axis=1), 2, 0).copy()
    sets, at = np.arange(len(costs)), np.full(len(costs), -1)
    chain: list[Array] = []
    while True:
        cost, reward = costs[sets, at], rewards[sets, at]
        chain.append(np.stack([cost, reward], axis=1))
        dearer, better = costs - cost[:, None], rewards - reward[:, None]
        rises = (dearer > 0) & (better > 0)
        if not rises.any():
            return np.stack(chain, axis=1)
        slopes = np.divide(better, dearer, out=np.zeros_like(costs), where=rises)
        at = np.where(rises.any(axis=1), slopes.argmax(axis=1), at)


def mean_height(outlines: Array, low: Array, high: Array) -> Array:
    """(n,) areas under hulls (n, h, 2) from costs `low` to `high` (n,), divided by that range.

    A hull is level beyond its last point. NaN where it begins above `low` or the range is empty.
    """
    costs, heights = outlines[..., 0], outlines[..., 1]
    runs, climbs = (np.diff(one, axis=1, append=one[:, -1:]) for one in (costs, heights))
    slopes = np.divide(climbs, runs, out=np.zeros_like(runs), where=runs > 0)
    starts = np.clip(costs, low[:, None], high[:, None])
    widths = np.diff(starts, axis=1, append=high[:, None])
    areas = (widths * (heights + slopes * (starts + widths / 2 - costs))).sum(axis=1)
    return ratio(np.where(costs[:, 0] > low, np.nan, areas), high - low)


def _measure(
    choices: IntArray, pair: tuple[NDArray[np.float32], NDArray[np.float32]], draws: Draws
) -> Array:
    """(1 + n_resamples, m, 2) mean cost and reward of choices (m, n)."""
    hidden = (np.where(np.isnan(other), np.nan, values) for values, other in (pair, pair[::-1]))
    columns = [np.stack([reward_of(one, values) for one in choices], axis=1) for values in hidden]
    return np.stack([draws.means(values) for values in columns], axis=2)


def _threshold(systems: Sequence[System], weak: int, strong: int) -> list[System]:
    """Return the router between two experts, the cheapest and the best, by a threshold.

    As RouteLLM (arXiv 2406.18665) routes, by what the ridge regressions predict of the two, or
    the nearest neighbours where these were not fitted.
    """
    by_name = {system.name: system for system in systems}
    base = by_name.get(RIDGE) or by_name.get(KNN)
    if base is None or base.scores is None or weak == strong:
        return []
    scores = np.full(base.scores.shape, -np.inf)
    scores[:, [weak, strong]] = base.scores[:, [weak, strong]]
    return [replace(base, name=THRESHOLD, choices=scores.argmax(axis=1), scores=scores)]


def _hull(points: Array) -> list[Point]:
    return [Point(*one) for one in hull(points[None])[0].tolist() if not np.isnan(one).any()]


@dataclass(frozen=True)
class PointResult:
    """One operating point on one slice, by the mean over the queries.

    `gap` is its reward minus that of the best single expert, paired by query; `cost_share` its
    cost divided by that expert's. Both costs are None where the table has none.
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
    found = []
    for point, chosen, reward, gap, cost, share in zip(
        systems, choices, rewards, gaps, costs, shares, strict=True
    ):
        words = _verdict(gap, share, best)
        if np.array_equal(chosen, choices[-1]):
            words = f"always {best}, the best single expert on train"
        found.append(PointResult(point.name, reward, gap, cost, share, words))
    return found[:-1]


def _verdict(gap: Estimate, share: Estimate | None, best: str) -> str:
    """Say what is gained or lost, and at which share of the cost."""
    at = "" if share is None or np.isnan(share.value) else f"{share.value:.0%} of the cost, "
    points = f"{100 * gap.value:+.2f} points [{100 * gap.low:.2f}, {100 * gap.high:.2f}]"
    if np.isnan(gap.value):
        return f"cannot be compared with always {best}"
    words = "no loss is shown" + (", nor a gain" if gap.low <= 0 else "")
    words = "a LOSS is shown" if gap.high < 0 else words
    return f"{at}{words}: {points} against always {best}"
