"""Operating points: how much reward a unit of cost is worth, found out of fold on train.

Every candidate is a cost weight or a single expert, judged on the training rows by what was
predicted of them out of fold, paired with always asking the best single expert.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    best = rewards[:, single]
    rows = np.arange(len(rewards))

    def judged(choices: NDArray[np.intp], point: Point) -> Point:
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

    quality = judged(expected.argmax(axis=1), QUALITY)
    always = [
        judged(np.full(len(rewards), place), Point(name, expert=name))
        for place, name in enumerate(experts)
    ]
    alone = always[single]
    points, curve = [quality], list[Knot]()
    if costs is not None and paid is not None:
        weights = cost_weights(expected, costs)
        choices = [(expected - weight * costs).argmax(axis=1) for weight in weights]
        weighed = [judged(c, Point("", weight)) for c, weight in zip(choices, weights, strict=True)]
        curve = [
            Knot(w, p.reward or 0.0, p.cost or 0.0, _short(costs[rows, c].mean()))
            for w, p, c in zip(weights, weighed, choices, strict=True)
        ]
        kept = np.unique(np.linspace(0, len(curve) - 1, KNOTS).astype(np.int64))
        curve = [curve[place] for place in kept]
        gains = [*_rising([quality, *weighed]), *(point.gain or 0.0 for point in always)]
        found = zip([quality, *weighed, *always], gains, strict=True)
        no_dearer = [(p, gain) for p, gain in found if (p.cost or 0.0) <= (alone.cost or 0.0)]
        points += [
            _cheapest(no_dearer, "match", lambda _: -allow * unit),
            _cheapest(no_dearer, "economy", lambda _: -give * unit),
        ]
    shown = (quality.gain or 0.0) > SHOWN * _error(quality)
    words = (
        f"out of fold, its gain over always {alone.name} is "
        f"{100 * (quality.gain or 0.0) / unit:+.2f} points "
        f"(standard error {100 * _error(quality) / unit:.2f})"
    )
    recommended = "quality"
    if not shown:
        safe = alone
        if costs is not None:
            safe = _cheapest(no_dearer, "", lambda p: SHOWN * _error(p) - MARGIN * unit)
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


def _error(point: Point) -> float:
    return point.gain_error or 0.0


def _rising(points: Sequence[Point]) -> list[float]:
    """Return the gains of points, smoothed so that they rise with the cost (isotonic)."""
    from sklearn.isotonic import IsotonicRegression

    costs, gains = [point.cost for point in points], [point.gain for point in points]
    rising: list[float] = IsotonicRegression().fit_transform(costs, gains).tolist()
    return rising


def _cheapest(
    found: Sequence[tuple[Point, float]], name: str, least: Callable[[Point], float]
) -> Point:
    """Return the cheapest of the points whose gain is at least `least` of it, under a name.

    The best single expert is one of them; it gains nothing and loses nothing.
    """
    good = [point for point, gain in found if gain >= least(point)]
    return replace(min(good, key=lambda p: (p.cost or 0.0, -(p.reward or 0.0))), name=name)


def _short(value: float) -> float:
    """Six digits: what config.json keeps."""
    return float(f"{float(value):.6g}")
