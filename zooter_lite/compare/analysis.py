"""The report: everything that is said about a list of slices, as one dictionary.

The dictionary holds plain numbers and texts (None for what cannot be known); the page, the
model card and the printed tables are all written from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.compare.baselines import BEST_SINGLE, ORACLE, RANDOM
from zooter_lite.measure import metrics
from zooter_lite.measure.calibration import best_share, calibration, selective_curve
from zooter_lite.measure.costs import CostQuality, cost_quality
from zooter_lite.measure.entropy import entropy_curve
from zooter_lite.measure.metrics import Draws
from zooter_lite.measure.ranks import common_systems, rank_systems
from zooter_lite.measure.regret import confusion, regret
from zooter_lite.measure.significance import paired_gaps
from zooter_lite.measure.system import Array, IntArray, Slice, System
from zooter_lite.report.card import verdict

Json = dict[str, Any]

FORMAT = 1
COST_UNIT = "the table's unit"  # a reward table does not name it


@dataclass(frozen=True)
class Evaluated:
    """A slice, and what belongs to its report beside the systems.

    Attributes
    ----------
    slice
        The evaluated rows and the systems on them.
    temperature
        Calibration temperature that `slice.probs` were divided by.
    train_costs, train_rewards
        (n_experts,) mean cost and reward of each expert on train, NaN where unknown; None
        where nothing is.
    robustness
        What noise in the prompts changes, None where it was not measured.
    """

    slice: Slice
    temperature: float = 1.0
    train_costs: Array | None = None
    train_rewards: Array | None = None
    robustness: list[Json] | None = None


def plain(value: Any) -> Any:
    """Return dataclasses, arrays and mappings as what JSON holds; None for NaN and infinities."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def analyse(
    evaluated: Sequence[Evaluated],
    made: Mapping[str, Any],
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> Json:
    """Describe every slice and rank the systems over all their subsets.

    Parameters
    ----------
    evaluated
        The slices.
    made
        How the report came about: command, version, precision and so on.
    seed
        Of the bootstrap.
    progress
        Called with 1 after every slice.
    """
    # slices are drawn apart, so that equal subsets of two of them are not paired by chance
    draws = [
        metrics.draw(one.slice.table.subsets, [seed, place]) for place, one in enumerate(evaluated)
    ]
    slices = []
    for one, drawn in zip(evaluated, draws, strict=True):
        slices.append(slice_report(one, drawn))
        progress(1)
    return {
        "format": FORMAT,
        "made": plain(made),
        "slices": slices,
        "ranking": ranking([one.slice for one in evaluated], draws),
        "ablations": None,
        "learning_curve": None,
        "reward_ranking": None,
    }


def slice_report(one: Evaluated, draws: Draws) -> Json:
    """Describe one slice: systems, verdict, regret, calibration, costs and the rest."""
    part = one.slice
    table, router = part.table, part.systems[0]
    if router.choices is None:
        raise ValueError(f"{part.name}: the first system must be a router, which chooses")
    n_experts = len(table.experts)
    shares = np.bincount(router.choices, minlength=n_experts) / len(table)
    confidence = confidence_of(part.probs, router)
    found = {
        "name": part.name,
        "table": part.table_name,
        "split": part.split,
        "rows": len(table),
        "experts": table.experts,
        "best_single": table.experts[part.best_single],
        "subset_rows": dict(
            zip(*(a.tolist() for a in np.unique(table.subsets, return_counts=True)), strict=True)
        ),
        "groups": {s: g for s, g in part.groups.items() if s in set(table.subsets)},
        "systems": system_rows(part, draws),
        "gain": gain(part, draws),
        "gap_closed": gap_closed(part),
        "shares": dict(zip(table.experts, shares.tolist(), strict=True)),
        "confusion": {
            "experts": table.experts,
            "matrix": confusion(router.choices, table.rewards),
        },
        "regret": regret(table, router.choices, confidence, draws),
        "calibration": calibration_report(one, draws),
        "selective": selective_curve(confidence, router.rewards, draws),
        "entropy": entropy_curve(table.rewards, router.choices, draws),
        "costs": costs(one, draws),
        "robustness": one.robustness,
    }
    report: Json = plain(found)
    return report | {"verdict": verdict(report)}


def confidence_of(probs: NDArray[np.floating], router: System) -> Array:
    """(n,) probability that the router gave the expert it chose."""
    return np.asarray(probs[np.arange(len(probs)), router.choices], dtype=np.float64)


