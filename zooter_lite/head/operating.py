"""Operating points: how much reward a unit of cost is worth, found out of fold on train.

Every candidate is a cost weight or a single expert, judged on the training rows by what was
predicted of them out of fold, paired with always asking the best single expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.router.directory.config import QUALITY, Decisions, Knot, Point

Array = NDArray[np.floating]

KNOTS = 65  # of the curve that budgets and floors are read from
CANDIDATES = 257  # cost weights that the points are chosen from
SHOWN = 1.645  # standard errors: one-sided, 95%
ALLOWED = 0.005  # of the rewards' range that `match` forgives; less cannot be told apart
MARGIN = 0.01  # of the rewards' range: a loss that is shown to be smaller is none
GIVE = 0.02  # of the rewards' range that `economy` gives up


def operating_points(
    expected: Array,
    costs: Array | None,
    rewards: Array,
    paid: Array | None,
    experts: Sequence[str],
    *,
    give: float = GIVE,
    allow: float = ALLOWED,
) -> Decisions:
    """Find the points that a router is written with.

    `quality` takes the highest expected reward. `match` is the cheapest whose mean reward is
    at most `allow` below the best single expert's, `economy` the cheapest that gives up at
    most `give`. Where the gain of `quality` is not shown, `safe` is the cheapest that is shown
    to lose less than `MARGIN`, down to a single expert; it is then recommended. So that luck
    chooses less, the gains of the cost weights are first made to rise with the cost.

    Parameters
    ----------
    expected, costs
        (n, n_experts) predicted out of fold; costs None without.
    rewards, paid
        (n, n_experts) rewards and costs as they were.
    give, allow
        Shares of the rewards' range that `economy` and `match` give up at most.
    """
    unit = float(rewards.max() - rewards.min()) or 1.0
    single = int(rewards.mean(axis=0).argmax())
    best, rows = rewards[:, single], np.arange(len(rewards))

    def judged(point: Point, choices: NDArray[np.intp]) -> Point:
        """Add to a point what its choices (n,) earn."""
        apart = rewards[rows, choices] - best
        shares = np.bincount(choices, minlength=len(experts)) / len(choices)
        return replace(
            point,
            reward=_short(rewards[rows, choices].mean()),
            cost=None if paid is None else _short(paid[rows, choices].mean()),
            gain=_short(apart.mean()),
            gain_error=_short(apart.std() / np.sqrt(len(apart))),
            shares=tuple(round(float(share), 4) for share in shares),
        )

    predicted = np.zeros(expected.shape) if costs is None or paid is None else costs
    weights = [] if costs is None or paid is None else cost_weights(expected, predicted)
    weighed = [(expected - weight * predicted).argmax(axis=1) for weight in weights]
    always = [np.full(len(rewards), place) for place in range(len(experts))]
    names = [QUALITY, *(Point("", weight) for weight in weights)]
    names += [Point(name, expert=name) for name in experts]
    ways = list(map(judged, names, [expected.argmax(axis=1), *weighed, *always]))
    reward, cost, gain, error = (
        np.asarray([getattr(way, name) for way in ways], dtype=np.float64)
        for name in ("reward", "cost", "gain", "gain_error")
    )
    alone = ways[1 + len(weights) + single]
    points, curve = ways[:1], list[Knot]()
    rising = gain.copy()

    def cheapest(name: str, least: Array | float) -> Point:
        """Return the cheapest way that gains at least `least`, and costs no more than `alone`."""
        good = np.flatnonzero((cost <= cost[1 + len(weights) + single]) & (rising >= least))
        return replace(ways[min(good, key=lambda way: (cost[way], -reward[way]))], name=name)

    if weights:
        from sklearn.isotonic import IsotonicRegression

        routed = slice(1 + len(weights))
        rising[routed] = IsotonicRegression().fit_transform(cost[routed], gain[routed])
        kept = np.unique(np.linspace(0, len(weights) - 1, KNOTS).astype(np.int64))
        curve = [
            Knot(
                *(weights[place], float(reward[1 + place]), float(cost[1 + place])),
                expected_cost=_short(predicted[rows, weighed[place]].mean()),
            )
            for place in kept
        ]
        points += [cheapest("match", -allow * unit), cheapest("economy", -give * unit)]
    words = (
        f"out of fold, its gain over always {alone.name} is {100 * gain[0] / unit:+.2f} points "
        f"(standard error {100 * error[0] / unit:.2f})"
    )
    recommended = "quality"
    if not gain[0] > SHOWN * error[0]:
        safe = cheapest("safe", SHOWN * error - MARGIN * unit) if weights else alone
        points.append(replace(safe, name="safe"))
        recommended = "safe"
        loses = f"is shown to lose less than {100 * MARGIN:g} point"
        words += f", which does not show it; safe is the cheapest way that {loses}"
        words += f": always {safe.expert}" if safe.expert else ""
    return Decisions(tuple(points), "quality", recommended, words, tuple(curve), alone)


def cost_weights(expected: Array, costs: Array) -> list[float]:
    """Rising cost weights, from 0 to where the cheapest expert gets every prompt.

    The first is 0. The others are quantiles of those at which some prompt would leave its best
    expert for a cheaper one (RouterBench, arXiv 2403.12031, section 3, sweeps the same trade).
    """
    rows, best = np.arange(len(expected)), expected.argmax(axis=1)
    saved = costs[rows, best][:, None] - costs
    lost = expected[rows, best][:, None] - expected
    prices = lost[saved > 0] / saved[saved > 0]
    if not len(prices):
        return [0.0]
    least = prices[prices > 0].min(initial=prices.max()) / 2
    levels = np.quantile(prices, np.linspace(0.0, 1.0, CANDIDATES))
    return sorted({_short(level) for level in [0.0, least, *levels, 1.01 * prices.max()]})


def _short(value: float) -> float:
    """Six digits: what config.json keeps."""
    return float(f"{float(value):.6g}")
