"""The report as one HTML page that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import math
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

from zooter_lite.errors import MissingPackageError
from zooter_lite.measure.results import Report, SliceReport
from zooter_lite.measure.significance import Outcome
from zooter_lite.report import figures, plots, readable

FOLDED = 240  # characters of a prompt that stand on the page unfolded
LONGEST = 4000  # characters of a prompt that the page holds at all
_PAYS: dict[Outcome, str] = {
    "better": "pays",
    "worse": "does not pay",
    "unclear": "is not shown to pay",
    "unknown": "cannot be judged",
}


def render(report: Report) -> str:
    """Return the HTML page of a report; equal reports give equal pages.

    Every text in it is shown as text, whatever it holds.

    Raises
    ------
    MissingPackageError
        jinja2 is not installed.
    """
    slices = list(report.slices.values())
    page: str = _template().render(
        report=report,
        headline=headline(slices),
        slices=[
            {
                "data": one,
                "id": f"s{place}",
                "picture": figures.chart([one]),
                "leaderboard": sorted(one.systems, key=lambda s: _last(-s.micro.value)),
            }
            for place, one in enumerate(slices, start=1)
        ],
        ranks={s.name: s for s in report.ranking.systems} if len(slices) == 1 else None,
        ranking=figures.ranked(report.ranking),
        ranked=sorted(report.ranking.systems, key=lambda system: _last(system.mtr.value)),
        style=plots.STYLE,
    )
    return page


def notebook(report: Report) -> str:
    """Return what a notebook shows of a report: the verdicts and a picture."""
    slices = list(report.slices.values())
    lines = "".join(f"<p>{escape(readable.visible(one.verdict.text))}</p>" for one in slices)
    data = b64encode(figures.chart(slices).encode()).decode()
    source = f'style="max-width: 100%" src="data:image/svg+xml;base64,{data}"'
    return f'<div>{lines}<img alt="mean rewards" {source}></div>'


def headline(slices: Sequence[SliceReport]) -> str:
    """Say in a few words on how many test sets routing pays."""
    counts = Counter(one.verdict.outcome for one in slices)
    if not slices:
        return "Nothing was evaluated"
    if len(slices) == 1:
        return f"Routing {_PAYS[slices[0].verdict.outcome]} here"
    parts = [f"{words} on {counts[outcome]}" for outcome, words in _PAYS.items() if counts[outcome]]
    return f"Routing {', '.join(parts)} of {len(slices)} test sets"


@cache
def _template() -> Any:
    """Return the page's template; every text that it prints is made visible and escaped."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingPackageError(str(error.name), "report", "the HTML report") from error
    environment = Environment(
        loader=PackageLoader("zooter_lite.report"),
        autoescape=True,
        finalize=lambda value: readable.visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("number", "interval", "percent", "amount", "p_value", "counted")
    environment.filters |= {name: getattr(readable, name) for name in names}
    environment.globals |= {"folded": FOLDED, "longest": LONGEST}
    return environment.get_template("report.html.j2")


def _last(value: float) -> float:
    """Sort what is unknown behind everything."""
    return math.inf if math.isnan(value) else value
