"""The picture of a comparison: valid SVG, true lengths, no scripts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from zooter_lite.report.chart import bar_chart

SVG = "{http://www.w3.org/2000/svg}"
Json = dict[str, Any]


def one_slice(values: tuple[float | None, ...] = (0.6, 0.3, 0.9)) -> Json:
    names = (("router", "router"), ("a <b> & c", "baseline"), ("oracle", "bound"))
    systems = []
    for (name, role), value in zip(names, values, strict=True):
        ends = (None, None) if value is None else (value - 0.1, value + 0.1)
        micro = dict(zip(("value", "low", "high"), (value, *ends), strict=True))
        systems.append({"name": name, "role": role, "micro": micro})
    return {"split": "test", "rows": 10, "best_single": "a", "systems": systems}


def test_bars_are_as_long_as_their_values() -> None:
    root = ET.fromstring(bar_chart([one_slice(), one_slice()]))
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


def test_a_mean_over_nothing_has_no_bar() -> None:
    root = ET.fromstring(bar_chart([one_slice((None, 0.3, -0.2))]))
    bars = [r for r in root.iter(f"{SVG}rect") if r.get("class") in ("bar", "router")]
    widths = [float(bar.get("width", "nan")) for bar in bars]
    assert (widths[0], widths[2]) == (0, 0)
    assert widths[1] > 0
    assert "nan" in [text.text for text in root.iter(f"{SVG}text")]
    assert ET.fromstring(bar_chart([one_slice((None, None, None))])).tag == f"{SVG}svg"
