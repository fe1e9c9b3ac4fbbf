"""Which figures a report has, drawn from what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zooter_lite.measure.costs import CostQuality, Point
from zooter_lite.measure.ranks import Ranking
from zooter_lite.measure.results import SliceReport, SystemResult
from zooter_lite.measure.system import ALWAYS, BEST_SINGLE
from zooter_lite.report import svg
from zooter_lite.report.plots import WIDTH, Dot, Row, Series, named_rows, plane
from zooter_lite.report.readable import Interval, counted, number
from zooter_lite.report.svg import Drawing

REWARD = "mean reward ×100"
WIDE_RANGE = 30  # dearest cost over cheapest beyond which the axis is logarithmic
STEPS = 8  # dots along a line between two points
WIDE = 720  # CSS pixels of a panel of report.svg
_RIVALS = (("baseline", "6 3"), ("other", "2 3"), ("bound", "8 3 2 3"))  # looks over cost


@dataclass(frozen=True)
class Figure:
    """A drawing under its title, with a line on how to read it where that is not plain."""

    title: str
    drawing: Drawing
    note: str = ""


def chart(slices: Iterable[SliceReport]) -> str:
    """Return an SVG file that shows what every system earns, one panel a slice."""
    panels = []
    for one in slices:
        title = f"{one.name}: {REWARD} over {counted(one.rows, 'query')}, 95% intervals"
        panels.append(_earned(title, one, WIDE))
        if one.costs:
            panels.append(_costs(one, one.costs, WIDE).drawing)
    return svg.document(panels)


def label(system: SystemResult, one: SliceReport) -> str:
    """Return the name of a system; that of the best single expert says which it is."""
    return f"{system.name} ({one.best_expert})" if system.name == BEST_SINGLE else system.name


def of_slice(one: SliceReport) -> dict[str, Figure]:
    """Draw the figures of one slice, by their short names."""
    drawn = {
        "systems": Figure("Mean reward", _earned("Mean reward", one)),
        "gaps": _gaps(one),
        "shares": _shares(one),
        "calibration": _calibration(one),
        "costs": _costs(one, one.costs) if one.costs else None,
    }
    return {name: figure for name, figure in drawn.items() if figure}


def ranked(ranking: Ranking) -> Figure | None:
    """Draw the mean task ranks over all slices, best first; None where there are none."""
    known = [system for system in ranking.systems if not math.isnan(system.mtr.value)]
    rows = [
        Row(system.name, [_dot(system.mtr, system.role, 1.0)], bold=system.role == "router")
        for system in sorted(known, key=lambda system: system.mtr.value)
    ]
    return _rows("Mean task rank (MTR)", rows, "mean rank over the subsets")


def _dot(estimate: Interval, look: str = "router", scale: float = 100.0) -> Dot:
    return Dot(scale * estimate.value, scale * estimate.low, scale * estimate.high, look)


def _once(one: SliceReport) -> list[SystemResult]:
    """Return the systems without the best single expert's second name."""
    return [system for system in one.systems if system.name != ALWAYS + one.best_expert]


def _earned(title: str, one: SliceReport, width: float = WIDTH) -> Drawing:
    """Draw the mean of every system but the bounds, which would stretch the axis."""
    known = [system for system in _once(one) if not math.isnan(system.micro.value)]
    known.sort(key=lambda system: -system.micro.value)
    bounds = [f"{s.name} {number(s.micro.value)}" for s in known[::-1] if s.role == "bound"]
    rows = [
        Row(label(s, one), [_dot(s.micro, s.role)], number(s.micro.value), s.role == "router")
        for s in known
        if s.role != "bound"
    ]
    axis = f"{REWARD} ({', '.join(bounds)})" if bounds else REWARD
    return named_rows(title, rows, axis, width=width)


def _rows(
    title: str, rows: Sequence[Row], axis: str, note: str = "", zero: bool = False
) -> Figure | None:
    return Figure(title, named_rows(title, rows, axis, zero), note) if rows else None


def _gaps(one: SliceReport) -> Figure | None:
    gaps = [(s.gap, s.name) for s in _once(one) if s.gap and s.gap.outcome != "unknown"]
    rows = [
        Row(name, [_dot(gap, gap.outcome)])
        for gap, name in sorted(gaps, key=lambda named: named[0].value)
    ]
    note = "Paired on the same queries; noise after Holm's correction for all comparisons."
    return _rows("Router minus each system", rows, "points of reward", note, zero=True)


