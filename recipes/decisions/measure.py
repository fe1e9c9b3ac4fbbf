"""What decisions earn and cost on the real tables: points, budgets, guard, doubt.

`python -m recipes.decisions.measure FOLDER` writes recipes/decisions/results.md. Routers are
fitted on train with default settings; figures are of the test split, x100, paired with always
asking the best single expert of train, ± one standard error. The last table chooses the rule
of `match` and `economy`, on train alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.compare.baselines import usual_systems
from zooter_lite.compare.rivals import ridge
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.estimate import learn_estimates
from zooter_lite.head.fit_head import Fitted, fit_head
from zooter_lite.head.operating import operating_points
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.measure.costs import cost_quality
from zooter_lite.measure.metrics import draw, reward_of
from zooter_lite.measure.system import KNN, RIDGE, THRESHOLD, TrainedOn
from zooter_lite.recipe import Recipe
from zooter_lite.router.budget import within_budget
from zooter_lite.router.decision import Predictions, choose
from zooter_lite.router.directory.config import Point
from zooter_lite.table import RewardTable

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
OUT = Path(__file__).parent / "results.md"
TABLES = ("routerdc", "mmlu_pro", "llmrouter", "code_tags", "bfcl", "zeroeval")
WITH_COSTS = ("bfcl", "zeroeval")
BUDGETS = (0.9, 0.6, 0.4, 0.2, 0.1)  # of the best single expert's mean cost on train
GROUPS = 5  # of subsets, left out of train in turn
FLAGGED = (0.05, 0.1, 0.2)  # shares of the training rows that a threshold would flag
SPLITS = 20  # of train in 70% and 30%, for the rule
RULES = {"match": (0.0, 0.0025, 0.005, 0.01), "economy": (0.01, 0.015, 0.02)}
HEADS = {
    "Operating points": (
        "Gain over the best single expert: out of fold on train, and on test.",
        "| table | point | how | out of fold | test | share of its cost |",
    ),
    "Budgets": (
        "Asked as a share of the best single expert's cost; met on the expected costs of the "
        "test prompts, which needs no reward and no real cost.",
        "| table | asked | per 1,000 prompts | reached of it | gain |",
    ),
    "Selective routing": (
        "Reward of all choices, and of the half with the highest expected reward or probability.",
        "| table | all | by expected reward | by probability | difference |",
    ),
    "AIQ": (
        "Mean height of the hull of reward over cost, x100; the router's minus each rival's, on "
        "the same embeddings.",
        "| table | router | minus kNN | minus ridge | minus threshold |",
    ),
    "Doubt": (
        "Train alone: subsets are left out, and prompts of theirs beyond a threshold go to the "
        "best single expert. The threshold would flag a share of the rows that were fitted on.",
        "| table | rule | flagged of fitted | of left out | gain on flagged | gain on all |",
    ),
    "What the points may give up": (
        "Train alone, divided in two at random: points are found on 70% and judged on the rest. "
        "The last column counts splits that lose more than 0.5 (match) or 2 points (economy) "
        "beyond 1.65 standard errors.",
        "| table | point | may give up | gain | worst | share of cost | lost more |",
    ),
}


class Bench:
    """A table with its embeddings and numbers of tokens."""

    def __init__(self, folder: str, name: str) -> None:
        self.table = RewardTable.read(f"{folder}/{name}.parquet", responses=False)
        encoder = load_encoder(DEFAULT, default_cache())
        self.embeddings = encoder.embed(self.table.queries, default_cache())
        self.tokens = encoder.session().tokens.lengths(self.table.queries)
        self.train, self.test = self.table.rows("train"), self.table.rows("test")

    def fitted(self, rows: Rows) -> Fitted:
        """Fit on these rows with default settings."""
        part = self.table.take(rows)
        return fit_head(part, self.embeddings[rows], Recipe(), tokens=self.tokens[rows])

    def judged(self, fitted: Fitted, inside: Rows, rows: Rows) -> Judged:
        """Predict other rows than those that were fitted on."""
        inputs = self.embeddings[rows].astype(np.float64)
        predicted = fitted.head.predict(inputs, self.tokens[rows])
        single = int(self.table.rewards[inside].mean(axis=0).argmax())
        return Judged(self.table.take(rows), predicted, single)


@dataclass(frozen=True)
class Judged:
    """Rows, what a router predicts of them, and the best single expert of its training rows."""

    table: RewardTable
    predicted: Predictions
    single: int

    def choices(self, point: Point) -> NDArray[np.intp]:
        """(n,) experts chosen at a point."""
        return choose(self.predicted, point, self.table.experts).experts

    def gain(self, choices: NDArray[np.intp]) -> Array:
        """(n,) reward of the choices minus that of the best single expert."""
        rewards = self.table.rewards.astype(np.float64)
        return reward_of(choices, rewards) - rewards[:, self.single]

    def cost(self, choices: NDArray[np.intp]) -> float:
        """Mean cost of the choices; NaN without costs."""
        costs = self.table.costs
        return float("nan") if costs is None else float(reward_of(choices, costs).mean())

    def share(self, choices: NDArray[np.intp]) -> float:
        """Mean cost of the choices over that of the best single expert."""
        return self.cost(choices) / self.cost(np.full(len(choices), self.single))


def points(values: Array) -> str:
    """Write a mean x100 and its standard error."""
    error = values.std() / np.sqrt(max(len(values), 1))
    return f"{100 * values.mean():+.2f} ± {100 * error:.2f}" if len(values) else "-"


def short(value: float) -> str:
    """Write a share, or a dash where it is not known."""
    return "-" if np.isnan(value) else f"{value:.0%}"


def operating_lines(name: str, fitted: Fitted, judged: Judged) -> list[str]:
    """One line for each operating point: out of fold, and on test."""
    lines = []
    decided = fitted.decisions
    for point in decided.points:
        chosen = judged.choices(point)
        mark = " (recommended)" if point.name == decided.recommended else ""
        expected = f"{100 * (point.gain or 0):+.2f} ± {100 * (point.gain_error or 0):.2f}"
        how = f"always {point.expert}" if point.expert else f"{point.cost_weight:.4g}"
        lines.append(
            f"| {name} | {point.name}{mark} | {how} | {expected} | {points(judged.gain(chosen))} "
            f"| {short(judged.share(chosen))} |"
        )
    return lines


def budget_lines(name: str, fitted: Fitted, judged: Judged, single_cost: float) -> list[str]:
    """One line for each budget: what was asked, and what the choices cost and earn."""
    lines = []
    for share in BUDGETS:
        budget = share * single_cost
        point = within_budget(judged.predicted, budget, fitted.decisions.curve)
        chosen = judged.choices(point)
        reached = judged.cost(chosen) / budget
        gain = points(judged.gain(chosen))
        lines.append(f"| {name} | {share:.0%} | {1000 * budget:.4g} | {reached:.1%} | {gain} |")
    return lines


def selective_line(name: str, judged: Judged) -> str:
    """One line on the half of the prompts with the highest expected reward, and probability."""
    rows, chosen = np.arange(len(judged.table)), judged.choices(Point("quality"))
    earned = judged.table.rewards[rows, chosen].astype(np.float64)
    halves = []
    for values in (judged.predicted.rewards, judged.predicted.probs):
        own = np.zeros(len(rows)) if values is None else values[rows, chosen]
        halves.append(np.argsort(-own, kind="stable")[: len(rows) // 2])
    counts = [np.bincount(half, minlength=len(rows)) * len(rows) / len(half) for half in halves]
    apart = (counts[0] - counts[1]) * earned
    means = [f"{100 * earned[half].mean():.1f}" for half in halves]
    return f"| {name} | {100 * earned.mean():.1f} | {means[0]} | {means[1]} | {points(apart)} |"


def aiq_line(name: str, bench: Bench, judged: Judged) -> str:
    """One line on the average improvement in quality beside rivals on the same embeddings."""
    train = bench.table.take(bench.train)
    own, other = bench.embeddings[bench.train], bench.embeddings[bench.test]
    known = TrainedOn(train.rewards.mean(axis=0, dtype=np.float64), train, own)
    inputs = (own.astype(np.float64), train.rewards.astype(np.float64), other.astype(np.float64))
    rival = {RIDGE: ridge(*inputs, 1.0)}
    systems = usual_systems(judged.table, judged.predicted, other, known, rival)
    found = cost_quality(systems, judged.table, known, draw(judged.table.subsets, 0))
    cells = []
    for system in found.systems if found else []:
        if system.role == "router":
            cells.append(f"{100 * system.aiq.value:.2f}")
    for wanted in (KNN, RIDGE, THRESHOLD):
        for system in found.systems if found else []:
            if system.name == wanted and system.aiq_gap:
                gap = system.aiq_gap
                cells.append(f"{100 * gap.value:+.2f} [{100 * gap.low:.2f}, {100 * gap.high:.2f}]")
    return f"| {name} | {' | '.join(cells)} |"


def doubt_lines(name: str, bench: Bench) -> list[str]:
    """Lines on sending doubtful prompts to the best single expert, subsets of train left out."""
    subsets = np.asarray(bench.table.subsets)[bench.train]
    names = np.unique(subsets)
    if len(names) < 3:
        return []
    groups = np.random.default_rng(0).permutation(len(names)) % min(GROUPS, len(names))
    gains: dict[tuple[str, float], list[Array]] = {}
    for group in np.unique(groups):
        out = np.isin(subsets, names[groups == group])
        inside, rows = bench.train[~out], bench.train[out]
        fitted = bench.fitted(inside)
        known = bench.judged(fitted, inside, inside).predicted
        judged = bench.judged(fitted, inside, rows)
        chosen = judged.choices(Point("quality"))
        gain = judged.gain(chosen)
        row, seen = np.arange(len(rows)), np.arange(len(inside))
        best = known.probs.argmax(axis=1)
        signals = {
            "min reward": (known.rewards, judged.predicted.rewards),
            "min probability": (known.probs, judged.predicted.probs),
        }
        for label, (before, now) in signals.items():
            if before is None or now is None:
                continue
            for share in FLAGGED:
                low = now[row, chosen] < np.quantile(before[seen, best], share)
                gains.setdefault((label, share), []).append(-gain[low])
        if judged.predicted.novelty is not None:
            for share in FLAGGED:
                odd = judged.predicted.novelty > 1 - share
                gains.setdefault(("max novelty", share), []).append(-gain[odd])
    total = len(bench.train)
    lines = []
    for (label, share), parts in gains.items():
        flagged = np.concatenate(parts)
        whole = np.concatenate([flagged, np.zeros(total - len(flagged))])
        lines.append(
            f"| {name} | {label} | {share:.0%} | {len(flagged) / total:.0%} | {points(flagged)} "
            f"| {points(whole)} |"
        )
    return lines


def rule_lines(name: str, bench: Bench) -> list[str]:
    """Lines on how much `match` and `economy` may give up, by splits of train in two."""
    gains: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(bench.train)
        cut = int(0.7 * len(order))
        inside, rows = np.sort(order[:cut]), np.sort(order[cut:])
        fitted, part = bench.fitted(inside), bench.table.take(inside)
        costs, selection = part.costs, fitted.selection
        inputs = bench.embeddings[inside].astype(np.float64)
        found = learn_estimates(inputs, selection, fitted.tagging, costs, bench.tokens[inside])
        given = (found.rewards, found.costs, selection.rewards, costs, part.experts)
        judged = bench.judged(fitted, inside, rows)
        for place, (rule, amounts) in enumerate(RULES.items(), start=1):
            for amount in amounts:
                decided = operating_points(*given, give=amount, allow=amount)
                chosen = judged.choices(decided.points[place])
                gain = judged.gain(chosen)
                error = float(gain.std() / np.sqrt(len(gain)))
                own = (float(gain.mean()), error, judged.share(chosen))
                gains.setdefault((rule, amount), []).append(own)
    lines = []
    for (rule, amount), values in gains.items():
        mean, error, share = np.asarray(values).T
        limit = 0.005 if rule == "match" else 0.02
        worse = int((mean + 1.65 * error < -limit).sum())
        lines.append(
            f"| {name} | {rule} | {100 * amount:g} | {100 * mean.mean():+.2f} "
            f"| {100 * mean.min():+.2f} | {share.mean():.0%} | {worse} of {SPLITS} |"
        )
    return lines


def main(folder: str) -> None:
    """Measure, and write the tables."""
    sections: dict[str, list[str]] = {title: [] for title in HEADS}
    for name in TABLES:
        bench = Bench(folder, name)
        fitted = bench.fitted(bench.train)
        judged = bench.judged(fitted, bench.train, bench.test)
        added = {"Operating points": operating_lines(name, fitted, judged)}
        added["Selective routing"] = [selective_line(name, judged)]
        added["Doubt"] = doubt_lines(name, bench)
        if name in WITH_COSTS:
            train = bench.table.take(bench.train)
            single = (
                float(observed_mean(train.costs)[judged.single]) if train.costs is not None else 0
            )
            added["Budgets"] = budget_lines(name, fitted, judged, single)
            added["AIQ"] = [aiq_line(name, bench, judged)]
            added["What the points may give up"] = rule_lines(name, bench)
        for title, lines in added.items():
            sections[title] += lines
            print(title, *lines, sep="\n", flush=True)
    text = ["# What decisions earn and cost", "", "Written by `recipes/decisions/run.sh`."]
    for title, (words, head) in HEADS.items():
        rule = "|---" * (head.count("|") - 1) + "|"
        text += ["", f"## {title}", "", words, "", head, rule, *sections[title]]
    OUT.write_text("\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
