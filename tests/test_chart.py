"""The picture of a comparison: valid SVG, true lengths, no scripts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from zooter_lite.evaluation.chart import bar_chart
from zooter_lite.evaluation.compare import Comparison, MethodScore
from zooter_lite.evaluation.metrics import Estimate

SVG = "{http://www.w3.org/2000/svg}"


def comparison() -> Comparison:
    methods = [
        MethodScore(name, Estimate(value, value - 0.1, value + 0.1), Estimate(0, 0, 0), {})
        for name, value in (("router", 0.6), ("a <b> & c", 0.3), ("oracle", 0.9))
    ]
    return Comparison("test", 10, {"all": 10}, "a", methods, 0.3, 1.0, 1.0, {"a": 1.0}, 0)


def test_bars_are_as_long_as_their_values() -> None:
    root = ET.fromstring(bar_chart([comparison(), comparison()]))
    bars = [r for r in root.iter(f"{SVG}rect") if r.get("class") in ("bar", "router")]
    widths = [float(bar.get("width", "nan")) for bar in bars]
    assert len(bars) == 6
    assert widths[1] / widths[0] == pytest.approx(0.5, abs=0.01)
    assert widths[2] / widths[0] == pytest.approx(1.5, abs=0.01)
    assert [bar.get("class") for bar in bars[:3]] == ["router", "bar", "bar"]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "a <b> & c" in texts
    assert "60.0" in texts
    assert not list(root.iter(f"{SVG}script"))


def test_no_split_gives_an_empty_picture() -> None:
    assert ET.fromstring(bar_chart([])).tag == f"{SVG}svg"
