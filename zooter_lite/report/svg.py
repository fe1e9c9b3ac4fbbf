"""SVG by hand: shapes and text in the colours of a class, on a page or in a file of their own.

A drawing stands inside an HTML page as often as you like: it has no ids, no script and no
style of its own. Shapes have the `currentColor` of a class such as `zl-router`, and `STYLE`
says what these classes look like in light and in dark.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from zooter_lite.report.readable import visible

FONT = 12.0
STYLE = files("zooter_lite.report").joinpath("templates/figures.css").read_text("utf-8")
_ROUND = "M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1 -4.5 0Z"
_UP, _DOWN = "M0 -5L5 4H-5Z", "M0 5L5 -4H-5Z"
LOOKS = {  # name of a class: what it stands for, and a shape, so that no colour is alone
    "router": ("router", _ROUND),
    "baseline": ("baseline", "M-4 -4H4V4H-4Z"),
    "single": ("single expert", _UP),
    "bound": ("oracle", "M0 -5.5L5.5 0L0 5.5L-5.5 0Z"),
    "better": ("router ahead", _UP),
    "unclear": ("within noise", _ROUND),
    "worse": ("router behind", _DOWN),
}
Place = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """The inside of an SVG of `width` x `height` CSS pixels; a screen reader says `label`."""

    label: str
    width: float
    height: float
    body: str

    def inline(self) -> str:
        """Return an `<svg>` element for a page that has the rules of `STYLE`."""
        return (
            f'<svg class="plot" viewBox="0 0 {pixels(self.width)} {pixels(self.height)}" '
            f'role="img" aria-label="{_text(self.label)}" font-size="{pixels(FONT)}">'
            f"{self.body}</svg>"
        )


def document(drawings: Sequence[Drawing]) -> str:
    """Return an SVG file of drawings, each under its label; it needs nothing else."""
    width, parts, top = max((drawing.width for drawing in drawings), default=0.0), [], 8.0
    for drawing in drawings:
        title = text(drawing.label, (0, 14), bold=True)
        parts.append(
            f'<g transform="translate(16 {pixels(top)})">{title}'
            f'<g transform="translate(0 24)">{drawing.body}</g></g>'
        )
        top += 24 + drawing.height + 16
    wide, high = pixels(width + 32), pixels(top)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" '
        f'height="{high}" font-family="system-ui, sans-serif" font-size="{pixels(FONT)}" '
        f'role="img" aria-label="{_text("; ".join(drawing.label for drawing in drawings))}">\n'
        f"<style>\n{STYLE}</style>\n"
        f'<rect class="zl-card" width="{wide}" height="{high}" fill="#ffffff"/>\n'
        + "\n".join([*parts, "</svg>", ""])
    )


def marker(look: str, at: Place) -> str:
    """Draw the shape of a look."""
    move = f'transform="translate({pixels(at[0])} {pixels(at[1])})"'
    return f'<path class="zl-{look}" d="{LOOKS[look][1]}" {move} fill="currentColor"/>'


def line(look: str, points: Sequence[Place], wide: float = 1.0, dashes: str = "") -> str:
    """Draw a line through points."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    paint = f'fill="none" stroke="currentColor" stroke-width="{pixels(wide)}"{dashed}'
    return f'<path class="zl-{look}" d="{_path(points)}" {paint}/>' if points else ""


def text(
    words: str, at: Place, look: str = "ink", anchor: str = "start", bold: bool = False
) -> str:
    """Write words; `anchor` is the end of them (start, middle, end) that stands at a place."""
    weight = ' font-weight="600"' if bold else ""
    element = (
        f'<text class="zl-{look}" x="{pixels(at[0])}" y="{pixels(at[1])}" '
        f'text-anchor="{anchor}" fill="currentColor"{weight}>{_text(words)}</text>'
    )
    return element if words else ""


def pixels(value: float) -> str:
    """Write a length with at most one decimal."""
    shown = f"{value:.1f}".removesuffix(".0")
    return "0" if shown == "-0" else shown


def wrapped(name: str, room: float) -> list[str]:
    """Break a name into at most two lines of about `room` pixels; what is longer ends in dots."""
    fitting = max(2, int(room * len(name) / max(text_width(name), 1)))
    lines = textwrap.wrap(name, fitting)
    return lines if len(lines) < 3 else [lines[0], lines[1][: fitting - 1] + "…"]


def text_width(words: str) -> float:
    """Return about how many pixels words take in a wide font."""
    return FONT * sum(map(_advance, visible(words)))


def _advance(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in "fijlrtI.,:;'|!()[] -":
        return 0.38
    return 0.98 if character in "mwMW%@" else 0.72 if character.isupper() else 0.62


def _path(points: Sequence[Place]) -> str:
    return "M" + "L".join(f"{pixels(x)} {pixels(y)}" for x, y in points)


def _text(words: str) -> str:
    return escape(visible(words))
