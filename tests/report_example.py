"""A report dictionary as the evaluation makes it, from simulated rewards.

Its shape is what `zooter_lite.report.page` reads; its numbers hang together, but the
intervals are normal approximations: nothing here checks a metric.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Json = dict[str, Any]

EXPERTS = ["Mistral-7B-Instruct-v0.2", "zephyr-7b-beta", "MetaMath-Mistral-7B", "dolphin-2.6"]
MORE = ["Chinese-Mistral-7B-v0.1", "dolphin-2.2.1-mistral-7b", "openchat-3.5-0106"]
RIVALS = [
    "best single on train",
    "best per subset on train",
    "kNN (tuned)",
    "logistic regression",
    "MLP on hard labels",
    "ridge per expert",
    "SVM",
    "k-means clusters",
    "matrix factorisation",
    "dual-contrastive head",
]
TABLES: dict[str, dict[str, str]] = {  # slice -> subset -> group
    "routerdc test": {
        "mmlu": "knowledge",
        "arc_challenge": "knowledge",
        "gsm8k": "maths",
        "humaneval": "code",
        "cmmlu": "chinese",
    },
    "routerdc ood": {"prealgebra": "maths", "mbpp": "code", "ceval": "chinese"},
    "mmlu_pro test": dict.fromkeys(
        ("biology", "business", "chemistry", "computer science", "economics", "law"), "knowledge"
    )
    | {"maths": "maths"},
    "llmrouter test": {"alpaca": "other", "commonsense_qa": "other", "natural_qa": "knowledge"},
    "code_tags test": {f"tag group {i}": "code" for i in range(1, 9)},
}
TEXT = "how many of the apples does a function return when its list is sorted by price"
WORDS = TEXT.split()
HOSTILE = (
    "</script><img src=x onerror=\"alert(1)\"> <b>bold</b> & 'quotes' {{ 7 * 7 }} "
    "\u202etxet desrever\u202c \u0627\u0644\u0633\u0644\u0627\u0645 \x00\x07\x1b[31m $x_1^2$ "
    "\ud800 -->"
)


def e(values: Array, scale: float = 1.0) -> Json:
    """Mean and a normal 95% interval."""
    mean, wide = float(values.mean()), 1.96 * float(values.std()) / np.sqrt(len(values))
    return {"value": mean * scale, "low": (mean - wide) * scale, "high": (mean + wide) * scale}


def around(value: float, wide: float) -> Json:
    return {"value": value, "low": value - wide, "high": value + wide}


def example(slices: int = 5, seed: int = 0, costs: bool = True) -> Json:
    """Report over the first `slices` tables; the second one is bad news for the router."""
    names = list(TABLES)[:slices]
    made = [_slice(name, place, seed + place, costs) for place, name in enumerate(names)]
    ranked = [s for s in made[0]["systems"] if s["role"] in ("router", "baseline")]
    random = np.random.default_rng(seed)
    return {
        "format": 1,
        "made": {
            "command": "python -m zooter_lite.evaluate --suite recipes/suite/suite.toml",
            "version": "0.1.0",
            "seed": 0,
            "precision": "fp32",
            "routers": {name.split()[0]: name.split()[0] for name in names},
            "seconds": 312.4,
        },
        "slices": made,
        "ranking": _ranking(made, ranked, random),
        "ablations": _ablations(names, random),
        "learning_curve": {
            name: [
                {"rows": rows, "micro": around(0.6 - 0.4 / np.sqrt(rows) + 0.01 * i, 0.012)}
                for rows in (700, 1750, 3500, 7000)
            ]
            for i, name in enumerate(names)
        },
        "reward_ranking": [
            {"slice": names[0], "judge": "oasst", "picker": "ultra", "micro": around(0.58, 0.02)}
        ],
    }


def _ranking(made: list[Json], ranked: list[Json], random: np.random.Generator) -> Json:
    groups = sorted({group for one in made for group in one["groups"].values()})
    systems = []
    for place, system in enumerate(ranked):
        mean = 3.2 + 0.5 * place
        systems.append(
            {
                "name": system["name"],
                "role": system["role"],
                "average": around(0.62 - 0.008 * place, 0.011),
                "mtr": around(mean, 0.6),
                "uplift": {"value": 0.3 / (1 + place), "low": 0.1 / (1 + place), "high": 0.45},
                "groups": {g: float(np.clip(mean + random.normal(), 1, 11)) for g in groups},
            }
        )
    subsets = sum(len(one["subset_rows"]) for one in made)
    return {"subsets": subsets, "slices": [one["name"] for one in made], "systems": systems}


def _ablations(names: list[str], random: np.random.Generator) -> Json:
    def rows(labels: list[str]) -> list[Json]:
        return [
            {
                "label": label,
                "values": {
                    name: {
                        "micro": around(0.6 + 0.004 * random.normal(), 0.011),
                        "macro": around(0.58 + 0.004 * random.normal(), 0.013),
                    }
                    for name in names
                },
            }
            for label in labels
        ]

    return {
        "beta": rows(["0", "0.1", "0.3", "0.5", "0.7", "0.9", "1"]),
        "labels": rows(["soft", "hard"]),
        "kl": rows(["label-router", "router-label"]),
        "encoder": [*rows(["frozen"]), {"label": "fine-tuned", "values": {}}],
    }


def _slice(name: str, place: int, seed: int, costs: bool) -> Json:
    random = np.random.default_rng(seed)
    experts = EXPERTS + (MORE if place in (0, 3) else [])
    groups = TABLES[name]
    sizes = {subset: int(random.integers(60, 700)) for subset in groups}
    subsets = np.repeat(list(sizes), list(sizes.values()))
    skill = random.uniform(0.35, 0.75, (len(sizes), len(experts)))
    ability = skill[np.repeat(np.arange(len(sizes)), list(sizes.values()))]
    rewards = (random.random(ability.shape) < ability).astype(float)
    noise = 0.9 if place == 1 else 0.12
    guess = ability + random.normal(0, noise, ability.shape)
    choices = guess.argmax(axis=1)
    best = int(rewards.mean(axis=0).argmax())
    earned = _earned(rewards, ability, choices, best, random)
    roles = ["router", *["baseline"] * len(RIVALS), *["single"] * len(experts), "bound", "bound"]
    systems = []
    for (label, values), role in zip(earned.items(), roles, strict=True):
        gap = e(earned["router"] - values) if role not in ("router", "bound") else None
        means = {s: float(values[subsets == s].mean()) for s in sizes}
        if gap is not None:
            error = (gap["high"] - gap["low"]) / 3.92
            p = math.erfc(abs(gap["value"]) / error / math.sqrt(2)) if error else 1.0
            gap |= {"p": p, "p_holm": min(1.0, 12 * p)}
        macro = around(float(np.mean(list(means.values()))), 0.014)
        systems.append(
            {"name": label, "role": role, "micro": e(values), "macro": macro, "subsets": means}
            | {"gap": gap, "unobserved": 7 if place == 3 and role == "router" else 0}
        )
    chosen = earned["router"]
    low, high = earned["random"].mean(), earned["oracle"].mean()
    matrix = np.zeros((len(experts), len(experts)))
    ties = rewards == rewards.max(axis=1, keepdims=True)
    np.add.at(matrix.T, choices, ties / ties.sum(axis=1, keepdims=True))
    regrets = rewards.max(axis=1) - chosen
    lead = float((earned["router"] - earned[RIVALS[0]]).mean())
    return {
        "name": name,
        "table": name.split()[0],
        "split": name.split()[1],
        "rows": len(rewards),
        "experts": experts,
        "best_single": experts[best],
        "subset_rows": sizes,
        "groups": groups,
        "systems": systems,
        "verdict": f"By the mean over the queries of {name}, the router is at {100 * lead:+.2f} "
        f"points from the best single expert ({experts[best]}).",
        "gap_closed": float((chosen.mean() - low) / (high - low)),
        "shares": {x: float((choices == i).mean()) for i, x in enumerate(experts)},
        "confusion": {"experts": experts, "matrix": (matrix / len(rewards)).tolist()},
        "regret": _regret(regrets, subsets, experts, random),
        "calibration": _calibration(random),
        "selective": _selective(chosen, random),
        "entropy": _entropy(),
        "costs": _costs(experts, rewards, random) if costs and place in (0, 3) else None,
        "robustness": _robustness() if place != 4 else None,
    }


def _earned(
    rewards: Array, ability: Array, choices: NDArray[np.intp], best: int, random: Any
) -> dict[str, Array]:
    rows = np.arange(len(rewards))
    earned = {"router": rewards[rows, choices], RIVALS[0]: rewards[:, best]}
    for place, name in enumerate(RIVALS[1:]):
        guess = ability + random.normal(0, 0.1 + 0.05 * place, ability.shape)
        earned[name] = rewards[rows, guess.argmax(axis=1)]
    names = EXPERTS + MORE
    earned |= {f"always {names[i]}": rewards[:, i] for i in range(rewards.shape[1])}
    return earned | {"random": rewards.mean(axis=1), "oracle": rewards.max(axis=1)}


def _regret(regrets: Array, subsets: Any, experts: list[str], random: Any) -> Json:
    def part(name: str, values: Array) -> Json:
        share = float(values.sum() / regrets.sum())
        return {"name": name, "rows": len(values), "regret": e(values), "share": share}

    texts = [HOSTILE, "列出五个质数。", "\u0645\u0627 \u0647\u064a \u0639\u0627\u0635\u0645\u0629?"]
    texts += [" ".join(random.choice(WORDS, int(random.integers(6, 400)))) for _ in range(17)]
    return {
        "mean": e(regrets),
        "by_subset": [part(str(s), regrets[subsets == s]) for s in np.unique(subsets)],
        "by_tag": [
            part(f"tag {i}: {WORDS[i]}", regrets[random.choice(len(regrets), 40)])
            for i in range(15)
        ],
        "worst": [
            {
                "query_id": f"q{i}",
                "query": text,
                "subset": str(subsets[i]),
                "chosen": experts[i % 3],
                "chosen_reward": 0.0,
                "best": experts[3],
                "best_reward": 1.0,
                "regret": 1.0,
                "probability": 0.9 - 0.02 * i,
            }
            for i, text in enumerate(texts)
        ],
    }


def _calibration(random: Any) -> Json:
    def one(slope: float, ece: float) -> Json:
        bins = []
        for i in range(10):
            middle = 0.18 + 0.06 * i
            accuracy = 0.45 + slope * (middle - 0.45) + 0.015 * random.normal()
            low, high = accuracy - 0.04, accuracy + 0.04
            bins.append(
                {"low": middle - 0.03, "high": middle + 0.03, "count": 212}
                | {"confidence": middle, "accuracy": accuracy}
                | {"accuracy_low": low, "accuracy_high": high}
            )
        return {"ece": around(ece, 0.009), "brier": around(0.21 + ece / 4, 0.006), "bins": bins}

    return {"before": one(0.55, 0.094), "after": one(0.97, 0.018)}


def _selective(chosen: Array, random: Any) -> Json:
    coverage = [round(0.05 * i, 2) for i in range(1, 21)]
    reward = [float(chosen.mean() + 0.12 * (1 - c) + 0.004 * random.normal()) for c in coverage]
    reward[-1] = float(chosen.mean())
    wide = [0.012 / np.sqrt(c) for c in coverage]
    return {
        "coverage": coverage,
        "reward": reward,
        "low": [r - w for r, w in zip(reward, wide, strict=True)],
        "high": [r + w for r, w in zip(reward, wide, strict=True)],
        "overall": reward[-1],
    }


def _entropy() -> Json:
    bins = [
        {"low": 1.2 + 0.07 * i, "high": 1.27 + 0.07 * i, "entropy": 1.235 + 0.07 * i}
        | {"quality": 0.3 - 0.03 * i, "quality_low": 0.27 - 0.03 * i}
        | {"quality_high": 0.33 - 0.03 * i, "count": 240}
        for i in range(10)
    ]
    return {"bins": bins, "spearman": around(-0.41, 0.05)}


def _costs(experts: list[str], rewards: Array, random: Any) -> Json:
    means = rewards.mean(axis=0)
    prices = [0.05 * 2**i for i in means.argsort().argsort().tolist()]
    cheap, dear, low, high = min(prices), max(prices), means.min(), means.max()
    singles: list[Json] = [
        {"name": f"always {x}", "role": "single", "points": [{"cost": c, "reward": float(m)}]}
        | {"hull": [{"cost": c, "reward": float(m)}], "aiq": around(float(m), 0.01)}
        for x, c, m in zip(experts, prices, means, strict=True)
    ]
    curves: list[Json] = []
    for name, lift in (("router", 0.04), ("kNN (tuned)", 0.02), ("ridge per expert", 0.01)):
        points = [
            {"cost": c, "reward": float(low + (high + lift - low) * t**0.3 + bump)}
            for t, bump in zip(np.linspace(0, 1, 24), 0.004 * random.normal(size=24), strict=True)
            for c in [cheap + (dear - cheap) * t]
        ]
        top = np.maximum.accumulate([p["reward"] for p in points])
        hull = [{"cost": p["cost"], "reward": float(r)} for p, r in zip(points, top, strict=True)]
        curves.append(
            {"name": name, "role": "router" if name == "router" else "baseline"}
            | {"points": points, "hull": hull, "aiq": around(0.5 + lift, 0.012)}
        )
    return {
        "systems": curves + singles,
        "frontier": ["router", singles[int(means.argmin())]["name"]],
        "random_mix": [
            {"cost": cheap, "reward": float(low)},
            {"cost": dear, "reward": float(high)},
        ],
        "apgr": around(0.61, 0.05),
        "cpt": {"50": around(0.32, 0.06), "80": {"value": None, "low": None, "high": None}},
        "weak": experts[int(means.argmin())],
        "strong": experts[int(means.argmax())],
        "unit": "USD per 1000 queries",
    }


def _robustness() -> list[Json]:
    return [
        {"name": name, "description": text, "flips": around(flips, 0.01)}
        | {"lost": around(lost, 0.008), "example": [before, after]}
        for name, text, flips, lost, before, after in (
            (
                "upper case",
                "every letter a capital",
                0.02,
                0.001,
                "What is 2 + 2?",
                "WHAT IS 2 + 2?",
            ),
            ("typos", "5% of the letters", 0.18, 0.011, "How many apples?", "How mnay aples?"),
            ("politeness", "a frame around the prompt", 0.09, -0.002, "List it", "Please, list it"),
            ("confounder after", "an unrelated sentence", 0.31, 0.024, HOSTILE, HOSTILE + " Rain."),
        )
    ]
