"""results.svg: p50 and p99 of every contestant at every length, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from recipes.bench.speed.figures import LENGTHS, OURS, Timed
from recipes.bench.speed.write import number

LABELS, PANEL, GAP, ROW, TOP, FOOT = 370, 250, 26, 22, 66, 40
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2430; }
  .title { font-weight: 600; font-size: 13px; }
  .grid { stroke: #d9dee8; } .axis { fill: #5d6880; font-size: 11px; }
  .dot { fill: #7c8799; } .tail { stroke: #7c8799; stroke-width: 2; }
  .ours { fill: #0b6fb8; } .ours-tail { stroke: #0b6fb8; stroke-width: 2; }
  .paper { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ef; } .grid { stroke: #2c3341; } .axis { fill: #9aa5b8; }
    .dot { fill: #9aa5b8; } .tail { stroke: #9aa5b8; }
    .ours { fill: #4cb0f5; } .ours-tail { stroke: #4cb0f5; } .paper { fill: #14171f; }
  }
"""


def dot_plot(rows: Sequence[Timed]) -> str:
    """Draw a panel per length, a row per contestant: dot at p50, line to p99.

    All panels share one logarithmic axis of milliseconds. The file has no scripts and
    no links.
    """
    width = LABELS + len(LENGTHS) * (PANEL + GAP)
    height = TOP + ROW * len(rows) + FOOT
    values = [t.ms(n, p) for t in rows for n in LENGTHS for p in (50, 99)]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    parts = [
        '<text class="title" x="12" y="20">Text to decision, one prompt at a time, milliseconds: '
        "dot at p50, line to p99; logarithmic</text>"
    ]
    for place, t in enumerate(rows):
        parts.append(
            f'<text x="{LABELS - 10}" y="{TOP + place * ROW + 15}" text-anchor="end">'
            f"{escape(t.label)}</text>"
        )
    for column, tokens in enumerate(LENGTHS):
        parts.append(_panel(rows, tokens, LABELS + column * (PANEL + GAP), low, high))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="{width}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(rows: Sequence[Timed], tokens: int, left: int, low: int, high: int) -> str:
    def x(ms: float) -> float:
        return left + (PANEL - 40) * (math.log10(ms) - low) / (high - low)

    bottom = TOP + ROW * len(rows)
    lines = [f'<text class="title" x="{left}" y="{TOP - 18}">{tokens} tokens</text>']
    for power in range(low, high + 1):
        at = x(10.0**power)
        lines.append(
            f'<path class="grid" d="M{at:.1f} {TOP - 6}V{bottom}"/>'
            f'<text class="axis" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{10.0**power:g}</text>"
        )
    for place, t in enumerate(rows):
        kind, tail = ("ours", "ours-tail") if t.group == OURS else ("dot", "tail")
        p50, p99, middle = x(t.ms(tokens)), x(t.ms(tokens, 99)), TOP + place * ROW + 11
        lines.append(
            f'<path class="{tail}" d="M{p50:.1f} {middle}H{p99:.1f}"/>'
            f'<circle class="{kind}" cx="{p50:.1f}" cy="{middle}" r="4.5"/>'
            f'<text class="axis" x="{p99 + 6:.1f}" y="{middle + 4}">{number(t.ms(tokens))}</text>'
        )
    return "\n".join(lines)
