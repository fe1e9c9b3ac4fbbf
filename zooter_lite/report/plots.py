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
    """A named row with one value, or with several side by side, and a text at its end."""

    name: str
    dots: Sequence[Dot]
    text: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Series:
    """Dots over x: a line through them, or markers with whiskers.

    Attributes
    ----------
    points
        (x, dot) from left to right.
    dashes
        Of the line, as in `stroke-dasharray`.
    labels
        What stands above each marker; empty for nothing.
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


def named_rows(
    label: str, rows: Sequence[Row], axis: str, zero: bool = False, width: float = WIDTH
) -> Drawing:
    """Draw one line per row, from top to bottom: dots with whiskers, names at the left.

    A screen reader says `label`; with `zero`, 0 is on the axis, with a strong line.
    """
    left = 0.415 * width
    right = width - 12 - max((svg.text_width(row.text) for row in rows), default=0)
    names = [svg.wrapped(row.name, left - 14) for row in rows]
    steps = [33 if len(lines) > 1 else 24 for lines in names]
    dots = [dot for row in rows for dot in row.dots]
    looks = {dot.look for dot in dots}
    keys = [(key[0], svg.marker(look, (9, 9))) for look, key in svg.LOOKS.items() if look in looks]
    body, top = _legend(keys if looks != {"router"} else [], width)
    bottom = top + sum(steps)
    low, high = _range(dots, [0.0] if zero else [])
    scale = _scale(low, high, left, right)
    marks = _ticks(low, high, int((right - left) / 40))
    body += _x_axis(scale, marks, (top, bottom), axis, width)
    if zero:
        body += svg.line("muted", [(scale(0), top), (scale(0), bottom)], 1.2)
    for row, lines, step in zip(rows, names, steps, strict=True):
        middle = top + step / 2
        for place, words in enumerate(lines):
            y = middle + 4 + 13.5 * (place - (len(lines) - 1) / 2)
            body += svg.text(words, (left - 8, y), anchor="end", bold=row.bold)
        for place, dot in enumerate(row.dots):
            if not math.isnan(dot.value):
                y = middle + 7 * (place - (len(row.dots) - 1) / 2)
                body += svg.line(dot.look, [(scale(end), y) for end in dot.ends], 2)
                body += svg.marker(dot.look, (scale(dot.value), y))
        body += svg.text(row.text, (width, middle + 4), anchor="end", bold=row.bold)
        top += step
    return Drawing(label, width, bottom + _FOOT, body)


def plane(
    label: str,
    series: Sequence[Series],
    axes: tuple[str, str],
    height: float = 210,
    width: float = WIDTH,
    *,
    logarithmic: bool = False,
) -> Drawing:
    """Draw series over two axes; `height` is without legend and axis.

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
    bottom = top + height
    points = [point for one in series for point in one.known]
    (x_low, x_high), (y_low, y_high) = (
        _range([], [x for x, _ in points]),
        _range([d for _, d in points]),
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
    return Drawing(label, width, bottom + _FOOT, body)


def _series(one: Series, x: Scale, y: Scale) -> str:
    """Draw the line of one series, or its markers, with whiskers and numbers."""
    if one.line:
        return svg.line(one.look, [(x(at), y(dot.value)) for at, dot in one.known], 2, one.dashes)
    body = ""
    for place, (at, dot) in enumerate(one.known):
        body += svg.line(one.look, [(x(at), y(end)) for end in dot.ends], 2)
        body += svg.marker(one.look, (x(at), y(dot.value)))
        if one.labels:  # every other one below, since neighbours are often near
            shift = 16 if place % 2 and not one.labels[place].isdigit() else -7
            body += svg.text(one.labels[place], (x(at), y(dot.value) + shift), anchor="middle")
    return body


def _legend(keys: Iterable[tuple[str, str]], width: float) -> tuple[str, float]:
    """Return a legend of names and what is drawn before them, and the height that it takes."""
    body, left, top = "", 0.0, 0.0
    for name, drawn in keys:
        wide = 24 + svg.text_width(name)
        if left and left + wide > width:
            left, top = 0.0, top + 18
        move = f'transform="translate({svg.pixels(left)} {svg.pixels(top)})"'
        body += f"<g {move}>{drawn}{svg.text(name, (23, 13))}</g>"
        left += wide + 12
    return body, top + (24 if body else 4)


def _x_axis(scale: Scale, marks: Marks, span: Place, name: str, width: float) -> str:
    """Draw upright grid lines, the numbers below them, and the name of the axis."""
    body, (top, bottom) = "", span
    for value, words in marks:
        body += svg.line("line", [(scale(value), top), (scale(value), bottom)])
        body += svg.text(words, (scale(value), bottom + 16), anchor="middle")
    middle = (scale(marks[0][0]) + scale(marks[-1][0])) / 2
    middle = min(middle, width - svg.text_width(name) / 2)
    return body + svg.text(name, (middle, bottom + 33), "muted", "middle")


def _range(dots: Sequence[Dot], further: Sequence[float] = ()) -> Place:
    """Return the range of dots, whiskers and further values, with a margin."""
    every = [*further, *(value for dot in dots for value in (dot.value, *dot.ends))]
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