def system_rows(part: Slice, draws: Draws) -> list[Json]:
    """Per system its means, with intervals, and the paired gap of the router to it.

    The gaps to all systems but the bounds are one family for Holm's correction. The best
    single expert stands in it once, under its own name; its single takes that gap over.
    """
    subsets = part.table.subsets
    router, *others = part.systems
    resampled = metrics.resampled_means({s.name: s.rewards for s in part.systems}, draws)
    twin = f"always {part.table.experts[part.best_single]}"
    named = any(system.name == BEST_SINGLE for system in others)
    family = [s for s in others if s.role != "bound" and not (named and s.name == twin)]
    rivals = np.stack([s.rewards for s in family], axis=1) if family else None
    gaps = [] if rivals is None else paired_gaps(router.rewards, rivals, draws)
    gap_of = {s.name: gap for s, gap in zip(family, gaps, strict=True)}
    if named and any(s.name == twin for s in others):
        gap_of[twin] = gap_of[BEST_SINGLE]
    return [
        {
            "name": s.name,
            "role": s.role,
            "micro": metrics.estimate(metrics.micro_mean(s.rewards), resampled.micro[s.name]),
            "macro": metrics.estimate(
                metrics.macro_mean(s.rewards, subsets), resampled.macro[s.name]
            ),
            "subsets": metrics.subset_means(s.rewards, subsets),
            "gap": gap_of.get(s.name),
            "unobserved": int(np.isnan(s.rewards).sum()),
        }
        for s in part.systems
    ]


def gain(part: Slice, draws: Draws) -> dict[str, float]:
    """Paired probability that the router's micro and macro mean is above the best single's.

    Over the queries where the rewards of both were observed.
    """
    router = part.systems[0].rewards
    single = part.table.rewards[:, part.best_single].astype(np.float64)
    both = np.where(np.isnan(router - single), np.nan, 0.0)
    drawn = metrics.resampled_means({"router": router + both, "single": single + both}, draws)
    return {
        name: metrics.probability_of_gain(means["router"], means["single"])
        for name, means in (("micro", drawn.micro), ("macro", drawn.macro))
    }


def gap_closed(part: Slice) -> float:
    """Share of the way from random to the oracle, by the mean over queries."""
    means = {s.name: metrics.micro_mean(s.rewards) for s in part.systems}
    span = means[ORACLE] - means[RANDOM]
    return (means[part.systems[0].name] - means[RANDOM]) / span if span > 0 else float("nan")


def calibration_report(one: Evaluated, draws: Draws) -> dict[str, Any]:
    """Reliability of the chosen expert's probability, before and after calibration.

    Before: the softmax of the head's logits as they are, which is the calibrated
    distribution to the power of its temperature, normalised.
    """
    part = one.slice
    router = part.systems[0]
    if router.choices is None:
        raise ValueError(f"{part.name}: the first system must be a router, which chooses")
    logs = one.temperature * np.log(np.maximum(part.probs.astype(np.float64), 1e-30))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    before = powers / powers.sum(axis=1, keepdims=True)
    events = best_share(router.choices, part.table.rewards)
    return {
        name: calibration(confidence_of(probs, router), events, draws)
        for name, probs in (("before", before), ("after", part.probs))
    }


def costs(one: Evaluated, draws: Draws) -> CostQuality | None:
    """Costs against quality; None where the slice or train has no costs to speak of."""
    table = one.slice.table
    if table.costs is None or one.train_costs is None or one.train_rewards is None:
        return None
    if np.isnan(table.costs).all() or np.isnan(one.train_costs).all():
        return None
    return cost_quality(
        one.slice.systems, table, one.train_costs, one.train_rewards, draws, COST_UNIT
    )


def choice_estimates(choices: IntArray, part: Slice, seed: int) -> dict[str, metrics.Estimate]:
    """Micro and macro mean of what choices (n,) earn on a slice, with their intervals."""
    earned = metrics.reward_of(choices, part.table.rewards)
    subsets = part.table.subsets
    drawn = metrics.resample({"it": earned}, subsets, seed)
    return {
        "micro": metrics.estimate(metrics.micro_mean(earned), drawn.micro["it"]),
        "macro": metrics.estimate(metrics.macro_mean(earned, subsets), drawn.macro["it"]),
    }


def ranking(slices: Sequence[Slice], draws: Sequence[Draws]) -> Json:
    """Rank the systems that every slice has, over all subsets of all slices.

    A single expert that is the best single on train of every slice is ranked under that
    name alone.
    """
    names = common_systems(slices) if slices else []
    twins = {f"always {part.table.experts[part.best_single]}" for part in slices}
    if BEST_SINGLE in names and len(twins) == 1:
        names = [name for name in names if name not in twins]
    by_name = [{system.name: system for system in part.systems} for part in slices]
    rewards = [np.stack([found[n].rewards for n in names], axis=1) for found in by_name]
    if not names:
        return {"subsets": 0, "slices": [], "systems": []}
    found = rank_systems(rewards, draws, [part.groups for part in slices])
    report: Json = plain(
        {
            "subsets": found.tasks,
            "left_out": found.left_out,
            "slices": [part.name for part in slices],
            "systems": [
                {"name": name, "role": by_name[0][name].role} | asdict(standing)
                for name, standing in zip(names, found.systems, strict=True)
            ],
        }
    )
    return report
