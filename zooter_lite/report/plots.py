"""Values with whiskers, one line per name: most figures of the report are this one."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zooter_lite.report.svg import COLOURS, FONT, WIDTH, drawing, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {  # a shape for every colour: neither is ever alone
    "router": "o",
    "baseline": "s",
    "single": "^",
    "bound": "D",
    "better": "^",
    "worse": "v",
    "unclear": "o",
    "series-1": "o",
    "series-2": "s",
    "series-3": "^",
    "series-4": "D",
    "series-5": "v",
}
_LABELS = 166  # pixels for the names at the left of a `dots` figure
_FITS = _LABELS - 10  # of which a line of a name may fill
_FOOT = 40


@dataclass(frozen=True)
class Dot:
    """One value with its interval; `value` None is not drawn, a whisker without ends neither.

    Attributes
    ----------
    look
        Key of `MARKERS`: colour and shape.
    filled
        False draws the outline alone.
    """

    value: float | None
    low: float | None
    high: float | None
    look: str
    filled: bool = True


@dataclass(frozen=True)
class Row:
    """A line of a `dots` figure: one name, one value or several side by side."""

    name: str
    dots: tuple[Dot, ...]
    bold: bool = False


def dots(
    name: str,
    label: str,
    rows: Sequence[Row],
    axis: str,
    zero: bool = False,
    legend: Sequence[tuple[str, Dot]] = (),
) -> str:
    """Draw one line per row, from top to bottom: dots with whiskers, names at the left.

    Parameters
    ----------
    name, label
        Prefix of ids, and what a screen reader says.
    axis
        What the horizontal axis measures.
    zero
        Whether to mark 0 with a strong line.
    legend
        Names of the dots' looks, above the plot.
    """
    with drawing(100) as (figure, axes):
        lines = [_wrapped(row.name) for row in rows]
        steps = [33 if len(parts) > 1 else 24 for parts in lines]
        height = (22 if legend else 6) + sum(steps) + _FOOT
        figure.set_size_inches(WIDTH / 72, height / 72)
        figure.set_layout_engine("none")
        axes.set_position(
            (_LABELS / WIDTH, _FOOT / height, 1 - (_LABELS + 12) / WIDTH, sum(steps) / height)
        )
        axes.set_ylim(sum(steps), 0)
        middle = 0.0
        for row, parts, step in zip(rows, lines, steps, strict=True):
            middle += step / 2
            _name(axes, parts, middle, row.bold)
            for place, dot in enumerate(row.dots):
                spread = 7.0 * (place - (len(row.dots) - 1) / 2)
                draw_dot(axes, dot, middle + spread, upright=False)
            middle += step / 2
        axes.set_yticks([])
        axes.margins(x=0.04)
        few_ticks(axes)
        if zero:
            axes.axvline(0, color=COLOURS["muted"], linewidth=1.2)
        axes.set_xlabel(axis)
        _legend(axes, legend, height)
        return inline(figure, name, label)


def _wrapped(name: str) -> list[str]:
    """Break a name into at most two lines that fit at the left of a figure."""
    lines = [""]
    for word in name.split():
        joined = f"{lines[-1]} {word}".strip()
        if _width(joined) <= _FITS or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > 2:
        lines[1:] = [f"{lines[1]} …"]
    return [_cut(line) for line in lines]


def _cut(line: str) -> str:
    """Shorten a line that is too wide."""
    if _width(line) <= _FITS:
        return line
    kept = len(line)
    while kept and _width(line[:kept] + "…") > _FITS:
        kept -= 1
    return line[:kept].rstrip() + "…"


def _width(text: str) -> float:
    """Pixels that a text takes in matplotlib's font, which is wider than most of a browser's."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    rest = "".join(c for c in text if unicodedata.east_asian_width(c) not in "WF")
    font = FontProperties(family="DejaVu Sans", size=FONT)
    return FONT * wide + float(text_to_path.get_text_width_height_descent(rest, font, False)[0])


def _name(axes: Axes, parts: list[str], middle: float, bold: bool) -> None:
    """Write the lines of a name; each is its own text, so that the page's font aligns them."""
    for place, part in enumerate(parts):
        axes.annotate(
            part,
            (0, middle + 13.5 * (place - (len(parts) - 1) / 2)),
            (-8, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="center",
            fontweight="bold" if bold else "normal",
            annotation_clip=False,
        )


def draw_dot(axes: Axes, dot: Dot, at: float, upright: bool) -> None:
    """Draw a dot: at height `at` with a level whisker, or at x = `at` with an upright one."""
    if dot.value is None:
        return
    colour = COLOURS[dot.look]
    if dot.low is not None and dot.high is not None:
        ends, same = [dot.low, dot.high], [at, at]
        across = (same, ends) if upright else (ends, same)
        axes.plot(*across, color=colour, linewidth=2, solid_capstyle="round")
    axes.plot(
        *((at, dot.value) if upright else (dot.value, at)),
        MARKERS[dot.look],
        color=colour,
        markerfacecolor=colour if dot.filled else COLOURS["card"],
        markersize=7,
        markeredgewidth=1.5,
        linestyle="none",
    )


def few_ticks(axes: Axes) -> None:
    """At most six round numbers below the plot: what fits on a phone."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))


def _legend(axes: Axes, entries: Sequence[tuple[str, Dot]], height: float) -> None:
    """One line above the plot: shape, colour and words."""
    if not entries:
        return
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[dot.look],
            color=COLOURS[dot.look],
            markerfacecolor=COLOURS[dot.look if dot.filled else "card"],
            markeredgewidth=1.5,
            label=text,
        )
        for text, dot in entries
    ]
    axes.figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1, 1 + 4 / height),
        ncols=len(handles),
        handletextpad=0.1,
        columnspacing=1.0,
        borderpad=0.2,
    )
