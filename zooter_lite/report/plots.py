"""The two kinds of figures: values on named rows, and series over two axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zooter_lite.report import svg
from zooter_lite.report.readable import number
from zooter_lite.report.svg import Drawing, Place

WIDTH = 400  # CSS pixels: a phone shows a figure of this width almost at its own size
_FOOT = 40  # below a plot: numbers, and the name of the axis
Scale = Callable[[float], float]
Marks = list[tuple[float, str]]  # places on an axis, and what stands there


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
class Row:
    """A named row with a value, and a text at its end."""

    name: str
    dot: Dot
    text: str = ""
    bold: bool = False


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


def named_rows(label: str, rows: Sequence[Row], axis: str, width: float = WIDTH) -> Drawing:
    """Draw one line per row, from top to bottom: dots with whiskers, names at the left."""
    left = 0.415 * width
    right = width - 12 - max((svg.text_width(row.text) for row in rows), default=0)
    names = [svg.wrapped(row.name, left - 14) for row in rows]
    steps = [33 if len(lines) > 1 else 24 for lines in names]
    looks = {row.dot.look for row in rows}
    keys = [(key[0], svg.marker(look, (9, 9))) for look, key in svg.LOOKS.items() if look in looks]
    body, top = _legend(keys, width)
    bottom = top + sum(steps)
    low, high = _range([row.dot for row in rows])
    scale = _scale(low, high, left, right)
    marks = _ticks(low, high, int((right - left) / 40))
    body += _x_axis(scale, marks, (top, bottom), axis, width)
    for row, lines, step in zip(rows, names, steps, strict=True):
        y = top + step / 2
        for place, words in enumerate(lines):
            at = (left - 8, y + 4 + 13.5 * (place - (len(lines) - 1) / 2))
            body += svg.text(words, at, anchor="end", bold=row.bold)
        body += _dot(row.dot.look, row.dot, lambda value, y=y: (scale(value), y))  # type: ignore[misc]
        if row.text:
            body += svg.text(row.text, (width, y + 4), anchor="end", bold=row.bold)
        top += step
    return Drawing(label, width, bottom + _FOOT, body)


def plane(
    label: str,
    series: Sequence[Series],
    axes: tuple[str, str],
    width: float = WIDTH,
    *,
    logarithmic: bool = False,
    note: str = "",
) -> Drawing:
    """Draw series over two axes.

    With `logarithmic` the places on x are decimal logarithms of what the axis shows.
    """
    keys = [
        (one.name, svg.line(one.look, [(0, 9), (18, 9)], 2, one.dashes))
        if one.line
        else (one.name, svg.marker(one.look, (9, 9)))
        for one in series
        if one.name
    ]
    body, top = _legend(keys, width)
    body += svg.text(axes[1], (0, top + 10), "muted")
    top, right = top + 22, width - 14
    bottom = top + 210
    points = [point for one in series for point in one.known]
    (x_low, x_high), (y_low, y_high) = (
        _range([Dot(x) for x, _ in points]),
        _range([dot for _, dot in points]),
    )
    y_marks = _ticks(y_low, y_high, 5)
    left = 10 + max(svg.text_width(words) for _, words in y_marks)
    x_scale, y_scale = _scale(x_low, x_high, left, right), _scale(y_low, y_high, bottom, top)
    for value, words in y_marks:
        y = y_scale(value)
        body += svg.line("line", [(left, y), (right, y)])
        body += svg.text(words, (left - 6, y + 4), anchor="end")
    x_marks = _log_ticks(x_low, x_high) if logarithmic else []
    x_marks = x_marks if len(x_marks) > 1 else _ticks(x_low, x_high, 5)
    body += _x_axis(x_scale, x_marks, (top, bottom), axes[0], width)
    body += "".join(_series(one, x_scale, y_scale) for one in series)
    return Drawing(label, width, bottom + _FOOT, body, note)


def _series(one: Series, x: Scale, y: Scale) -> str:
    """Draw the line of one series, or its markers, with whiskers and numbers."""
    if one.line:
        return svg.line(one.look, [(x(at), y(dot.value)) for at, dot in one.known], 2, one.dashes)
    body = ""
    for place, (at, dot) in enumerate(one.known):
        body += _dot(one.look, dot, lambda value, at=at: (x(at), y(value)))  # type: ignore[misc]
        if one.labels:  # every other one below, since neighbours are often near
            shift = 16 if place % 2 and not one.labels[place].isdigit() else -7
            body += svg.text(one.labels[place], (x(at), y(dot.value) + shift), anchor="middle")
    return body


def _dot(look: str, dot: Dot, place: Callable[[float], Place]) -> str:
    """Draw a value and its whisker, each at its place."""
    if math.isnan(dot.value):
        return ""
    whisker = svg.line(look, [place(end) for end in dot.ends], 2)
    return whisker + svg.marker(look, place(dot.value))


def _legend(keys: Iterable[tuple[str, str]], width: float) -> tuple[str, float]:
    """Return a legend of names and what is drawn before them, and the height that it takes."""
    body, left, top = "", 0.0, 0.0
    for name, drawn in keys:
        wide = 24 + svg.text_width(name)
        if left and left + wide > width:
            left, top = 0.0, top + 18
        move = f'transform="translate({left:.1f} {top:.1f})"'
        body += f"<g {move}>{drawn}{svg.text(name, (23, 13))}</g>"
        left += wide + 12
    return body, top + 24


def _x_axis(scale: Scale, marks: Marks, span: Place, name: str, width: float) -> str:
    """Draw upright grid lines, the numbers below them, and the name of the axis."""
    body, (top, bottom) = "", span
    for value, words in marks:
        body += svg.line("line", [(scale(value), top), (scale(value), bottom)])
        body += svg.text(words, (scale(value), bottom + 16), anchor="middle")
    middle = (scale(marks[0][0]) + scale(marks[-1][0])) / 2
    middle = min(middle, width - svg.text_width(name) / 2)
    return body + svg.text(name, (middle, bottom + 33), "muted", "middle")


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
