"""The report in headless Chromium, at desktop and phone width."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chromium import Page, opened
from tests.consumers import program
from tests.report_example import example
from zooter_lite.report.page import render

OUTSIDE = """[...document.querySelectorAll('svg text')].filter((text) => {
  const a = text.getBoundingClientRect(), b = text.closest('svg').getBoundingClientRect();
  return a.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1
    || a.bottom > b.bottom + 1);
}).map((text) => text.textContent)"""
OVERLAPPING = """[...document.querySelectorAll('svg')].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll('text')].map((t) => [t, t.getBoundingClientRect()]);
  return boxes.flatMap(([t, a], i) => boxes.slice(i + 1).filter(([, b]) => a.width && b.width
    && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
    .map(([u]) => `${t.textContent} | ${u.textContent}`));
})"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(example(2)), "utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    chromium = program("chromium", "chromium-browser", "google-chrome")
    with opened(chromium, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits_its_width_and_its_figures_their_boxes(
    browser: Page, report: str, width: int
) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.open(report)
    browser.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate(OUTSIDE) == []
    assert browser.evaluate(OVERLAPPING) == []
