"""The comparison as a picture: a bar per system with its interval, as one SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from zooter_lite.compare.baselines import BEST_SINGLE

Json = dict[str, Any]

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


def bar_chart(slices: Sequence[Json]) -> str:
    """Draw the mean reward over queries (x100) of every system, one panel per slice.

    Whiskers are 95% bootstrap intervals. The file has no scripts and no links.

    Parameters
    ----------
    slices
        As in the report dictionary.
    """
    parts: list[str] = []
    top = 12
    for one in slices:
        parts.append(_panel(one, top))
        top += HEAD + ROW * len(one["systems"])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" role="img">\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{top}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(one: Json, top: int) -> str:
    title = f"split {one['split']}: mean reward x100 over {one['rows']} queries, 95% interval"
    highest = max((s["micro"]["high"] or 0.0 for s in one["systems"]), default=0.0)
    scale = (WIDTH - LABELS - 70) / (highest if highest > 0 else 1.0)
    lines = [f'<text class="title" x="12" y="{top + 16}">{escape(title)}</text>']
    for place, system in enumerate(one["systems"]):
        name = system["name"]
        shown = f"{name} ({one['best_single']})" if name == BEST_SINGLE else name
        lines.append(_bar(system, shown, top + HEAD - 20 + place * ROW, scale))
    return "\n".join(lines)


def _bar(system: Json, name: str, y: int, scale: float) -> str:
    kind = "router" if system["role"] == "router" else "bar"
    value = system["micro"]["value"]
    low, length, high = (
        max(system["micro"][key] or 0.0, 0.0) * scale for key in ("low", "value", "high")
    )
    middle = y + 9
    label = name if len(name) <= 44 else name[:43] + "…"
    return (
        f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>'
        f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{length:.1f}" height="18" rx="2"/>'
        f'<path class="whisker" d="M{LABELS + low:.1f} {middle}H{LABELS + high:.1f}"/>'
        f'<text x="{LABELS + high + 8:.1f}" y="{y + 14}">'
        f"{'nan' if value is None else f'{100 * value:.1f}'}</text>"
    )
