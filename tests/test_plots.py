"""Figures: what stands where, in the page's colours, in any words."""

from __future__ import annotations

import re
import warnings
from xml.etree import ElementTree

import pytest

from zooter_lite.report import curves, plots
from zooter_lite.report.curves import Curve
from zooter_lite.report.plots import Dot, Row

pytest.importorskip("matplotlib")


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def labels(svg: str) -> list[str]:
    """Names at the left, which end where the plot starts."""
    every = ElementTree.fromstring(svg).iter("text")
    return [text.text or "" for text in every if "text-anchor: end" in text.attrib["style"]]


def dots(*names: str) -> str:
    rows = [Row(name, (Dot(i, i - 0.5, i + 0.5, "router"),)) for i, name in enumerate(names)]
    return plots.dots("f", "what it is", rows, "points")


def test_a_dot_stands_on_its_value_and_its_whisker_between_the_ends() -> None:
    rows = [
        Row("low", (Dot(0.0, 0.0, 0.0, "router"),)),
        Row("middle", (Dot(1.0, 0.5, 2.0, "single"),)),
        Row("high", (Dot(4.0, 4.0, 4.0, "router"),)),
    ]
    root = ElementTree.fromstring(plots.dots("f", "label", rows, "points"))
    place: dict[int, float] = {}
    for use in root.iter("use"):
        if "var(--router)" in use.attrib["style"]:
            place[len(place)] = float(use.attrib["x"])
        elif "var(--single)" in use.attrib["style"]:
            middle = float(use.attrib["x"])
    scale = (place[1] - place[0]) / 4
    assert middle == pytest.approx(place[0] + scale, abs=0.2)
    whisker = next(
        path.attrib["d"]
        for path in root.iter("path")
        if "var(--single)" in path.attrib.get("style", "") and "L" in path.attrib["d"]
        and "id" not in path.attrib
    )  # fmt: skip
    x0, _, x1, _ = map(float, re.findall(r"-?[\d.]+", whisker))
    assert x0 == pytest.approx(place[0] + 0.5 * scale, abs=0.2)
    assert x1 == pytest.approx(place[0] + 2.0 * scale, abs=0.2)


def test_values_that_are_missing_are_not_drawn() -> None:
    rows = [Row("none", (Dot(None, None, None, "single"),)), Row("one", (Dot(1, 0, 2, "router"),))]
    svg = plots.dots("f", "label", rows, "points")
    assert "var(--single)" not in svg
    assert labels(svg) == ["none", "one"]


def test_names_are_text_whatever_they_hold_and_long_ones_break_or_end_in_dots() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = dots("$\\frac", "<b>&amp;</b>-->", "列出五个质数", "word " * 20, "W" * 60, "")
    shown = labels(svg)
    assert shown[:3] == ["$\\frac", "<b>&amp;</b>-->", "列出五个质数"]
    assert shown[3] == "word word word word"
    assert shown[4].endswith(" …")
    assert shown[5].endswith("W…")


def test_ids_start_with_the_name_and_nothing_of_matplotlibs_document_is_left() -> None:
    svg = dots("a", "b")
    root = ElementTree.fromstring(svg)
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert ids
    assert all(re.fullmatch(r"f-\d+", name) for name in ids)
    assert root.attrib["aria-label"] == "what it is"
    for word in ("<metadata", "<style", "DejaVu", "xmlns", "<!--", "#01fe01"):
        assert word not in svg


def test_a_matplotlibrc_of_this_machine_changes_nothing() -> None:
    import matplotlib

    usual = dots("a", "b")
    with matplotlib.rc_context({"axes.grid": False, "lines.linewidth": 9, "font.size": 30}):
        assert dots("a", "b") == usual
        assert matplotlib.rcParams["lines.linewidth"] == 9


def test_a_curve_without_a_band_or_without_values() -> None:
    svg = curves.line("f", "l", Curve([1, 2], [3, 4], [None, None], [5, 5], "router"), ("x", "y"))
    assert "fill-opacity" not in svg
    banded = curves.line("f", "l", Curve([1, 2], [3, 4], [2, 3], [4, 5], "router"), ("x", "y"))
    assert "fill-opacity: 0.16" in banded
    curves.line("f", "l", Curve([None], [None], [None], [None], "router"), ("x", "y"))


def test_training_sizes_are_named_on_a_log_axis() -> None:
    curve = Curve([700, 1750, 3500, 7000], [1, 2, 3, 4], [0] * 4, [5] * 4, "router")
    assert texts(curves.line("f", "l", curve, ("rows", "y"), log=True))[:4] == [
        "700", "1,750", "3,500", "7,000",
    ]  # fmt: skip


def test_the_three_largest_areas_are_drawn_beside_the_router() -> None:
    def system(name: str, role: str, aiq: float, points: int = 2) -> dict[str, object]:
        places = [{"cost": i, "reward": 0.5} for i in range(points)]
        return {"name": name, "role": role, "points": places, "hull": places} | {
            "aiq": {"value": aiq, "low": aiq, "high": aiq}
        }

    costs = {
        "systems": [
            system("router", "router", 0.1),
            *(system(f"b{i}", "baseline", i / 10) for i in range(5)),
            system("best single", "baseline", 0.9, points=1),
            system("dear", "single", 0.5, points=1) | {"points": [{"cost": 3, "reward": 0.5}]},
            system("cheap", "single", 0.5, points=1),
        ]
    }
    assert [s["name"] for s in curves.drawn_over_cost(costs)] == ["router", "b4", "b3", "b2"]
    assert [s["name"] for s in curves.by_cost(costs)] == ["cheap", "dear"]
