"""SVG by hand: shapes and text in the colours of a class, on a page or in a file of their own.

A drawing stands inside an HTML page as often as you like: it has no ids, no script and no
style of its own. Shapes have the `currentColor` of a class such as `zl-router`, and `style`
says what these classes look like in light and in dark.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from zooter_lite.report.readable import visible

FONT = 12.0
COLOURS = {  # name: in light, in dark
    "ink": ("#1b1f27", "#e8ebf0"),
    "muted": ("#596273", "#a0a9b8"),
    "line": ("#e1e5ec", "#313845"),
    "card": ("#ffffff", "#1b1f27"),
    "router": ("#0062a8", "#56b4e9"),
    "baseline": ("#b35900", "#f0a430"),
    "single": ("#00795a", "#35c79c"),
    "bound": ("#69707d", "#a0a9b8"),
    "other": ("#a1437a", "#e08dbb"),
    "better": ("#0072b2", "#56b4e9"),
    "worse": ("#c4500a", "#f58a4b"),
    "unclear": ("#596273", "#a0a9b8"),
}
# A shape around (0, 0) for every colour: neither is ever alone.
_ROUND, _SQUARE = "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1 -4 0Z", "M-3.5 -3.5H3.5V3.5H-3.5Z"
_UP, _DOWN, _DIAMOND = "M0 -4.5L4.5 3.5H-4.5Z", "M0 4.5L4.5 -3.5H-4.5Z", "M0 -5L5 0L0 5L-5 0Z"
_SHAPES = {"baseline": _SQUARE, "single": _UP, "better": _UP, "worse": _DOWN, "bound": _DIAMOND}
Place = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """The inside of an SVG of `width` x `height` CSS pixels; a screen reader says `label`."""

    label: str
    width: float
    height: float
    body: str

    def inline(self) -> str:
        """Return an `<svg>` element for a page that has the rules of `style`."""
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
        f"<style>\n{style()}\n</style>\n"
        f'<rect class="zl-card" width="{wide}" height="{high}" fill="currentColor"/>\n'
        + "\n".join([*parts, "</svg>", ""])
    )


def style(variables: str = "") -> str:
    """Return the CSS rules of drawings; `variables` is a selector that gets the colours too."""
    schemes = []
    for place in (0, 1):
        rules = [f".zl-{name} {{ color: {pair[place]}; }}" for name, pair in COLOURS.items()]
        rules.append(f".zl-hollow {{ fill: {COLOURS['card'][place]}; }}")
        if variables:
            named = " ".join(f"--{name}: {pair[place]};" for name, pair in COLOURS.items())
            rules.append(f"{variables} {{ {named} }}")
        schemes.append("\n".join(rules))
    return f"{schemes[0]}\n@media (prefers-color-scheme: dark) {{\n{schemes[1]}\n}}"


def marker(look: str, at: Place, filled: bool = True) -> str:
    """Draw the shape of a look, or its outline."""
    return (
        f'<path class="zl-{look}{"" if filled else " zl-hollow"}" '
        f'd="{_SHAPES.get(look, _ROUND)}" transform="translate({pixels(at[0])} {pixels(at[1])})" '
        f'fill="{"currentColor" if filled else "none"}" stroke="currentColor" stroke-width="1.5"/>'
    )


def line(look: str, points: Sequence[Place], wide: float = 1.0, dashes: str = "") -> str:
    """Draw a line through points."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    paint = f'fill="none" stroke="currentColor" stroke-width="{pixels(wide)}"{dashed}'
    return f'<path class="zl-{look}" d="{_path(points)}" {paint}/>' if points else ""


def area(look: str, points: Sequence[Place]) -> str:
    """Fill the outline through points, faintly."""
    paint = 'fill="currentColor" opacity=".16"'
    return f'<path class="zl-{look}" d="{_path(points)}Z" {paint}/>' if points else ""


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
    """Break a name into at most two lines of `room` pixels; what is longer ends in dots."""
    lines = [""]
    for word in name.split():
        joined = f"{lines[-1]} {word}".strip()
        if text_width(joined) <= room or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > 2:
        lines[1:] = [f"{lines[1]} …"]
    return [shortened(one, room) for one in lines]


def shortened(words: str, room: float) -> str:
    """Cut words that are wider than `room` pixels."""
    if text_width(words) <= room:
        return words
    kept = next((n for n in range(len(words), 0, -1) if text_width(words[:n] + "…") <= room), 0)
    return words[:kept].rstrip() + "…"


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
