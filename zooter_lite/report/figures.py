"""Which figures a report has, drawn from what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from zooter_lite.measure.costs import CostQuality, Point
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.ranks import Ranking
from zooter_lite.measure.results import SliceReport
from zooter_lite.measure.system import ALWAYS
from zooter_lite.report.plots import Dot, Drawing, Series, document, named_rows, plane
from zooter_lite.report.readable import counted, number

REWARD = "mean reward ×100"
WIDE_RANGE = 30  # dearest cost over cheapest beyond which the axis is logarithmic
_RIVALS = (("baseline", "6 3"), ("other", "2 3"), ("bound", "8 3 2 3"))  # looks over cost


def chart(slices: Iterable[SliceReport]) -> str:
    """Return an SVG file that shows what every system earns, and what that costs."""
    panels = []
    for one in slices:
        panels.append(earned(one))
        if one.costs:
            panels.append(cost_curves(one, one.costs))
    return document(panels)


def ranked(ranking: Ranking) -> str:
    """Return an SVG file with the mean task ranks over all slices, best first."""
    known = [system for system in ranking.systems if not math.isnan(system.mtr.value)]
    rows = [
        (system.name, _dot(system.mtr, system.role, 1.0))
        for system in sorted(known, key=lambda system: system.mtr.value)
    ]
    return document([named_rows("Mean task rank (MTR)", rows, "mean rank over the subsets")])


def earned(one: SliceReport) -> Drawing:
    """Draw the mean of every system, best first; that of the best single expert once.

    The bounds, which would stretch the axis, stand in its name.
    """
    known = [s for s in one.systems if s.name != ALWAYS + one.best_expert]
    known = sorted(
        (system for system in known if not math.isnan(system.micro.value)),
        key=lambda system: -system.micro.value,
    )
    bounds = [f"{s.name} {number(s.micro.value)}" for s in known[::-1] if s.role == "bound"]
    rows = [(one.label(s), _dot(s.micro, s.role)) for s in known if s.role != "bound"]
    title = f"{one.name}: {REWARD} over {counted(one.rows, 'query')}, 95% intervals"
    return named_rows(title, rows, f"{REWARD} ({', '.join(bounds)})" if bounds else REWARD)


def cost_curves(one: SliceReport, costs: CostQuality) -> Drawing:
    """Draw the hulls of the router and of the three baselines with the largest area.

    The single experts stand there, and the operating points by name.
    """
    known = [system for system in costs.systems if not math.isnan(system.aiq.value)]
    known.sort(key=lambda system: -system.aiq.value)
    rivals = [system for system in known if system.role == "baseline"]
    experts = [s.own for s in costs.systems if s.role == "single" and not math.isnan(s.own.cost)]
    points = [(p.cost.value, p) for p in one.points if p.cost and not math.isnan(p.cost.value)]
    every = [own.cost for own in experts] + [cost for cost, _ in points]
    paid = [cost for cost in every if cost > 0]
    least, dearest = min(paid, default=1.0), max(paid, default=1.0)
    log = dearest > WIDE_RANGE * least

    def place(cost: float) -> float:
        return math.log10(max(cost, least)) if log else cost

    def outline(corners: list[Point]) -> list[tuple[float, Dot]]:
        """Dots along the straight lines between points, which a logarithmic axis bends."""
        ends = np.asarray([(corner.cost, corner.reward) for corner in corners]).reshape(-1, 2)
        along = np.linspace(0, max(len(ends) - 1, 0), 8 * len(ends))
        dots = (np.interp(along, range(len(ends)), values).tolist() for values in ends.T)
        return [(place(cost), Dot(100 * reward)) for cost, reward in zip(*dots, strict=True)]

    series = [Series(outline(costs.random_mix), "muted", "random mix of experts", dashes="2 2")]
    series += [Series(outline(s.hull), "router", s.name) for s in known if s.role == "router"]
    series += [
        Series(outline(system.hull), look, system.name, dashes=dashes)
        for system, (look, dashes) in zip(rivals, _RIVALS, strict=False)
    ]
    dots = [(place(own.cost), Dot(100 * own.reward)) for own in experts]
    series.append(Series(dots, "single", "single experts", line=False))
    at = [(place(cost), _dot(point.reward)) for cost, point in points]
    series.append(Series(at, line=False, labels=[point.name for _, point in points]))
    axes = ("mean cost (the table's unit)", REWARD)
    return plane("Cost against quality", series, axes, logarithmic=log)


def _dot(estimate: Estimate, look: str = "router", scale: float = 100.0) -> Dot:
    return Dot(scale * estimate.value, scale * estimate.low, scale * estimate.high, look)
