"""The report as one HTML page that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import math
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from zooter_lite.errors import MissingPackageError
from zooter_lite.measure.results import Report, SliceReport
from zooter_lite.report import figures, readable, svg

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDED = 240  # characters of a prompt that stand on the page unfolded
LONGEST = 4000  # characters of a prompt that the page holds at all
NEAR = 0.005  # difference of rewards below which a cell is not shaded
STANDING = {
    "better": "▲ router ahead",
    "worse": "▼ router behind",
    "unclear": "≈ within noise",
    "unknown": "– not comparable",
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
    return _environment().get_template("report.html.j2").render(
        report=report,
        headline=headline(slices),
        slices=[_slice(place, one, report) for place, one in enumerate(slices, start=1)],
        overall=figures.of_all(report),
        ranked=sorted(report.ranking.systems, key=lambda system: _last(system.mtr.value)),
        groups=sorted({group for s in report.ranking.systems for group in s.groups}),
        ablations={figures.ABLATIONS[k]: rows for k, rows in (report.ablations or {}).items()},
        style=svg.style(":root"),
    )


def notebook(report: Report) -> str:
    """Return what a notebook shows of a report: the verdicts and a picture."""
    slices = list(report.slices.values())
    return picture(figures.chart(slices), [one.verdict.text for one in slices])


def picture(drawing: str, verdicts: Sequence[str]) -> str:
    """Return verdicts over an SVG file, such as report.svg of a router, as a piece of HTML."""
    lines = "".join(f"<p>{escape(readable.visible(verdict))}</p>" for verdict in verdicts)
    data = b64encode(drawing.encode()).decode()
    return f'<div>{lines}<img alt="mean rewards" src="data:image/svg+xml;base64,{data}"></div>'


def headline(slices: Sequence[SliceReport]) -> str:
    """Say in a few words on how many test sets routing pays."""
    counts, every = Counter(one.verdict.outcome for one in slices), len(slices)
    if not every:
        return "Nothing was evaluated"
    where = "here" if every == 1 else f"on all {every} test sets"
    if counts["better"]:
        some = f"on {counts['better']} of {every} test sets"
        costs = f", and costs reward on {counts['worse']}" if counts["worse"] else ""
        return f"Routing pays {where if counts['better'] == every else some}{costs}"
    where = where.replace(f"all {every} test sets", "any test set")
    if counts["worse"]:
        return f"Routing does not pay {where}"
    return f"Routing is not shown to pay {where}"


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingPackageError(str(error.name), "report", "the HTML report") from error
    environment = Environment(
        loader=PackageLoader("zooter_lite.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("number", "interval", "percent", "p_value", "counted")
    environment.filters |= {name: getattr(readable, name) for name in names}
    environment.globals |= {"standing": STANDING, "folded": FOLDED, "longest": LONGEST, "shade": shade}
    return environment


def _shown(value: Any) -> Any:
    """Make every text on the page visible; markup of our own stays."""
    return readable.visible(value) if type(value) is str else value


def _slice(place: int, one: SliceReport, report: Report) -> dict[str, Any]:
    """Collect what the template needs of one slice."""
    alone = len(report.slices) == 1
    return {
        "data": one,
        "id": f"s{place}",
        "figures": figures.of_slice(one),
        "leaderboard": sorted(one.systems, key=lambda system: _last(-system.micro.value)),
        "ranks": {s.name: s for s in report.ranking.systems} if alone else None,
        "subsets": sorted(one.subset_rows, key=lambda name: (one.groups.get(name, ""), name)),
    }


def _last(value: float) -> float:
    """Sort what is unknown behind everything."""
    return math.inf if math.isnan(value) else value


def shade(difference: float) -> tuple[str, str]:
    """Return the class of a cell, and its strength from 0 to 1, which 15 points reach."""
    if not abs(difference) > NEAR:
        return "near", "0"
    strength = f"{min(1.0, 0.2 + abs(difference) / 0.19):.2f}"
    return ("ahead" if difference > 0 else "behind"), strength
