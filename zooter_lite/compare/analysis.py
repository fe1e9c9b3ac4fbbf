"""From slices, with every system on them, to the report: means, paired gaps, one verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zooter_lite.labels.completion import mean_rewards
from zooter_lite.labels.soft import harden
from zooter_lite.measure.calibration import calibration
from zooter_lite.measure.costs import cost_quality, point_results
from zooter_lite.measure.metrics import (
    Array,
    Draws,
    Estimate,
    draw,
    measured,
    reward_of,
)
from zooter_lite.measure.partial import Logged, logged_means
from zooter_lite.measure.ranks import ranking
from zooter_lite.measure.regret import regret
from zooter_lite.measure.results import Report, SliceReport, SystemResult, Verdict
from zooter_lite.measure.significance import Gap, paired_gaps
from zooter_lite.measure.system import (
    ALWAYS,
    BEST_PER_SUBSET,
    BEST_SINGLE,
    KNN,
    ORACLE,
    RANDOM,
    Slice,
)


def analyse(slices: Sequence[Slice], seed: int = 0, by_split: bool = True) -> Report:
    """Describe every slice and rank the systems over all their subsets.

    The report's slices are found by their split or, where there are several tables, by name.
    """
    # slices are drawn apart, so that equal subsets of two of them are not paired by chance
    draws = [draw(one.table.subsets, [seed, place]) for place, one in enumerate(slices)]
    reports = [slice_report(one, drawn) for one, drawn in zip(slices, draws, strict=True)]
    return Report(
        slices={one.split if by_split else one.name: one for one in reports},
        ranking=ranking(slices, draws),
    )


def slice_report(one: Slice, draws: Draws) -> SliceReport:
    """Describe one slice: systems, verdict, regret, calibration, costs and the rest."""
    table, choices = one.table, one.systems[0].choices
    if choices is None:
        raise ValueError(f"{one.name}: the first system must be a router, which chooses")
    stated = reward_of(choices, one.predicted.probs)
    results, best_shares = system_results(one, draws), harden(table.rewards)
    closed = gap_closed(results)
    best = table.experts[one.known.best_single]
    single = next(system for system in one.systems if system.name == BEST_SINGLE)
    expected = _expected(one)
    logged = None if expected is None else logged_means(table, choices, expected, draws)
    return SliceReport(
        name=one.name,
        table=one.table_name,
        split=one.split,
        rows=len(table),
        experts=table.experts,
        best_expert=best,
        subset_rows=dict(zip(draws.subsets, map(len, draws.rows), strict=True)),
        systems=results,
        verdict=verdict(results, one.split, best, closed, logged),
        gap_closed=closed,
        shares=shares(np.eye(len(table.experts))[choices], table.experts),
        best_shares=shares(best_shares, table.experts),
        regret=regret(table, choices, stated, draws),
        calibration=calibration(stated, reward_of(choices, best_shares), draws),
        costs=cost_quality(one.systems, table, one.known, draws),
        points=point_results(one.points, single, table, draws),
        logged=logged,
    )


def shares(chosen: NDArray[np.floating], experts: Sequence[str]) -> dict[str, float]:
    """Mean share of each expert, of shares (n, n_experts) by query; NaN counts as 0."""
    return dict(zip(experts, np.nan_to_num(chosen).mean(axis=0).tolist(), strict=True))


USUAL = (BEST_SINGLE, BEST_PER_SUBSET, KNN)  # beside the single experts


def system_results(one: Slice, draws: Draws) -> list[SystemResult]:
    """Measure every system, and the paired gap of the router to each but the bounds.

    The gaps to what is always compared are one family for Holm's correction, those to rivals and
    other routers another, so that a verdict does not depend on what else was asked for. The best
    single expert stands in its family once, under its own name; its single takes that gap over.
    """
    twin = ALWAYS + one.table.experts[one.known.best_single]
    names = [system.name for system in one.systems]
    compared = [s for s in one.systems[1:] if s.role != "bound" and s.name != twin]
    means = np.stack([system.means(draws) for system in one.systems], axis=2)
    gaps: dict[str, Gap] = {}
    for always in (True, False):
        family = [s.name for s in compared if (s.role == "single" or s.name in USUAL) == always]
        apart = means[:, :, :1] - means[:, :, [names.index(name) for name in family]]
        gaps |= zip(family, paired_gaps(apart, draws) if family else [], strict=True)
    gaps[twin] = gaps[BEST_SINGLE]
    found = measured(means, draws)
    return [
        SystemResult(
            name=system.name,
            role=system.role,
            micro=found.micro[place],
            macro=found.macro[place],
            subsets=found.subsets[place],
            gap=gaps.get(system.name),
            unobserved=int(np.isnan(system.rewards).sum()),
        )
        for place, system in enumerate(one.systems)
    ]


def _expected(one: Slice) -> Array | None:
    """(n, n_experts) mean rewards of the subset on train; None without a log or without train."""
    train, overall = one.known.table, np.nan_to_num(one.known.mean_rewards)
    if one.table.propensities is None or train is None:
        return None
    names = np.asarray(train.subsets)
    means = {
        name: mean_rewards(train.rewards[names == name], names[names == name])
        for name in set(one.table.subsets) & set(train.subsets)
    }
    expected = np.stack([means.get(subset, overall) for subset in one.table.subsets])
    return np.where(np.isnan(expected), overall, expected)


def gap_closed(systems: Sequence[SystemResult]) -> float:
    """Share of the way from random to the oracle; NaN where the oracle is no better, or unknown."""
    by_name = {system.name: system.micro.value for system in systems}
    router, random, oracle = systems[0].micro.value, by_name[RANDOM], by_name[ORACLE]
    return (router - random) / (oracle - random) if oracle > random else math.nan


def verdict(
    systems: Sequence[SystemResult],
    split: str,
    best: str,
    closed: float,
    logged: Logged | None = None,
) -> Verdict:
    """Say whether the router beats the best single expert, and who is ahead of it.

    Everything is by the paired gaps: a difference is called one where its Holm-adjusted p
    is below 0.05. `best` names the expert that was best on train, and `closed` is the gap closed.
    """
    router, *others = systems
    gap = next(s.gap for s in others if s.name == BEST_SINGLE and s.gap)
    points = 100 * gap.value
    words = {
        "better": f"beats the best single expert ({best}) by {points:.2f} points",
        "worse": f"is WORSE than the best single expert ({best}) by {-points:.2f} points: "
        "do not route with it",
        "unclear": f"does NOT reliably beat the best single expert ({best}): {points:+.2f} "
        "points, within noise",
        "unknown": f"cannot be compared with the best single expert ({best}): "
        "one of the two has no observed reward.",
    }[gap.outcome]
    text = f"By the mean over the queries of {split}, the router {words}"
    if gap.outcome != "unknown":
        text += f" (Holm-adjusted p {'< 0.001' if gap.p_holm < 0.001 else f'= {gap.p_holm:.3f}'})."
    if not np.isnan(closed):
        text += f" It closes {100 * closed:.0f}% of the gap from random to the oracle."
    ahead = [
        s.name if s.gap.outcome == "worse" else f"{s.name} (within noise)"
        for s in others
        if s.gap is not None and s.gap.value < 0 and s.name != BEST_SINGLE
    ]
    if ahead:
        text += f" Ahead of it: {', '.join(ahead)}."
    if logged:
        text += (
            f" By the propensities of {logged.rows} logged choices, of which it agrees with "
            f"{logged.agreed}, it earns {_points(logged.inverse_propensity)} (inverse "
            f"propensity), {_points(logged.doubly_robust)} (doubly robust)."
        )
    elif router.unobserved:
        text += (
            f" On {router.unobserved} rows the chosen expert's reward was not observed; it counts "
            "there what it earns on rows of the same subset and level."
        )
    return Verdict(gap.outcome, gap.p_holm, text)


def _points(found: Estimate) -> str:
    return f"{100 * found.value:.2f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
