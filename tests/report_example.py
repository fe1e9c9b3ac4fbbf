"""A report of made-up numbers, with everything that an evaluation may hold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from zooter_lite.measure.calibration import Calibration
from zooter_lite.measure.costs import CostCurve, CostQuality, Point
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.ranks import RankedSystem, Ranking
from zooter_lite.measure.regret import Part, Regret, WorstRow
from zooter_lite.measure.results import Report, SliceReport, SystemResult, Verdict
from zooter_lite.measure.significance import Gap
from zooter_lite.measure.system import Role

EXPERTS = ["Mistral-7B-Instruct-v0.2", "zephyr-7b-beta", "MetaMath-Mistral-7B", "dolphin-2.6"]
RIVALS = ["best single on train", "best per subset on train", "kNN", "ridge per expert", "SVM"]
RIVALS += ["matrix factorisation"]
TABLES = {  # slice: its subsets
    "routerdc test": ["mmlu", "arc_challenge", "gsm8k"],
    "routerdc ood": ["prealgebra", "mbpp", "ceval"],
    "code_tags test": [f"tag group {i}" for i in range(1, 9)],
}
WORDS = ["how", "many", "apples", "does", "a", "function", "return", "sorted", "by", "price"]
HOSTILE = (
    "</script><img src=x onerror=\"alert(1)\"> <b>bold</b> & 'quotes' {{ 7 * 7 }} "
    "\u202etxet desrever\u202c \u0627\u0644\u0633\u0644\u0627\u0645 \x00\x07\x1b[31m $x_1^2$ "
    "\ud800 -->"
)


def around(value: float, wide: float = 0.01) -> Estimate:
    return Estimate(value, value - wide, value + wide)


def gap(value: float, wide: float = 0.01, p: float = 0.5, **subsets: float) -> Gap:
    return Gap(value, value - wide, value + wide, p, p, around(value, wide), subsets)


def example(slices: int, seed: int = 0) -> Report:
    """Report over the first `slices` tables; the second one is bad news for the router."""
    names = list(TABLES)[:slices]
    made = {name: one_slice(name, seed + place) for place, name in enumerate(names)}
    systems = [s for s in made[names[0]].systems if s.role in ("router", "baseline")]
    ranked = [
        RankedSystem(
            *(s.name, s.role, around(0.62 - 0.008 * i), around(3.2 + 0.5 * i, 0.6)),
            around(0.3 / (1 + i), 0.1),
        )
        for i, s in enumerate(systems)
    ]
    return Report(
        slices=made,
        ranking=Ranking(sum(len(one.subset_rows) for one in made.values()), names, ranked),
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
    """Return a slice; that of `routerdc ood` is bad news."""
    random, subsets = np.random.default_rng(seed), TABLES[name]
    earned = 0.5 if name == "routerdc ood" else 0.65
    singles = [f"always {expert}" for expert in EXPERTS]
    systems = [SystemResult("router", "router", around(earned), around(earned), {})]
    systems += [_system(rival, "baseline", random, earned) for rival in RIVALS]
    systems += [_system(single, "single", random, earned) for single in singles]
    systems += [SystemResult("oracle", "bound", around(0.9), around(0.9), {})]
    systems = [replace(s, subsets=dict.fromkeys(subsets, s.micro.value)) for s in systems]
    systems = [
        replace(s, gap=replace(s.gap, subsets=dict.fromkeys(subsets, s.gap.value))) if s.gap else s
        for s in systems
    ]
    single = systems[1].gap
    assert single is not None
    texts = [HOSTILE, "列出五个质数。", "\u0645\u0627 \u0647\u064a \u0639\u0627\u0635\u0645\u0629?"]
    texts += [" ".join(random.choice(WORDS, int(random.integers(6, 400)))) for _ in range(7)]
    return SliceReport(
        name=name,
        table=name.split()[0],
        split=name.split()[1],
        rows=1947,
        experts=EXPERTS,
        best_expert=EXPERTS[1],
        subset_rows={subset: int(random.integers(60, 700)) for subset in subsets},
        systems=systems,
        verdict=Verdict(single.outcome, single.p_holm, f"The router is {single.outcome}."),
        gap_closed=0.22,
        shares=dict(zip(EXPERTS, (0.4, 0.3, 0.2, 0.1), strict=True)),
        best_shares=dict(zip(EXPERTS, (0.1, 0.2, 0.3, 0.4), strict=True)),
        regret=Regret(
            around(0.2),
            [Part(subset, around(0.2), 0.5) for subset in subsets],
            [
                WorstRow(f"q{i}", text, "mmlu", EXPERTS[i % 3], 0.0, EXPERTS[3], 1.0, 1.0, 0.8)
                for i, text in enumerate(texts)
            ],
        ),
        calibration={
            "before": Calibration(around(0.094), around(0.23)),
            "after": Calibration(around(0.018), around(0.21)),
        },
        costs=_costs(),
    )


def _system(name: str, role: Role, random: np.random.Generator, router: float) -> SystemResult:
    value = random.uniform(0.4, 0.7)
    lead = router - value
    return SystemResult(
        name, role, around(value), around(value), {}, gap(lead, p=0.01 if abs(lead) > 0.03 else 0.5)
    )


def _costs() -> CostQuality:
    def curve(name: str, role: Role, lift: float) -> CostCurve:
        points = [Point(0.1 * i, 0.4 + lift + 0.1 * math.sqrt(i)) for i in range(12)]
        return CostCurve(name, role, points[-1], points, around(0.5 + lift))

    systems = [curve("router", "router", 0.04), curve("kNN", "baseline", 0.02)]
    for i, expert in enumerate(EXPERTS):
        point = Point(0.3 * i, 0.4 + 0.05 * i)
        systems.append(CostCurve(f"always {expert}", "single", point, [point], around(0.5)))
    mix = [Point(0.0, 0.4), Point(0.9, 0.55)]
    return CostQuality(systems, mix)
