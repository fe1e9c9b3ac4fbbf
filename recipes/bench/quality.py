"""Write the results table from the reports that quality.sh left in a folder.

`python -m recipes.bench.quality exports` writes recipes/bench/quality.md and the same
table between the markers in README.md.
"""

import json
import sys
from pathlib import Path
from typing import Any

from zooter_lite.report.readable import p_value

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- quality: written by recipes/bench/quality.sh -->", "<!-- /quality -->"
ROWS = (
    ("routerdc, in-distribution", "bench-routerdc/report.json", "test", "macro"),
    ("routerdc, in-distribution", "bench-routerdc/report.json", "test", "micro"),
    ("routerdc, three OOD sets", "bench-routerdc-ood.json", "ood", "macro"),
    ("mmlu_pro", "bench-mmlu_pro/report.json", "test", "micro"),
    ("llmrouter", "bench-llmrouter/report.json", "test", "micro"),
    ("code_tags", "bench-code_tags/report.json", "test", "micro"),
    ("bfcl", "bench-bfcl/report.json", "test", "micro"),
    ("zeroeval", "bench-zeroeval/report.json", "test", "micro"),
)
COLUMNS = ("router", "best single", "best per subset", "kNN", "random", "oracle")


def main(folder: str) -> None:
    """Read the reports under `folder`, write the table."""
    lines = [
        "| table, mean | queries | zooter-lite | best single expert | best expert per subset "
        "| kNN | random | oracle | best single in hindsight | gain over best single |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for label, file, split, mean in ROWS:
        report = json.loads((Path(folder) / file).read_text("utf-8"))
        one = next(s for s in report["slices"] if s["split"] == split)
        lines.append(_line(f"{label}, {mean}", one, mean))
    table = "\n".join(lines)
    (ROOT / "recipes/bench/quality.md").write_text(table + "\n", "utf-8")
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")
    print(table)


def _line(label: str, one: dict[str, Any], mean: str) -> str:
    cells = []
    for column in COLUMNS:
        system = next(s for s in one["systems"] if s["name"].startswith(column))
        estimate = system[mean]
        cell = f"{100 * estimate['value']:.2f}"
        if column == "router":
            cell = f"**{cell}** [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"
        cells.append(cell)
    singles = [s[mean]["value"] for s in one["systems"] if s["role"] == "single"]
    cells.append(f"{100 * max(singles):.2f}")
    return f"| {label} | {one['rows']:,} | {' | '.join(cells)} | {_gain(one, mean)} |"


def _gain(one: dict[str, Any], mean: str) -> str:
    """Say whether the router gains over the best single expert, by the paired difference."""
    gap = next(s["gap"] for s in one["systems"] if s["name"].startswith("best single"))
    if mean == "macro":
        low, high = gap["macro"]["low"], gap["macro"]["high"]
        words = "yes" if low > 0 else "no: worse" if high < 0 else "within noise"
        return f"{words} [{100 * low:+.1f}, {100 * high:+.1f}]"
    words = {"better": "yes", "worse": "no: worse"}.get(one["verdict"]["outcome"], "within noise")
    return f"{words} (p {p_value(gap['p_holm'])})"


if __name__ == "__main__":
    main(sys.argv[1])