def _shares(one: SliceReport) -> Figure | None:
    best = dict(zip(one.experts, one.confusion.sum(axis=1).tolist(), strict=True))
    rows = [
        Row(name, [Dot(100 * share), Dot(100 * best[name], look="bound")])
        for name, share in sorted(one.shares.items(), key=lambda item: -item[1])
    ]
    note = "The oracle shares ties among the best experts."
    return _rows("Who gets the queries", rows, "% of queries", note, zero=True)


def _calibration(one: SliceReport) -> Figure:
    series = []
    for name, measured, look in (
        ("temperature 1", one.calibration.before, "baseline"),
        ("calibrated", one.calibration.after, "router"),
    ):
        bins = [b for b in measured.bins if not math.isnan(b.confidence)]
        dots = [(b.confidence, _dot(b.accuracy, scale=1.0)) for b in bins]
        series.append(Series(dots, look, name, line=False))
    places = [x for one in series for x, _ in one.points]
    places += [end for one in series for _, dot in one.points for end in dot.ends]
    title = "Are its probabilities right?"
    axes = ("probability that the router states", "share of choices that were best")
    ends = min(places, default=0.0), max(places, default=1.0)
    right = Series([(end, Dot(end)) for end in ends], "muted", dashes="4 3")
    drawing = plane(title, [right, *series], axes, height=270)
    return Figure(title, drawing, "Right where they lie on the dashed line.")


def _costs(one: SliceReport, costs: CostQuality, width: float = WIDTH) -> Figure:
    """Draw the hulls of the router and of the three baselines with the largest area.

    The operating points stand there by name, and single experts by number where the figure
    has a note that names them.
    """
    known = [system for system in costs.systems if not math.isnan(system.aiq.value)]
    known.sort(key=lambda system: -system.aiq.value)
    rivals = [system for system in known if system.role == "baseline" and len(system.points) > 1]
    curves = [("random mix of experts", costs.random_mix, "muted", "2 2")]
    curves += [(s.name, s.hull, "router", "") for s in known if s.role == "router"]
    curves += [
        (system.name, system.hull, look, dashes)
        for system, (look, dashes) in zip(rivals, _RIVALS, strict=False)
    ]
    experts = sorted(
        (point.cost, point.reward, system.name)
        for system in costs.systems
        for point in system.points
        if system.role == "single" and not math.isnan(point.cost + point.reward)
    )
    points = [point for point in one.points if point.cost and not math.isnan(point.cost.value)]
    paid = [point.cost.value for point in points if point.cost] + [cost for cost, *_ in experts]
    least = min((cost for cost in paid if cost > 0), default=1.0)
    log = max(paid, default=1.0) > WIDE_RANGE * least

    def place(cost: float) -> float:
        return math.log10(max(cost, least)) if log else cost

    series = [
        Series(_line(corners, place), look, name, dashes=dashes)
        for name, corners, look, dashes in curves
    ]
    dots = [(place(cost), Dot(100 * reward)) for cost, reward, _ in experts]
    numbers = [str(place) for place in range(1, len(experts) + 1)] if width == WIDTH else []
    series.append(Series(dots, "single", "single experts", line=False, labels=numbers))
    at = [(place(point.cost.value), _dot(point.reward)) for point in points if point.cost]
    series.append(Series(at, "router", line=False, labels=[point.name for point in points]))
    title = "Cost against quality"
    axes = (f"mean cost ({costs.unit})", REWARD)
    names = ", ".join(f"{place} {name}" for place, (*_, name) in enumerate(experts, start=1))
    return Figure(title, plane(title, series, axes, width=width, logarithmic=log), names)


def _line(corners: Sequence[Point], place: Callable[[float], float]) -> list[tuple[float, Dot]]:
    """Return dots along the straight lines between points, which an axis may bend."""
    if not corners:
        return []
    ends = np.asarray([(corner.cost, corner.reward) for corner in corners])
    places = np.linspace(0, len(ends) - 1, STEPS * (len(ends) - 1) + 1)
    costs, rewards = (np.interp(places, range(len(ends)), values).tolist() for values in ends.T)
    return [(place(cost), Dot(100 * reward)) for cost, reward in zip(costs, rewards, strict=True)]
