"""The comparison as a picture: a bar per method with its interval, as one SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from zooter_lite.evaluation.compare import ROUTER, Comparison, MethodScore

WIDTH, LABELS, ROW, HEAD = 760, 300, 24, 46
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2430; }
  .title { font-weight: 600; font-size: 14px; }
  .bar { fill: #9aa5b8; } .router { fill: #0b6fb8; } .whisker { stroke: #1f2430; }
  .paper { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ef; } .bar { fill: #5d6880; } .router { fill: #4cb0f5; }
    .whisker { stroke: #e6e9ef; } .paper { fill: #14171f; }
  }
"""


def bar_chart(comparisons: Sequence[Comparison]) -> str:
    """Draw the mean reward over queries (x100) of every method, one panel per split.

    Whiskers are 95% bootstrap intervals. The file has no scripts and no links.
    """
    parts: list[str] = []
    top = 12
    for comparison in comparisons:
        parts.append(_panel(comparison, top))
        top += HEAD + ROW * len(comparison.methods)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" role="img">\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{top}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(comparison: Comparison, top: int) -> str:
    title = (
        f"split {comparison.split}: mean reward x100 over {comparison.rows} queries, 95% interval"
    )
    highest = max((s.micro.high for s in comparison.methods if s.micro.high > 0), default=1.0)
    scale = (WIDTH - LABELS - 70) / highest
    lines = [f'<text class="title" x="12" y="{top + 16}">{escape(title)}</text>']
    for place, score in enumerate(comparison.methods):
        lines.append(_bar(score, top + HEAD - 20 + place * ROW, scale))
    return "\n".join(lines)


def _bar(score: MethodScore, y: int, scale: float) -> str:
    kind = "router" if score.name == ROUTER else "bar"
    low, value, high = (
        (number if number > 0 else 0.0) * scale
        for number in (score.micro.low, score.micro.value, score.micro.high)
    )
    middle = y + 9
    label = score.name if len(score.name) <= 44 else score.name[:43] + "…"
    return (
        f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>'
        f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{value:.1f}" height="18" rx="2"/>'
        f'<path class="whisker" d="M{LABELS + low:.1f} {middle}H{LABELS + high:.1f}"/>'
        f'<text x="{LABELS + high + 8:.1f}" y="{y + 14}">{100 * score.micro.value:.1f}</text>'
    )
