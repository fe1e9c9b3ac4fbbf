"""Curves with bands, the reliability diagram, and reward against cost."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zooter_lite.report.plots import MARKERS, Dot, draw_dot, few_ticks
from zooter_lite.report.svg import COLOURS, NARROW, WIDTH, drawing, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = tuple(name for name in MARKERS if name.startswith("series"))
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Curve:
    """Values over x with an optional band, all (n,); None where there is no value."""

    x: Sequence[float | None]
    y: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    look: str


def line(
    name: str,
    label: str,
    curve: Curve,
    axes_names: tuple[str, str],
    level: float | None = None,
    log: bool = False,
    title: str = "",
) -> str:
    """Draw a curve with its 95% band; `level` is a dashed horizontal line to compare with."""
    size = (200, NARROW) if title else (250, WIDTH)
    with drawing(*size) as (figure, axes):
        _curve(axes, curve)
        if level is not None:
            axes.axhline(level, color=COLOURS["muted"], linewidth=1.2, linestyle=(0, (4, 3)))
        if log:
            _log_ticks(axes, sorted({x for x in curve.x if x is not None}))
        else:
            few_ticks(axes)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        if title:
            axes.set_title(shortened(title), loc="left", fontsize=12)
        return inline(figure, name, label)


def shortened(text: str) -> str:
    """Text that fits over a figure."""
    return textwrap.shorten(text, 34, placeholder="…") or text[:34]


def _curve(axes: Axes, curve: Curve) -> None:
    colour = COLOURS[curve.look]
    drawn = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if None not in (x, y)]
    points = zip(curve.x, curve.low, curve.high, strict=True)
    band = [point for point in points if None not in point]
    axes.fill_between(
        *np.asarray(band, dtype=float).reshape(-1, 3).T, color=colour, alpha=0.16, linewidth=0
    )
    axes.plot(
        *np.asarray(drawn, dtype=float).reshape(-1, 2).T,
        marker=MARKERS[curve.look],
        markersize=5.5,
        markeredgecolor=COLOURS["card"],
        color=colour,
        linestyle="-",
    )


def _log_ticks(axes: Axes, places: list[float]) -> None:
    """Name the measured sizes themselves, as many as fit."""
    axes.set_xscale("log")
    axes.minorticks_off()
    kept: list[float] = []
    for place in places:
        if not kept or place > 1.45 * kept[-1]:
            kept.append(place)
    axes.set_xticks(kept, [f"{place:,.0f}" for place in kept])


def reliability(name: str, label: str, before: list[Any], after: list[Any]) -> str:
    """Draw how often the choice was best (with interval) over the probability stated for it."""
    with drawing(300) as (figure, axes):
        axes.axline((0, 0), slope=1, color=COLOURS["muted"], linewidth=1.2, linestyle=(0, (4, 3)))
        looks = ((before, "baseline", False, "before"), (after, "router", True, "after"))
        for bins, look, filled, text in looks:
            for one in bins:
                if one["confidence"] is not None:
                    ends = one["accuracy"], one["accuracy_low"], one["accuracy_high"]
                    draw_dot(axes, Dot(*ends, look, filled), one["confidence"], upright=True)
            axes.plot([], [], MARKERS[look], color=COLOURS[look], label=text)
            axes.lines[-1].set_markerfacecolor(COLOURS[look if filled else "card"])
        values = [
            value
            for one in (*before, *after)
            for value in (one["confidence"], one["accuracy_low"], one["accuracy_high"])
            if value is not None
        ]
        low, high = min(values, default=0.0), max(values, default=1.0)
        axes.set_xlim(low - 0.03, high + 0.03)
        axes.set_ylim(low - 0.03, high + 0.03)
        axes.set_xlabel("probability that the router states")
        axes.set_ylabel("share of choices that were best")
        axes.legend(loc="upper left")
        return inline(figure, name, label)


def trade_off(name: str, label: str, costs: dict[str, Any]) -> str:
    """Draw reward (x100) against cost: single experts as points, `drawn_over_cost` as curves.

    The single experts are numbered from the cheapest on, as `by_cost` lists them.
    """
    curved = drawn_over_cost(costs)
    with drawing(330 + 8 * len(curved)) as (figure, axes):
        axes.plot(
            *_places(costs["random_mix"]),
            color=COLOURS["muted"],
            linestyle=(0, (2, 2)),
            linewidth=1.3,
            label="random mix of experts",
        )
        rivals = 0
        for system in curved:
            mine = system["role"] == "router"
            look = "router" if mine else SERIES[1 + rivals % 4]
            dashes = "-" if mine else _LINES[1 + rivals % 4]
            rivals += not mine
            points = _places(system["points"])
            axes.plot(*points, MARKERS[look], color=COLOURS[look], markersize=3, alpha=0.45)
            axes.plot(
                *_places(system["hull"]),
                color=COLOURS[look],
                linewidth=2.4 if mine else 1.5,
                linestyle=dashes,
                label=textwrap.shorten(system["name"], 22, placeholder="…") or "?",
            )
        _single_experts(axes, costs)
        few_ticks(axes)
        axes.set_xlabel(f"cost ({costs['unit']})" if costs["unit"] else "cost")
        axes.set_ylabel("mean reward ×100")
        figure.legend(loc="outside upper left", ncols=2, columnspacing=1.2)
        return inline(figure, name, label)


def drawn_over_cost(costs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the router and the three baselines with the largest area under their hull.

    A system with a single point has no curve.
    """
    curved = [s for s in costs["systems"] if len(_places(s["points"])[0]) > 1]
    rivals = [s for s in curved if s["role"] == "baseline" and s["aiq"]["value"] is not None]
    rivals.sort(key=lambda system: -float(system["aiq"]["value"]))
    return [s for s in curved if s["role"] == "router"] + rivals[:3]


def by_cost(costs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the single experts with a known cost and reward, the cheapest first."""
    singles = [s for s in costs["systems"] if s["role"] == "single" and _places(s["points"])[0]]
    return sorted(singles, key=lambda system: float(system["points"][0]["cost"]))


def _single_experts(axes: Axes, costs: dict[str, Any]) -> None:
    marker, colour = MARKERS["single"], COLOURS["single"]
    axes.plot([], [], marker, color=colour, linestyle="none", label="single experts")
    for place, system in enumerate(by_cost(costs), start=1):
        x, y = _places(system["points"])
        axes.plot(x, y, marker, color=colour, markersize=7)
        axes.annotate(
            str(place), (x[0], y[0]), (0, 5), textcoords="offset points", ha="center", va="bottom"
        )


def _places(points: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Costs and rewards (x100) of the points that have both."""
    known = [p for p in points if p["cost"] is not None and p["reward"] is not None]
    return [p["cost"] for p in known], [100 * p["reward"] for p in known]
