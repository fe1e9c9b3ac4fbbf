"""Whether each precision decides as torch does, and what reward it loses where it does not.

`python -m recipes.bench.precision DATA EXPORTS` writes recipes/bench/precision.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.bench.speed.lineup import routers
from recipes.bench.speed.ours import load
from zooter_lite.encode.find import DEFAULT, find_encoder
from zooter_lite.measure.metrics import micro_mean, reward_of
from zooter_lite.table import read_table

Array = NDArray[np.floating]

ROOT = Path(__file__).resolve().parents[2]
SPLITS = {
    "routerdc": ("test", "ood"),
    "mmlu_pro": ("test",),
    "llmrouter": ("test",),
    "code_tags": ("test",),
}
TIE = 1e-5  # probabilities this close are equal: float32 sums differ by about 1e-6


def compare(reference: Array, probs: Array, rewards: Array) -> dict[str, float]:
    """Compare the decisions of two sets of probabilities, and their mean rewards.

    Parameters
    ----------
    reference, probs
        (n_queries, n_experts) of torch and of the precision.
    rewards
        (n_queries, n_experts), NaN where not observed.

    Returns
    -------
    rows; changed: decisions that differ; flips: those beyond ties, where the reference's
    probabilities of the two experts differ by more than 1e-5; difference: the largest of
    a probability; reward and lost: mean reward x100, and how much less it is than the
    reference's.
    """
    expected, found = reference.argmax(axis=1), probs.argmax(axis=1)
    at = np.arange(len(expected))
    margin = reference[at, expected] - reference[at, found]
    reward = 100 * micro_mean(reward_of(found, rewards))
    return {
        "rows": len(expected),
        "changed": int((expected != found).sum()),
        "flips": int((margin > TIE).sum()),
        "difference": float(np.abs(reference - probs).max()),
        "reward": reward,
        "lost": 100 * micro_mean(reward_of(expected, rewards)) - reward,
    }


def main(data: str, exports: str) -> None:
    """Compare every precision of every table's router with torch."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(find_encoder(DEFAULT)), device="cpu", local_files_only=True)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, splits in SPLITS.items():
        table = read_table(f"{data}/{name}.parquet")
        folder, static = Path(exports) / f"bench-{name}", Path(exports) / f"bench-{name}-static"
        offered = routers(folder, static if static.is_dir() else None)
        for split in splits:
            part = table.take(table.rows(split))
            embeddings = encoder.encode(
                part.queries, normalize_embeddings=True, show_progress_bar=False
            )
            reference = load(str(folder), "fp32").head.probs(embeddings)
            label = name if split == "test" else f"{name} {split}"
            found[label] = {
                precision: compare(
                    reference, load(str(path), precision).predict_proba(part.queries), part.rewards
                )
                for precision, path in offered.items()
            }
            print(f"{label}: {found[label]}", file=sys.stderr, flush=True)
    (ROOT / "recipes/bench/precision.md").write_text(page(found), "utf-8")
    print(page(found))


def page(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Render a row per table and precision."""
    lines = [
        "| table | rows | precision | changed decisions | beyond ties "
        "| largest difference of probs | mean reward | lost, points |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for table, by_precision in found.items():
        for precision, figures in by_precision.items():
            cells = (
                *(table, f"{figures['rows']:,}", precision),
                *(f"{figures['changed']}", f"{figures['flips']}", f"{figures['difference']:.1e}"),
                *(f"{figures['reward']:.3f}", f"{figures['lost']:+.3f}"),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
