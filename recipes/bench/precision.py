"""What int8 and the static encoder lose against fp32, on test rows.

`python -m recipes.bench.precision DATA EXPORTS` writes recipes/bench/precision.md. That fp32
decides as torch does is checked by every fit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.bench.speed.lineup import routers
from recipes.bench.speed.ours import load
from zooter_lite.measure.metrics import reward_of
from zooter_lite.table import read_table

Array = NDArray[np.floating]

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("routerdc", "mmlu_pro", "llmrouter", "code_tags", "bfcl", "zeroeval")
TIE = 1e-5  # probabilities this close are equal: float32 sums differ by about 1e-6


def compare(reference: Array, probs: Array, rewards: Array) -> dict[str, float]:
    """Compare the decisions of two sets of probabilities, and their mean rewards.

    Parameters
    ----------
    reference, probs
        (n_queries, n_experts) of fp32 and of the other precision.
    rewards
        (n_queries, n_experts), NaN where not observed.

    Returns
    -------
    rows; changed: decisions that differ, where the reference's probabilities of the two experts
    differ by more than 1e-5; difference: the largest of a probability; reward: mean x100; lost
    and error: how much less it is than the reference's, and its paired standard error.
    """
    expected, found = reference.argmax(axis=1), probs.argmax(axis=1)
    at = np.arange(len(expected))
    paired = 100 * (reward_of(expected, rewards) - reward_of(found, rewards))
    return {
        "rows": len(expected),
        "changed": int((reference[at, expected] - reference[at, found] > TIE).sum()),
        "difference": float(np.abs(reference - probs).max()),
        "reward": 100 * float(np.nanmean(reward_of(found, rewards))),
        "lost": float(np.nanmean(paired)),
        "error": float(np.nanstd(paired, ddof=1) / np.sqrt((~np.isnan(paired)).sum())),
    }


def main(data: str, exports: str) -> None:
    """Compare every precision of every table's router with fp32."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in TABLES:
        table = read_table(f"{data}/{name}.parquet")
        folder, static = Path(exports) / f"bench-{name}", Path(exports) / f"bench-{name}-static"
        offered = routers(folder, static if static.is_dir() else None)
        for split in (one for one in ("test", "ood") if one in (table.splits or ())):
            part = table.take(table.rows(split))
            reference = load(str(folder), "fp32").predict_proba(part.queries)
            label = name if split == "test" else f"{name} {split}"
            found[label] = {
                precision: compare(
                    reference, load(str(path), precision).predict_proba(part.queries), part.rewards
                )
                for precision, path in offered.items()
                if precision != "fp32"
            }
            print(f"{label}: {found[label]}", file=sys.stderr, flush=True)
    (ROOT / "recipes/bench/precision.md").write_text(page(found), "utf-8")
    print(page(found))


def page(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Render a row per table and precision, then what int8 loses in the mean over the tables."""
    lines = [
        "| table | rows | precision | changed decisions | largest difference of probs "
        "| mean reward | lost against fp32, points (95%) |",
        "|---|---|---|---|---|---|---|",
    ]
    for table, by_precision in found.items():
        for precision, one in by_precision.items():
            cells = (
                *(table, f"{one['rows']:,}", precision, f"{one['changed']}"),
                *(f"{one['difference']:.1e}", f"{one['reward']:.3f}"),
                f"{one['lost']:+.3f} ± {1.96 * one['error']:.3f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    for precision in ("int8", "static"):
        lost = [one[precision]["lost"] for one in found.values() if precision in one]
        if lost:
            lines += ["", f"Lost by {precision} in the mean over the rows: {np.mean(lost):+.3f}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
