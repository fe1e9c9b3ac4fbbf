"""Which figures the report has: each drawn from the dictionary, with its two sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zooter_lite.report import captions, curves, plots, summary
from zooter_lite.report.captions import compared
from zooter_lite.report.curves import Curve
from zooter_lite.report.plots import Dot, Row
from zooter_lite.report.words import Estimate, listed, standing

Json = dict[str, Any]
REWARD = "mean reward ×100"


@dataclass(frozen=True)
class Figure:
    """An inline SVG, its heading, what it shows, and what that means."""

    name: str
    title: str
    svg: str
    shows: str
    means: str


def of_slice(one: Json, prefix: str) -> dict[str, Figure]:
    """Draw the figures of one slice, by their short names; `prefix` makes ids unique."""
    makers = {
        "systems": _systems,
        "gaps": _gaps,
        "shares": _shares,
        "regret-subset": _regret_by_subset,
        "regret-tag": _regret_by_tag,
        "calibration": _calibration,
        "selective": _selective,
        "entropy": _entropy,
        "costs": _costs,
        "robustness": _robustness,
    }
    drawn = {key: make(one, f"{prefix}-{key}") for key, make in makers.items()}
    return {key: figure for key, figure in drawn.items() if figure is not None}


def of_all(report: Json) -> dict[str, Figure]:
    """Draw the figures that span the slices: ranking, ablations, learning curve."""
    ranked = _by_value(report["ranking"]["systems"], "mtr", falling=False)
    drawn = {"ranking": _ranking(report, ranked)} if ranked else {}
    titles = {
        "beta": ("Share of the sample label (β)", "each β"),
        "labels": ("Soft against hard labels", "soft or hard labels"),
        "kl": ("Direction of the KL divergence", "either direction"),
        "encoder": ("Encoder frozen or fine-tuned", "the encoder frozen or fine-tuned"),
    }
    for key, (title, what) in titles.items():
        rows = (report["ablations"] or {}).get(key)
        if rows and len(rows) > 1:
            drawn[key] = _ablation(rows, key, title, what)
    if report["learning_curve"]:
        drawn["learning"] = _learning(report["learning_curve"])
    return drawn


def _times(estimate: Estimate, look: str, scale: float = 100.0, filled: bool = True) -> Dot:
    value, low, high = (
        None if estimate[end] is None else scale * estimate[end] for end in ("value", "low", "high")
    )
    return Dot(value, low, high, look, filled)


def _by_value(systems: Sequence[Json], key: str, falling: bool = True) -> list[Json]:
    known = [system for system in systems if system[key]["value"] is not None]
    return sorted(known, key=lambda system: system[key]["value"] * (-1 if falling else 1))


def _systems(one: Json, name: str) -> Figure | None:
    shown = _by_value([s for s in one["systems"] if s["role"] != "bound"], "micro")
    if not shown:
        return None
    rows = [
        Row(s["name"], (_times(s["micro"], s["role"]),), bold=s["role"] == "router") for s in shown
    ]
    title = "Mean reward of every system"
    looks = ("router", "baseline", "single")
    legend = [(look, Dot(0, 0, 0, look)) for look in looks if any(s["role"] == look for s in shown)]
    svg = plots.dots(name, f"{title}, {one['name']}", rows, REWARD, legend=legend)
    return Figure(name, title, svg, *captions.systems(one))


def _gaps(one: Json, name: str) -> Figure | None:
    shown = _by_value(compared(one), "gap", falling=False)
    if not shown:
        return None
    rows = []
    for system in shown:
        gap = system["gap"]
        look = standing(gap) if standing(gap) != "unknown" else "unclear"
        rows.append(Row(system["name"], (_times(gap, look, filled=look != "unclear"),)))
    title = "Router minus each system"
    legend = [("router ahead", Dot(0, 0, 0, "better")), ("behind", Dot(0, 0, 0, "worse"))]
    legend.insert(1, ("within noise", Dot(0, 0, 0, "unclear", filled=False)))
    svg = plots.dots(
        name, f"{title}, {one['name']}", rows, "points of reward", zero=True, legend=legend
    )
    return Figure(name, title, svg, *captions.gaps(one))


def _shares(one: Json, name: str) -> Figure:
    best = {
        expert: sum(row)
        for expert, row in zip(one["confusion"]["experts"], one["confusion"]["matrix"], strict=True)
    }
    rows = [
        Row(expert, (_point(share, "router"), _point(best.get(expert), "bound", filled=False)))
        for expert, share in sorted(one["shares"].items(), key=lambda item: -item[1])
    ]
    title = "Who gets the queries"
    legend = [("router", _point(0, "router")), ("oracle", _point(0, "bound", filled=False))]
    svg = plots.dots(
        name, f"{title}, {one['name']}", rows, "% of queries", zero=True, legend=legend
    )
    return Figure(name, title, svg, *captions.shares(one))


def _point(share: float | None, look: str, filled: bool = True) -> Dot:
    """Return a share as per cent; it is counted, so that it has no interval."""
    return Dot(None if share is None else 100 * share, None, None, look, filled)


def _regret_by_subset(one: Json, name: str) -> Figure | None:
    return _regret(one, name, "by_subset", "Regret by subset")


def _regret_by_tag(one: Json, name: str) -> Figure | None:
    return _regret(one, name, "by_tag", "Regret by tag (the largest)")


def _regret(one: Json, name: str, part: str, title: str) -> Figure | None:
    shown = _by_value(one["regret"][part], "regret")
    if not shown:
        return None
    rows = [Row(f"{r['name']} ({r['rows']:,})", (_times(r["regret"], "router"),)) for r in shown]
    axis = "points lost per query (queries)"
    svg = plots.dots(name, f"{title}, {one['name']}", rows, axis, zero=True)
    return Figure(name, title, svg, *captions.regret(one, part))


def _calibration(one: Json, name: str) -> Figure:
    title = "Are its probabilities right?"
    before, after = (one["calibration"][when]["bins"] for when in ("before", "after"))
    svg = curves.reliability(name, f"{title} {one['name']}", before, after)
    return Figure(name, title, svg, *captions.calibration(one))


def _scaled(values: Sequence[float | None], scale: float = 100.0) -> list[float | None]:
    return [None if value is None else scale * value for value in values]


def _selective(one: Json, name: str) -> Figure:
    title = "Answering only where it is confident"
    found = one["selective"]
    reward, low, high = (_scaled(found[key]) for key in ("reward", "low", "high"))
    curve = Curve(_scaled(found["coverage"]), reward, low, high, "router")
    level = None if found["overall"] is None else 100 * found["overall"]
    names = ("% of queries kept, the most confident first", REWARD)
    svg = curves.line(name, f"{title}, {one['name']}", curve, names, level)
    return Figure(name, title, svg, *captions.selective(one))


def _entropy(one: Json, name: str) -> Figure | None:
    bins = one["entropy"]["bins"]
    if not bins:
        return None
    quality, low, high = (
        _scaled([each[key] for each in bins]) for key in ("quality", "quality_low", "quality_high")
    )
    title = "Reward entropy against quality"
    curve = Curve([each["entropy"] for each in bins], quality, low, high, "router")
    names = ("entropy of the query's rewards (nats)", "points above the mean expert")
    svg = curves.line(name, f"{title}, {one['name']}", curve, names, 0.0)
    return Figure(name, title, svg, *captions.entropy(one))


def _costs(one: Json, name: str) -> Figure | None:
    if one["costs"] is None:
        return None
    title = "Cost against quality"
    shows, means = captions.costs(one)
    cheapest_first = [system["name"] for system in curves.by_cost(one["costs"])]
    numbered = listed((f"{i} {n}" for i, n in enumerate(cheapest_first, start=1)), most=30)
    svg = curves.trade_off(name, f"{title}, {one['name']}", one["costs"])
    return Figure(name, title, svg, f"{shows} {numbered}." if numbered else shows, means)


def _robustness(one: Json, name: str) -> Figure | None:
    if not one["robustness"]:
        return None
    title = "Reworded prompts"
    rows = [
        Row(kind["name"], (_times(kind["flips"], "router"), _times(kind["lost"], "series-2")))
        for kind in one["robustness"]
    ]
    legend = [
        ("choices flipped, %", Dot(0, 0, 0, "router")),
        ("points lost", Dot(0, 0, 0, "series-2")),
    ]
    svg = plots.dots(name, f"{title}, {one['name']}", rows, "% or points", zero=True, legend=legend)
    return Figure(name, title, svg, *captions.robustness(one))


def _ranking(report: Json, ranked: list[Json]) -> Figure:
    title = "Mean task rank"
    rows = [
        Row(s["name"], (_times(s["mtr"], s["role"], 1.0),), bold=s["role"] == "router")
        for s in ranked
    ]
    svg = plots.dots("all-ranking", title, rows, "mean rank over the subsets (1 is first)")
    return Figure("all-ranking", title, svg, *summary.ranking(report))


def _look(place: int) -> str:
    return curves.SERIES[place % len(curves.SERIES)]


def _ablation(rows: list[Json], key: str, title: str, what: str) -> Figure:
    name, caption = f"all-{key}", summary.ablation(rows, what)
    slices = summary.slices_of(rows)
    places = [_float(row["label"]) for row in rows]
    if key == "beta" and None not in places:
        panels = [
            curves.line(
                f"{name}-{i}",
                f"{title}, {one}",
                _curve(
                    [
                        place
                        for place, row in zip(places, rows, strict=True)
                        if one in row["values"]
                    ],
                    [row["values"][one]["micro"] for row in rows if one in row["values"]],
                ),
                ("β (1: sample labels alone)", REWARD),
                title=one,
            )
            for i, one in enumerate(slices)
        ]
        return Figure(name, title, _panels(panels), *caption)
    lines = [
        Row(f"{one}: {row['label']}", (_times(row["values"][one]["micro"], _look(i)),))
        for i, one in enumerate(slices)
        for row in rows
        if one in row["values"]
    ]
    return Figure(name, title, plots.dots(name, title, lines, REWARD), *caption)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _learning(curve: dict[str, list[Json]]) -> Figure:
    title = "Learning curve"
    panels = [
        curves.line(
            f"all-learning-{i}",
            f"{title}, {one}",
            _curve([p["rows"] for p in points], [p["micro"] for p in points]),
            ("training rows", REWARD),
            log=True,
            title=one,
        )
        for i, (one, points) in enumerate(curve.items())
    ]
    return Figure("all-learning", title, _panels(panels), *summary.learning(curve))


def _curve(x: list[float | None], estimates: list[Estimate]) -> Curve:
    """Return values with their intervals (x100) over x."""
    y, low, high = (_scaled([e[end] for e in estimates]) for end in ("value", "low", "high"))
    return Curve(x, y, low, high, "router")


def _panels(svgs: list[str]) -> str:
    return f'<div class="panels">{"".join(svgs)}</div>' if len(svgs) > 1 else "".join(svgs)
