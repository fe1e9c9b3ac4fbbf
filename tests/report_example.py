"""A report as the evaluation makes it, from simulated rewards.

Its numbers hang together, but the intervals are normal approximations: nothing here checks a
metric.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.measure.calibration import Calibration, ReliabilityBin, SelectiveCurve
from zooter_lite.measure.costs import CostCurve, CostQuality, Point
from zooter_lite.measure.entropy import EntropyBin, EntropyCurve
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.regret import Part, Regret, WorstRow
from zooter_lite.measure.results import (
    CalibrationPair,
    Confusion,
    CurvePoint,
    JudgedRanking,
    Means,
    RankedSystem,
    Ranking,
    Report,
    Robustness,
    Setting,
    SliceReport,
    SystemResult,
    Verdict,
)
from zooter_lite.measure.significance import Gap

Array = NDArray[np.float64]

EXPERTS = ["Mistral-7B-Instruct-v0.2", "zephyr-7b-beta", "MetaMath-Mistral-7B", "dolphin-2.6"]
RIVALS = ["best single on train", "best per subset on train", "kNN", "ridge per expert", "SVM"]
RIVALS += ["matrix factorisation", "dual-contrastive head"]
TABLES = {  # slice: groups of its subsets
    "routerdc test": {"mmlu": "knowledge", "arc_challenge": "knowledge", "gsm8k": "maths"},
    "routerdc ood": {"prealgebra": "maths", "mbpp": "code", "ceval": "chinese"},
    "mmlu_pro test": dict.fromkeys(("biology", "computer science", "law"), "knowledge"),
    "llmrouter test": {"alpaca": "other", "commonsense_qa": "other", "natural_qa": "knowledge"},
    "code_tags test": {f"tag group {i}": "code" for i in range(1, 9)},
}
WORDS = ["how", "many", "apples", "does", "a", "function", "return", "sorted", "by", "price"]
HOSTILE = (
    "</script><img src=x onerror=\"alert(1)\"> <b>bold</b> & 'quotes' {{ 7 * 7 }} "
    "\u202etxet desrever\u202c \u0627\u0644\u0633\u0644\u0627\u0645 \x00\x07\x1b[31m $x_1^2$ "
    "\ud800 -->"
)


def around(value: float, wide: float = 0.01) -> Estimate:
    return Estimate(value, value - wide, value + wide)


def over(values: Array) -> Estimate:
    """Mean and a normal 95% interval."""
    return around(float(values.mean()), 1.96 * float(values.std()) / math.sqrt(len(values)))


def gap(value: float, wide: float = 0.01, p: float = 0.5, **subsets: float) -> Gap:
    return Gap(value, value - wide, value + wide, p, p, around(value, wide), subsets)


def example(slices: int = 5, seed: int = 0) -> Report:
    """Report over the first `slices` tables; the second one is bad news for the router."""
    names = list(TABLES)[:slices]
    made = {name: one_slice(name, seed + place) for place, name in enumerate(names)}
    systems = [s for s in made[names[0]].systems if s.role in ("router", "baseline")]
    groups = sorted({group for one in made.values() for group in one.groups.values()})
    ranked = [
        RankedSystem(
            *(s.name, s.role, around(0.62 - 0.008 * i), around(3.2 + 0.5 * i, 0.6)),
            *(around(0.3 / (1 + i), 0.1), dict.fromkeys(groups, 3 + 0.5 * i)),
        )
        for i, s in enumerate(systems)
    ]
    random = np.random.default_rng(seed)

    def settings(*labels: str) -> list[Setting]:
        values = [around(0.6 + 0.004 * random.normal()) for _ in names]
        both = dict(zip(names, [Means(value, value) for value in values], strict=True))
        return [Setting(label, both) for label in labels]

    sizes = (700, 1750, 3500, 7000)
    return Report(
        slices=made,
        ranking=Ranking(sum(len(one.groups) for one in made.values()), 0, names, ranked),
        ablations={
            "beta": settings("0", "0.3", "0.5", "0.7", "1"),
            "labels": settings("soft", "hard"),
            "encoder": [*settings("frozen"), Setting("fine-tuned", {})],
        },
        learning_curve={
            name: [CurvePoint(n, around(0.6 - 0.4 / math.sqrt(n) + 0.01 * i)) for n in sizes]
            for i, name in enumerate(names)
        },
        reward_ranking=[JudgedRanking(names[0], "oasst", "ultra", around(0.58))],
        made={
            "command": "python -m zooter_lite.evaluate --suite recipes/suite/suite.toml",
            "version": "0.1.0",
            "precision": "fp32",
            "routers": {name.split()[0]: name.split()[0] for name in names},
            "seconds": 312.4,
        },
        notes=["split test: 20000 of its 30000 rows are evaluated here"],
    )


def one_slice(name: str = "routerdc test", seed: int = 0) -> SliceReport:
    """Return a slice of simulated rewards; that of `routerdc ood` is bad news."""
    random, groups = np.random.default_rng(seed), TABLES[name]
    sizes = {subset: int(random.integers(60, 700)) for subset in groups}
    subsets = np.repeat(list(sizes), list(sizes.values()))
    skill = random.uniform(0.35, 0.75, (len(sizes), len(EXPERTS)))
    ability = np.repeat(skill, list(sizes.values()), axis=0)
    rewards = (random.random(ability.shape) < ability).astype(float)
    best, rows = int(rewards.mean(axis=0).argmax()), np.arange(len(rewards))
    wide = 0.9 if name == "routerdc ood" else 0.12
    choices = (ability + random.normal(0, wide, ability.shape)).argmax(axis=1)
    earned = {"router": rewards[rows, choices], RIVALS[0]: rewards[:, best]}
    for place, rival in enumerate(RIVALS[1:]):
        guess = ability + random.normal(0, 0.1 + 0.05 * place, ability.shape)
        earned[rival] = rewards[rows, guess.argmax(axis=1)]
    earned |= {f"always {expert}": rewards[:, i] for i, expert in enumerate(EXPERTS)}
    earned |= {"random": rewards.mean(axis=1), "oracle": rewards.max(axis=1)}
    roles: list[Any] = ["router", *["baseline"] * 7, *["single"] * 4, "bound", "bound"]
    systems = []
    for (system, values), role in zip(earned.items(), roles, strict=True):
        means = {s: float(values[subsets == s].mean()) for s in sizes}
        paired = earned["router"] - values
        found = over(paired)
        error = (found.high - found.low) / 3.92
        p = min(1.0, 12 * math.erfc(abs(found.value) / error / math.sqrt(2))) if error else 1.0
        each = {s: float(paired[subsets == s].mean()) for s in sizes}
        own = Gap(found.value, found.low, found.high, p, p, found, each)
        compared = role in ("baseline", "single")
        systems.append(
            SystemResult(system, role, over(values), over(values), means, own if compared else None)
        )
    matrix = np.zeros((len(EXPERTS), len(EXPERTS)))
    ties = rewards == rewards.max(axis=1, keepdims=True)
    np.add.at(matrix.T, choices, ties / ties.sum(axis=1, keepdims=True))
    lost, chosen = rewards.max(axis=1) - earned["router"], earned["router"]
    kept = [round(0.05 * i, 2) for i in range(1, 21)]
    confident = [float(chosen.mean() + 0.12 * (1 - c)) for c in kept]
    single = systems[1].gap
    assert single is not None
    return SliceReport(
        name=name,
        table=name.split()[0],
        split=name.split()[1],
        rows=len(rewards),
        experts=EXPERTS,
        best_expert=EXPERTS[best],
        subset_rows=sizes,
        groups=groups,
        systems=systems,
        verdict=Verdict(single.outcome, single.p_holm, f"The router is {single.outcome}."),
        gap_closed=0.22,
        shares={x: float((choices == i).mean()) for i, x in enumerate(EXPERTS)},
        confusion=Confusion(EXPERTS, matrix / len(rewards)),
        regret=_regret(lost, subsets, random),
        calibration=CalibrationPair(_calibration(0.55, 0.094), _calibration(0.97, 0.018)),
        selective=SelectiveCurve(
            *(kept, confident, [r - 0.02 for r in confident], [r + 0.02 for r in confident]),
            float(chosen.mean()),
        ),
        entropy=EntropyCurve(
            [
                EntropyBin(0.1 * i, 0.1 * i + 0.1, 0.1 * i + 0.05, q, q - 0.03, q + 0.03, 240)
                for i, q in enumerate(np.linspace(0.3, 0.0, 8).tolist())
            ],
            around(-0.41, 0.05),
        ),
        costs=_costs(rewards.mean(axis=0)),
        robustness=[
            Robustness("typos", "5% of the letters", around(0.18), around(0.011), ("a b", "b a")),
            Robustness("frame", "an unrelated sentence", around(0.3), around(0.0), (HOSTILE, "b")),
            Robustness("case", "nothing changed", around(0.0), around(0.0), None),
        ],
    )


def _regret(lost: Array, subsets: NDArray[Any], random: np.random.Generator) -> Regret:
    def part(name: str, values: Array) -> Part:
        return Part(name, len(values), over(values), float(values.sum() / lost.sum()))

    texts = [HOSTILE, "列出五个质数。", "\u0645\u0627 \u0647\u064a \u0639\u0627\u0635\u0645\u0629?"]
    texts += [" ".join(random.choice(WORDS, int(random.integers(6, 400)))) for _ in range(7)]
    return Regret(
        over(lost),
        [part(str(s), lost[subsets == s]) for s in np.unique(subsets)],
        [
            part(f"tag {i}: {word}", lost[random.choice(len(lost), 40)])
            for i, word in enumerate(WORDS)
        ],
        [
            WorstRow(f"q{i}", text, str(subsets[i]), EXPERTS[i % 3], 0.0, EXPERTS[3], 1.0, 1.0, 0.8)
            for i, text in enumerate(texts)
        ],
    )


def _calibration(slope: float, ece: float) -> Calibration:
    bins = []
    for middle in np.linspace(0.18, 0.72, 10).tolist():
        share = 0.45 + slope * (middle - 0.45)
        ends = (share - 0.04, share + 0.04)
        bins.append(ReliabilityBin(middle - 0.03, middle + 0.03, 212, middle, share, *ends))
    return Calibration(around(ece), 0.01, around(0.21), bins)


def _costs(means: Array) -> CostQuality:
    prices = [0.05 * 2**i for i in means.argsort().argsort().tolist()]
    low, high, span = means.min(), means.max(), np.linspace(0, 1, 24)
    systems = []
    for name, role, lift in (("router", "router", 0.04), ("kNN", "baseline", 0.02)):
        line = [
            Point(min(prices) + (max(prices) - min(prices)) * t, low + (high + lift - low) * t**0.3)
            for t in span.tolist()
        ]
        systems.append(CostCurve(name, role, line, line, around(0.5 + lift)))  # type: ignore[arg-type]
    for expert, price, mean in zip(EXPERTS, prices, means.tolist(), strict=True):
        point = [Point(price, mean)]
        systems.append(CostCurve(f"always {expert}", "single", point, point, around(mean)))
    mix = [Point(min(prices), low), Point(max(prices), high)]
    unknown = Estimate(math.nan, math.nan, math.nan)
    return CostQuality(
        *(systems, ["router"], mix, around(0.61, 0.05), {"50": around(0.32), "80": unknown}),
        *(EXPERTS[0], EXPERTS[1], "USD per 1000 queries"),
    )
