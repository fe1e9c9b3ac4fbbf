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
from zooter_lite.report.readable import markdown_table, with_interval

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
    return "\n".join(lines)


def _interval(estimate: Json, scale: float = 100) -> str:
    ends = (estimate[end] for end in ("value", "low", "high"))
    return with_interval(Estimate(*(math.nan if end is None else end for end in ends)), scale)


def _ranking(ranking: Json) -> list[str]:
    rows = [
        [s["name"], _interval(s["average"]), _interval(s["mtr"], 1), _interval(s["uplift"])]
        for s in ranking["systems"]
    ]
    head = ["system", "average", "MTR", "uplift x100"]
    text = f"## Over all {ranking['subsets']} subsets of {', '.join(ranking['slices'])}"
    return [text, "", *markdown_table(head, rows), ""]


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
    lines = [f"## {one['name']}, {one['rows']:,} queries", "", one["verdict"]["text"], ""]
    lines += markdown_table(["system", "micro", "macro", "router minus it", "p (Holm)"], rows)
    ece = _interval(one["calibration"]["ece"])
    lines += ["", f"Expected calibration error x100: {ece}.", ""]
    return lines


if __name__ == "__main__":
    main(sys.argv[1])
