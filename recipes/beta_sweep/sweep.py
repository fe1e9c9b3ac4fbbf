"""Fit with every beta and with hard labels; print mean rewards (x100) as Markdown.

Everything else (temperature, L2, tag granularity) is cross-validated on train anew for
each row, so that no beta suffers from another's setting. The linear head is the paper's
router (no prior); the prior head is zooter-lite's default.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.fit_head import fit_head
from zooter_lite.measure.metrics import draw, measure, reward_of
from zooter_lite.recipe import Recipe
from zooter_lite.table import RewardTable, read_table

BETAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
TABLES = {"routerdc": ("test", "ood"), "mmlu_pro": ("test",)}
LEFT_OUT = ("javascript",)  # the published protocol of routerdc leaves it out of the OOD mean


def main(folder: str) -> None:
    """Sweep both tables with both heads."""
    missing = [name for name in TABLES if not (Path(folder) / f"{name}.parquet").is_file()]
    if missing:
        print(f"skipped: {folder}/{missing[0]}.parquet is not there", file=sys.stderr)
        return
    for name, splits in TABLES.items():
        table = read_table(f"{folder}/{name}.parquet")
        embeddings = load_encoder(DEFAULT, default_cache()).embed(table.queries, default_cache())
        for head in ("linear", "prior"):
            columns = [f"{split} {mean}" for split in splits for mean in ("macro", "micro")]
            print(f"\n### {name}, {head} head\n")
            print(f"| label | cross-validated on train | {' | '.join(columns)} |")
            print("|---|---|" + "---|" * len(columns))
            recipes = [Recipe(head=head, labels="hard", beta=1.0)]
            recipes += [Recipe(head=head, beta=beta) for beta in BETAS]
            for recipe in recipes:
                label = "hard" if recipe.labels == "hard" else f"beta {recipe.beta}"
                cells = _row(table, embeddings, recipe, splits)
                print(f"| {label} | " + " | ".join(f"{100 * c:.2f}" for c in cells) + " |")
                sys.stdout.flush()


def _row(
    table: RewardTable,
    embeddings: NDArray[np.float32],
    recipe: Recipe,
    splits: tuple[str, ...],
) -> list[float]:
    train = table.rows("train")
    fitted = fit_head(table.take(train), embeddings[train], recipe)
    chosen = next(s for s in fitted.selection.scores if s.setting == fitted.selection.chosen)
    cells = [chosen.mean]
    for split in splits:
        rows = np.asarray([r for r in table.rows(split) if table.subsets[r] not in LEFT_OUT])
        choices = fitted.head.probs(embeddings[rows]).argmax(axis=1)
        values = reward_of(choices, table.rewards[rows])
        subsets = [table.subsets[r] for r in rows]
        means = measure(values[:, None], draw(subsets, 0))
        cells += [means.macro[0].value, means.micro[0].value]
    return cells


if __name__ == "__main__":
    main(sys.argv[1])
