"""What the commands print of a report, and the model card holds of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from zooter_lite.measure.ranks import Ranking
from zooter_lite.measure.results import SliceReport
from zooter_lite.report.readable import markdown_table, percent, with_interval
from zooter_lite.router.directory.config import Decisions, Point


def conclusion(slices: Iterable[SliceReport]) -> str:
    """Say of every slice how the systems do, where the router sends it, and the verdict."""
    lines = []
    for one in slices:
        lines += ["", f"split {one.split}: {one.rows} queries, {len(one.subset_rows)} subsets"]
        lines += [*summary(one), "", one.verdict.text]
    return "\n".join([*lines, ""])


def summary(one: SliceReport) -> list[str]:
    """Return Markdown of what the systems and the operating points earn, and who gets what."""
    earned = [[one.label(s), with_interval(s.micro), with_interval(s.macro)] for s in one.systems]
    lines = markdown_table(["mean reward x100, 95% interval", "micro", "macro"], earned)
    sent = sorted(one.shares.items(), key=lambda item: -item[1])
    lines += [
        "",
        f"- sent to: {', '.join(f'{name} {percent(share)}' for name, share in sent if share)}",
        f"- expected calibration error x100: {with_interval(one.calibration.ece)}",
    ]
    parts = [part for part in one.regret.by_subset if not math.isnan(part.share)]
    if len(parts) > 1:
        worst = max(parts, key=lambda part: part.share)
        lines.append(
            f"- mean regret against the oracle x100: {with_interval(one.regret.mean)}; "
            f"{worst.share:.0%} of it on subset {worst.name}"
        )
    if len(one.points) > 1:
        points = [
            [p.name, with_interval(p.reward), f"{p.cost.value:.4g}" if p.cost else "", p.verdict]
            for p in one.points
        ]
        head = ["operating point", "reward x100", "mean cost", "verdict"]
        lines += ["", *markdown_table(head, points)]
    return lines


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
    near = [knot.reward for knot in decisions.curve if knot.cost <= single.cost]
    return [
        f"for no more than always {single.expert} costs, the curve earns {100 * reward:.2f} "
        f"(route --budget {single.cost:.4g})"
        for reward in sorted(near)[-1:]
    ]


def _cost(cost: float | None, single: Point | None) -> str:
    if cost is None:
        return "-"
    share = f" ({cost / single.cost:.0%})" if single is not None and single.cost else ""
    return f"{cost:.4g}{share}"


def ranking_table(ranking: Ranking) -> str:
    """Systems as rows: mean reward (x100) over subsets, mean rank, share of first places."""
    rows = [
        [s.name, with_interval(s.average), with_interval(s.mtr, 1), with_interval(s.uplift)]
        for s in ranking.systems
    ]
    said = (
        f"{ranking.subsets} subsets of {', '.join(ranking.slices)}: mean reward x100, mean "
        "rank (MTR, 1 is best), share of subsets where no system is better (uplift), with 95% "
        "intervals"
    )
    return "\n".join([said, *markdown_table(["system", "average", "MTR", "uplift x100"], rows)])
