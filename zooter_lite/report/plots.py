"""SVG by hand: values on named rows, and series over two axes, in files of their own.

A picture stands inside an HTML page as well: it has no ids and no script. Shapes have the
`currentColor` of a class such as `zl-router`, and `STYLE` says what these classes look like
in light and in dark.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from zooter_lite.report.readable import number, visible

WIDTH = 720  # CSS pixels of a drawing
_FOOT = 40  # below a plot: numbers, and the name of the axis
FONT = 12.0
STYLE = files("zooter_lite.report").joinpath("templates/figures.css").read_text("utf-8")
LOOKS = {  # name of a class: what it stands for, and a shape, so that no colour is alone
    "router": ("router", "M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1 -4.5 0Z"),
    "baseline": ("baseline", "M-4 -4H4V4H-4Z"),
    "single": ("single expert", "M0 -5L5 4H-5Z"),
}
Place = tuple[float, float]
Scale = Callable[[float], float]
Marks = list[tuple[float, str]]  # places on an axis, and what stands there


@dataclass(frozen=True)
class Drawing:
    """The inside of an SVG that is `WIDTH` wide and `height` high, in CSS pixels."""

    label: str
    height: float
    body: str


@dataclass(frozen=True)
class Dot:
    """A value with its interval, in the colour and shape of `look`; NaN is not drawn."""

    value: float
    low: float = math.nan
    high: float = math.nan
    look: str = "router"

    @property
    def ends(self) -> list[float]:
        """Low and high where both are known."""
        return [] if math.isnan(self.low + self.high) else [self.low, self.high]


@dataclass(frozen=True)
class Series:
    """Dots over x, from left to right: a line through them, or markers with whiskers.

    `dashes` are those of the line, as in `stroke-dasharray`; `labels` stand above the markers.
    """

    points: Sequence[tuple[float, Dot]]
    look: str = "router"
    name: str = ""
    line: bool = True
    dashes: str = ""
    labels: Sequence[str] = ()

    @property
    def known(self) -> list[tuple[float, Dot]]:
        """The dots with a value at a known place."""
        return [(x, dot) for x, dot in self.points if not math.isnan(x + dot.value)]


def document(drawings: Sequence[Drawing]) -> str:
    """Return an SVG file of drawings, each under its label; it needs nothing else."""
    parts, top = [], 8.0
    for drawing in drawings:
        title = _text(drawing.label, (0, 14), bold=True)
        parts.append(
            f'<g transform="translate(16 {top:.1f})">{title}'
            f'<g transform="translate(0 24)">{drawing.body}</g></g>'
        )
        top += 24 + drawing.height + 16
    label = escape(visible("; ".join(drawing.label for drawing in drawings)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 32} {top:.1f}" '
        f'width="{WIDTH + 32}" height="{top:.1f}" font-family="system-ui, sans-serif" '
        f'font-size="{FONT}" role="img" aria-label="{label}">\n<style>\n{STYLE}</style>\n'
        '<rect class="zl-card" width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join([*parts, "</svg>", ""])
    )


def named_rows(label: str, rows: Sequence[tuple[str, Dot]], axis: str) -> Drawing:
    """Draw a line per named dot: the name, the dot with its whisker, and the value."""
    left, right = 300.0, WIDTH - 48.0
    dots = [dot for _, dot in rows]
    looks = {dot.look for dot in dots}
    keys = [(key[0], _marker(look, (9, 9))) for look, key in LOOKS.items() if look in looks]
    body, top = _legend(keys)
    low, high = _range(dots)
    scale = _scale(low, high, left, right)
    bottom = top + 24 * len(rows)
    body += _x_axis(scale, _ticks(low, high, 8), (top, bottom), axis)
    for place, (name, dot) in enumerate(rows):
        y, bold = top + 24 * place + 12, dot.look == "router"
        body += _text(_fitted(name, left - 14), (left - 8, y + 4), anchor="end", bold=bold)
        body += _dot(dot.look, dot, lambda value, y=y: (scale(value), y))  # type: ignore[misc]
        body += _text(number(dot.value, 1, 1), (WIDTH, y + 4), anchor="end", bold=bold)
    return Drawing(label, bottom + _FOOT, body)


def plane(
    label: str, series: Sequence[Series], axes: tuple[str, str], *, logarithmic: bool = False
) -> Drawing:
    """Draw series over two axes.

    With `logarithmic` the places on x are decimal logarithms of what the axis shows.
    """
    keys = [
        (one.name, _line(one.look, [(0, 9), (18, 9)], 2, one.dashes))
        if one.line
        else (one.name, _marker(one.look, (9, 9)))
        for one in series
        if one.name
    ]
    body, top = _legend(keys)
    body += _text(axes[1], (0, top + 10), "muted")
    top, right = top + 22, WIDTH - 14
    bottom = top + 210
    points = [point for one in series for point in one.known]
    x_range, y_range = _range([Dot(x) for x, _ in points]), _range([dot for _, dot in points])
    y_marks = _ticks(*y_range, 5)
    left = 10 + max(_text_width(words) for _, words in y_marks)
    x_scale, y_scale = _scale(*x_range, left, right), _scale(*y_range, bottom, top)
    for value, words in y_marks:
        y = y_scale(value)
        body += _line("line", [(left, y), (right, y)])
        body += _text(words, (left - 6, y + 4), anchor="end")
    x_marks = _log_ticks(*x_range) if logarithmic else []
    x_marks = x_marks if len(x_marks) > 1 else _ticks(*x_range, 5)
    body += _x_axis(x_scale, x_marks, (top, bottom), axes[0])
    body += "".join(_series(one, x_scale, y_scale) for one in series)
    return Drawing(label, bottom + _FOOT, body)


def _series(one: Series, x: Scale, y: Scale) -> str:
    """Draw the line of one series, or its markers, with whiskers and numbers."""
    if one.line:
        return _line(one.look, [(x(at), y(dot.value)) for at, dot in one.known], 2, one.dashes)
    body = ""
    for place, (at, dot) in enumerate(one.known):
        body += _dot(one.look, dot, lambda value, at=at: (x(at), y(value)))  # type: ignore[misc]
        if one.labels:  # every other one below, since neighbours are often near
            shift = 16 if place % 2 else -7
            body += _text(one.labels[place], (x(at), y(dot.value) + shift), anchor="middle")
    return body


def _dot(look: str, dot: Dot, place: Callable[[float], Place]) -> str:
    """Draw a value and its whisker, each at its place."""
    if math.isnan(dot.value):
        return ""
    whisker = _line(look, [place(end) for end in dot.ends], 2)
    return whisker + _marker(look, place(dot.value))


def _marker(look: str, at: Place) -> str:
    """Draw the shape of a look."""
    move = f'transform="translate({at[0]:.1f} {at[1]:.1f})"'
    return f'<path class="zl-{look}" d="{LOOKS[look][1]}" {move} fill="currentColor"/>'


def _line(look: str, points: Sequence[Place], wide: float = 1.0, dashes: str = "") -> str:
    """Draw a line through points."""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    paint = f'fill="none" stroke="currentColor" stroke-width="{wide}" stroke-dasharray="{dashes}"'
    return f'<path class="zl-{look}" d="M{path}" {paint}/>' if points else ""


def _text(
    words: str, at: Place, look: str = "ink", anchor: str = "start", bold: bool = False
) -> str:
    """Write words; `anchor` is the end of them (start, middle, end) that stands at a place."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text class="zl-{look}" x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" '
        f'fill="currentColor"{weight}>{escape(visible(words))}</text>'
    )


