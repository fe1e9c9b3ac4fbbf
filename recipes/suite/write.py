"""Write recipes/suite/results.md from the JSON of an evaluation.

`python -m recipes.suite.write exports/suite.json`; figures are mean rewards x100.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.system import BEST_SINGLE
from zooter_lite.report.readable import in_columns

Json = dict[str, Any]

OUT = Path(__file__).parent / "results.md"


def main(path: str) -> None:
    """Read the report, write the tables."""
    report = json.loads(Path(path).read_text("utf-8"))
    OUT.write_text(results(report), "utf-8")
    print(f"written: {OUT}")


def results(report: Json) -> str:
    """Return the tables as Markdown."""
    made = report["made"]
    lines = [
        "# Measured",
        "",
        f"`{made['command']}`, version {made['version']}, precision {made['precision']}, "
        f"{made['seconds']:.0f} s.",
        "",
        *_ranking(report["ranking"]),
    ]
    for one in report["slices"]:
        lines += _slice(one)
    for name, rows in (report["ablations"] or {}).items():
        lines += _ablation(name, rows, [one["name"] for one in report["slices"]])
    lines += _curve(report["learning_curve"] or {})
    return "\n".join(lines)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return [lines[0], "|---" * len(head) + "|", *lines[1:], ""]


def _interval(estimate: Json, scale: float = 100) -> str:
    ends = (estimate[end] for end in ("value", "low", "high"))
    return in_columns(Estimate(*(math.nan if end is None else end for end in ends)), scale).strip()


def _ranking(ranking: Json) -> list[str]:
    groups = sorted({group for system in ranking["systems"] for group in system["groups"]})
    rows = []
    for system in ranking["systems"]:
        ranks = [system["groups"].get(group) for group in groups]
        rows.append(
            [
                system["name"],
                _interval(system["average"]),
                _interval(system["mtr"], 1),
                _interval(system["uplift"]),
                *["-" if rank is None else f"{rank:.1f}" for rank in ranks],
            ]
        )
    head = ["system", "average", "MTR", "uplift x100", *[f"MTR, {group}" for group in groups]]
    text = f"## Over all {ranking['subsets']} subsets of {', '.join(ranking['slices'])}"
    return [text, "", *_table(head, rows)]


def _slice(one: Json) -> list[str]:
    rows = []
    for system in one["systems"]:
        gap = system["gap"]
        holm = None if gap is None else gap["p_holm"]
        cells = [_interval(system["micro"]), _interval(system["macro"])]
        cells += ["-" if gap is None else _interval(gap)]
        cells += ["-" if holm is None else f"{holm:.3f}"]
        best = f" ({one['best_single']})" if system["name"] == BEST_SINGLE else ""
        rows.append([system["name"] + best, *cells])
    ece = {when: _interval(one["calibration"][when]["ece"]) for when in ("before", "after")}
    lines = [f"## {one['name']}, {one['rows']:,} queries", "", one["verdict"]["text"], ""]
    lines += _table(["system", "micro", "macro", "router minus it", "p (Holm)"], rows)
    lines += [f"Expected calibration error x100: {ece['before']} before, {ece['after']} after.", ""]
    if one["robustness"]:
        noise = [
            [row["name"], _interval(row["flips"]), _interval(row["lost"])]
            for row in one["robustness"]
        ]
        lines += _table(["noise in the prompt", "decisions changed x100", "reward lost"], noise)
    return lines


def _ablation(name: str, rows: list[Json], slices: list[str]) -> list[str]:
    cells = [
        [
            row["label"],
            *[
                " / ".join(_interval(row["values"][one][mean]) for mean in ("micro", "macro"))
                if one in row["values"]
                else "-"
                for one in slices
            ],
        ]
        for row in rows
    ]
    return [f"## Ablation: {name} (micro / macro)", "", *_table([name, *slices], cells)]


def _curve(curves: Json) -> list[str]:
    if not curves:
        return []
    rows = [
        [name, f"{point['rows']:,}", _interval(point["micro"])]
        for name, points in curves.items()
        for point in points
    ]
    return ["## Learning curve", "", *_table(["slice", "training rows", "micro"], rows)]


if __name__ == "__main__":
    main(sys.argv[1])
