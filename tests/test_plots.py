"""Figures: what stands where, in the page's colours, in any words."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.report_example import HOSTILE, one_slice
from zooter_lite.measure.costs import CostCurve, Point
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.system import Role
from zooter_lite.report.figures import cost_curves, earned
from zooter_lite.report.plots import STYLE, Dot, Drawing, Series, document, named_rows, plane


def shapes(drawing: Drawing, look: str) -> list[tuple[float, float]]:
    """Places of the markers of a look, from the first on."""
    pattern = rf'class="zl-{look}" d="[^"]+" transform="translate\(([\d.-]+) ([\d.-]+)\)"'
    body = re.sub(r"<g .*?</g>", "", drawing.body)  # without the legend
    return [(float(x), float(y)) for x, y in re.findall(pattern, body)]


def lines(drawing: Drawing, look: str) -> list[list[float]]:
    """Coordinates of the lines of a look."""
    pattern = rf'class="zl-{look}" d="M([^"Z]+)" fill="none"'
    return [
        [float(n) for n in re.split("[L ]", path)] for path in re.findall(pattern, drawing.body)
    ]


def texts(drawing: Drawing) -> list[str]:
    root = ElementTree.fromstring(f"<svg>{drawing.body}</svg>")
    return [element.text for element in root.iter("text") if element.text]


def test_a_dot_stands_on_its_value_and_its_whisker_between_the_ends() -> None:
    rows = [
        ("low", Dot(0)),
        ("middle", Dot(1, 0.5, 2, "single")),
        ("high", Dot(4)),
        ("unknown", Dot(math.nan)),
    ]
    drawing = named_rows("label", rows, "points")
    (start, _), (end, _) = shapes(drawing, "router")
    unit = (end - start) / 4
    [(middle, _)] = shapes(drawing, "single")
    assert middle == pytest.approx(start + unit, abs=0.2)
    [(left, _, right, _)] = lines(drawing, "single")
    assert (left, right) == pytest.approx((start + unit / 2, start + 2 * unit), abs=0.2)
    assert "unknown" in texts(drawing)


def test_a_line_goes_through_its_values_and_a_whisker_between_the_ends() -> None:
    points = [(1.0, Dot(10, 5, 15)), (2.0, Dot(math.nan)), (3.0, Dot(20, 15, 25))]
    both = [Series(points, "bound"), Series(points, line=False)]
    drawing = plane("label", both, ("x", "y"))
    (x, y), (to_x, to_y) = shapes(drawing, "router")
    assert lines(drawing, "bound") == [[x, y, to_x, to_y]]
    unit = (y - to_y) / 10
    first, second = lines(drawing, "router")
    assert first == pytest.approx([x, y + 5 * unit, x, y - 5 * unit], abs=0.2)
    assert second == pytest.approx([to_x, to_y + 5 * unit, to_x, to_y - 5 * unit], abs=0.2)


def test_axes_name_round_numbers_few_enough_to_be_apart() -> None:
    for high in (0.003, 0.07, 1.0, 33.0, 1_234_567.0):
        drawing = plane("label", [Series([(0, Dot(0)), (high, Dot(1))])], ("x", "y"))
        numbers = [float(t.replace(",", "")) for t in texts(drawing) if t not in ("x", "y")]
        x = numbers[numbers.index(1.0) + 1 :]
        assert 3 <= len(x) <= 8
        assert x == pytest.approx([x[1] * place for place in range(len(x))])
        assert x[-1] <= 1.05 * high


def test_names_are_text_whatever_they_hold_and_long_ones_end_in_dots() -> None:
    names = ["<b>&amp;</b>-->", "列出五个质数", "word " * 20, "列" * 60]
    drawing = named_rows(HOSTILE, [(name, Dot(1)) for name in names], "points")
    shown = texts(drawing)[-8::2]
    assert shown[:2] == names[:2]
    assert [(words[:4], words[-1]) for words in shown[2:]] == [("word", "…"), ("列列列列", "…")]
    assert [len(words) for words in shown[2:]] == [39, 23]  # 286 pixels
    assert "⟨U+202E⟩" in document([drawing])


def test_a_file_is_one_svg_with_its_colours_and_without_scripts_or_links() -> None:
    drawing = named_rows("first", [("a", Dot(1))], "points")
    text = document([drawing, named_rows("second", [("b", Dot(2))], "points")])
    root = ElementTree.fromstring(text)
    assert {"first", "a", "second", "b"} <= {e.text for e in root.iter() if e.text}
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|href|url\(|@import|\bon\w+=", text)
    used = set(re.findall(r'class="(zl-\w+)"', text))
    assert used
    assert all(f".{name} {{" in STYLE for name in used)
    ElementTree.fromstring(document([]))


def test_costs_draw_the_largest_areas_and_every_expert_whose_cost_is_known() -> None:
    def curve(name: str, role: Role, aiq: float, *costs: float) -> CostCurve:
        points = [Point(cost, 0.5) for cost in costs]
        return CostCurve(name, role, points[-1], points, Estimate(aiq, aiq, aiq))

    baselines = [curve(f"b{i}", "baseline", i / 10, 1, 2) for i in range(5)]
    systems = [curve("mine", "router", 0.1, 1, 2), *baselines]
    systems += [
        curve(n, "single", 0.5, c) for n, c in (("dear", 1000), ("?", math.nan), ("low", 1))
    ]
    costs = one_slice().costs
    assert costs
    figure = cost_curves(one_slice(), replace(costs, systems=systems))
    named = [words for words in texts(figure) if re.match(r"b\d|mine", words)]
    assert named == ["mine", "b4", "b3", "b2"]
    assert {"1", "10", "100", "1000"} <= set(texts(figure))  # so far apart they need logarithms
    assert len(shapes(figure, "single")) == 2


def test_the_best_single_expert_stands_in_a_figure_once() -> None:
    words = texts(earned(one_slice()))
    assert sum(text.startswith("best single on") for text in words) == 1
    assert f"always {one_slice().best_expert}" not in " ".join(words)
