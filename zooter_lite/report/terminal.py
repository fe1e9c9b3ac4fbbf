"""What the commands print of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from zooter_lite.measure.ranks import Ranking
from zooter_lite.measure.results import SliceReport
from zooter_lite.report.figures import label
from zooter_lite.report.readable import in_columns
from zooter_lite.router.directory.config import Decisions, Point

BAR = 24


def conclusion(slices: Iterable[SliceReport]) -> str:
    """Say of every slice how the systems do, where the router sends it, and the verdict."""
    lines = []
    for one in slices:
        shares = sorted(one.shares.items(), key=lambda item: -item[1])
        sent = ", ".join(f"{name} {share:.0%}" for name, share in shares)
        lines += ["", text_table(one), f"sent to: {sent}", one.verdict.text]
        if len(one.points) > 1:
            width = max(len(point.name) for point in one.points)
            lines += [f"  {point.name:{width}}  {point.verdict}" for point in one.points]
    return "\n".join([*lines, ""])


def text_table(one: SliceReport) -> str:
    """Systems as rows: mean over queries and over subsets (x100) with 95% intervals, and a bar."""
    top = max((s.micro.value for s in one.systems if s.micro.value > 0), default=1.0)
    width = max(len(label(system, one)) for system in one.systems)
    lines = [
        f"split {one.split}: {one.rows} queries, "
        f"{len(one.subset_rows)} subsets; mean reward x100 with 95% interval",
        f"{'':{width}}  {'micro':>21}  {'macro':>21}",
    ]
    for system in one.systems:
        value = 0.0 if math.isnan(system.micro.value) else max(system.micro.value, 0.0)
        means = f"{in_columns(system.micro):>21}  {in_columns(system.macro):>21}"
        lines.append(f"{label(system, one):{width}}  {means}  {'█' * round(BAR * value / top)}")
    return "\n".join(lines)


def trade_table(decisions: Decisions, experts: Sequence[str]) -> str:
    """Operating points as rows: reward, gain and cost out of fold, who gets what, and the advice.

    Rewards are shown x100; gains, and shares of the cost, are against the best single expert.
    """
    rows = [["point", "cost weight", "reward x100", "gain (std. error)", "cost", "sent to"]]
    single = decisions.single
    for point in [*decisions.points, *([single] if single else [])]:
        shares = sorted(zip(point.shares, experts, strict=False), reverse=True)
        sent = [f"{name} {share:.0%}" for share, name in shares if share >= 0.005]
        more = f", {len(sent) - 3} more" if len(sent) > 3 else ""
        gain, error = (100 * (value or 0.0) for value in (point.gain, point.gain_error))
        rows.append(
            [
                "best single" if point is single else point.name,
                f"always {point.expert}" if point.expert else f"{point.cost_weight:.4g}",
                f"{100 * (point.reward or 0.0):.2f}",
                f"{gain:+.2f} ({error:.2f})",
                _cost(point.cost, single),
                ", ".join(sent[:3]) + more,
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    advice = f"recommended: {decisions.recommended}: {decisions.why}"
    default = f"default: {decisions.default}"
    return "\n".join(
        ["operating points, out of fold on train:", *lines, *_as_dear(decisions), advice, default]
    )


def _as_dear(decisions: Decisions) -> list[str]:
    """Say what the curve earns for what the best single expert costs."""
    single = decisions.single
    if single is None or single.cost is None:
        return []
    near = [knot for knot in decisions.curve if knot.cost <= single.cost]
    if not near:
        return []
    best = max(near, key=lambda knot: knot.reward)
    return [
        f"for no more than always {single.expert} costs, the curve earns {100 * best.reward:.2f} "
        f"(route --budget {single.cost:.4g})"
    ]


def _cost(cost: float | None, single: Point | None) -> str:
    if cost is None:
        return "-"
    share = f" ({cost / single.cost:.0%})" if single is not None and single.cost else ""
    return f"{cost:.4g}{share}"


def ranking_table(ranking: Ranking) -> str:
    """Systems as rows: mean reward (x100) over subsets, mean rank, share of first places."""
    groups = sorted({group for system in ranking.systems for group in system.groups})
    width = max((len(system.name) for system in ranking.systems), default=0)
    lines = [
        f"{ranking.subsets} subsets of {', '.join(ranking.slices)}: mean reward x100, mean "
        "rank (MTR, 1 is best), share of subsets where no system is better (uplift), with 95% "
        "intervals" + (f"; MTR by group: {', '.join(groups)}" if groups else ""),
        f"{'':{width}}  {'average':>21}  {'MTR':>21}  {'uplift x100':>21}",
    ]
    for system in ranking.systems:
        cells = [
            in_columns(system.average),
            in_columns(system.mtr, 1),
            in_columns(system.uplift),
        ]
        ranks = [system.groups.get(group, math.nan) for group in groups]
        by_group = "  ".join("   -" if math.isnan(rank) else f"{rank:4.1f}" for rank in ranks)
        line = f"{system.name:{width}}  {'  '.join(f'{cell:>21}' for cell in cells)}"
        lines.append(f"{line}  {by_group}".rstrip())
    return "\n".join(lines)