def _fitted(name: str, room: float) -> str:
    """Return a name, cut where it takes more than about so many pixels."""
    fitting = int(room * len(name) / max(_text_width(name), 1))
    return name if len(name) <= fitting else name[: fitting - 1] + "…"


def _text_width(words: str) -> float:
    """Return about how many pixels words take in a wide font."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in visible(words))
    return FONT * (0.6 * len(visible(words)) + 0.4 * wide)


def _legend(keys: Iterable[tuple[str, str]]) -> tuple[str, float]:
    """Return a legend of names and what is drawn before them, and the height that it takes."""
    body, left, top = "", 0.0, 0.0
    for name, drawn in keys:
        wide = 24 + _text_width(name)
        if left and left + wide > WIDTH:
            left, top = 0.0, top + 18
        move = f'transform="translate({left:.1f} {top:.1f})"'
        body += f"<g {move}>{drawn}{_text(name, (23, 13))}</g>"
        left += wide + 12
    return body, top + 24


def _x_axis(scale: Scale, marks: Marks, span: Place, name: str) -> str:
    """Draw upright grid lines, the numbers below them, and the name of the axis."""
    body, (top, bottom) = "", span
    for value, words in marks:
        body += _line("line", [(scale(value), top), (scale(value), bottom)])
        body += _text(words, (scale(value), bottom + 16), anchor="middle")
    middle = (scale(marks[0][0]) + scale(marks[-1][0])) / 2
    middle = min(middle, WIDTH - _text_width(name) / 2)
    return body + _text(name, (middle, bottom + 33), "muted", "middle")


def _range(dots: Sequence[Dot]) -> Place:
    """Return the range of dots and whiskers, with a margin."""
    every = [value for dot in dots for value in (dot.value, *dot.ends)]
    values = [value for value in every if not math.isnan(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 0.5
    return low - margin, high + margin


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _log_ticks(low: float, high: float) -> Marks:
    """Return powers of ten from 10**low to 10**high, every other one where they are many."""
    powers = range(math.ceil(low), math.floor(high) + 1)
    return [(float(power), f"{10.0**power:g}") for power in powers[:: 1 + len(powers) // 8]]


def _ticks(low: float, high: float, most: int) -> Marks:
    """Return about `most` round numbers from `low` to `high`, and their texts."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    factor = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.8 * rough)
    step = factor * power
    digits = max(0, (factor == 2.5) - math.floor(math.log10(step)))
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(place * step, number(place * step, digits, 1)) for place in places]
