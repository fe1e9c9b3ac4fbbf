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
LOOKS = {  # name of a class: what it stands for, and a shape, so that no colour is alone
    "router": ("router", "M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1 -4.5 0Z"),
    "baseline": ("baseline", "M-4 -4H4V4H-4Z"),
    "single": ("single expert", "M0 -5L5 4H-5Z"),
}
Place = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """The inside of an SVG of `width` x `height` CSS pixels; a screen reader says `label`.

    `note` is a line on how to read it.
    """

    label: str
    width: float
    height: float
    body: str
    note: str = ""

    def inline(self) -> str:
        """Return an `<svg>` element for a page that has the rules of `STYLE`."""
        return (
            f'<svg class="plot" viewBox="0 0 {self.width:.1f} {self.height:.1f}" '
            f'role="img" aria-label="{_text(self.label)}" font-size="{FONT}">{self.body}</svg>'
        )


def document(drawings: Sequence[Drawing]) -> str:
    """Return an SVG file of drawings, each under its label; it needs nothing else."""
    parts, top = [], 8.0
    for drawing in drawings:
        title = text(drawing.label, (0, 14), bold=True)
        parts.append(
            f'<g transform="translate(16 {top:.1f})">{title}'
            f'<g transform="translate(0 24)">{drawing.body}</g></g>'
        )
        top += 24 + drawing.height + 16
    width = max((drawing.width for drawing in drawings), default=0.0) + 32
    size = f'width="{width:.1f}" height="{top:.1f}"'
    label = _text("; ".join(drawing.label for drawing in drawings))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.1f} {top:.1f}" {size} '
        f'font-family="system-ui, sans-serif" font-size="{FONT}" role="img" '
        f'aria-label="{label}">\n<style>\n{STYLE}</style>\n'
        f'<rect class="zl-card" {size} fill="#ffffff"/>\n' + "\n".join([*parts, "</svg>", ""])
    )


def marker(look: str, at: Place) -> str:
    """Draw the shape of a look."""
    move = f'transform="translate({at[0]:.1f} {at[1]:.1f})"'
    return f'<path class="zl-{look}" d="{LOOKS[look][1]}" {move} fill="currentColor"/>'


def line(look: str, points: Sequence[Place], wide: float = 1.0, dashes: str = "") -> str:
    """Draw a line through points."""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    paint = f'fill="none" stroke="currentColor" stroke-width="{wide}" stroke-dasharray="{dashes}"'
    return f'<path class="zl-{look}" d="M{path}" {paint}/>' if points else ""


def text(
    words: str, at: Place, look: str = "ink", anchor: str = "start", bold: bool = False
) -> str:
    """Write words; `anchor` is the end of them (start, middle, end) that stands at a place."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text class="zl-{look}" x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" '
        f'fill="currentColor"{weight}>{_text(words)}</text>'
    )


def wrapped(name: str, room: float) -> list[str]:
    """Break a name into at most two lines of about `room` pixels; what is longer ends in dots."""
    fitting = max(2, int(room * len(name) / max(text_width(name), 1)))
    lines = textwrap.wrap(name, fitting)
    return lines if len(lines) < 3 else [lines[0], lines[1][: fitting - 1] + "…"]


def text_width(words: str) -> float:
    """Return about how many pixels words take in a wide font."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in visible(words))
    return FONT * (0.6 * len(visible(words)) + 0.4 * wide)


def _text(words: str) -> str:
    return escape(visible(words))
