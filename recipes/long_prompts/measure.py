"""What reading more of long prompts earns: head, both ends, a longer head, windows.

`python -m recipes.long_prompts.measure FOLDER` writes recipes/long_prompts/results.md. Prompts
of up to 256 tokens keep their embeddings, the longer ones get those of each way of reading, and
the head is fitted as `fit` does, in the setting that it chooses for today's embeddings. On train
every prompt is chosen for by a head that was fitted without its fold, with three seeds of folds
and clusters, whose rewards are averaged. Test rows
decide nothing: they are looked at once, with the first seed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.long_prompts.reading import READINGS, WINDOW, Reader
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.encoder import Encoder
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.head.fit_head import fit_head
from zooter_lite.measure.metrics import reward_of
from zooter_lite.recipe import Recipe
from zooter_lite.table import RewardTable

Array = NDArray[np.float64]

TABLES = ("routerdc", "mmlu_pro", "llmrouter", "code_tags", "bfcl", "zeroeval")
FEWEST = 200  # long prompts of train that a table needs
MOST = {"train": 600, "test": 200}  # of a table that has more
SEEDS = (0, 1, 2)
OUT = Path(__file__).parent / "results.md"


def measured_rows(splits: Sequence[str], is_long: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of train and test without the long prompts beyond `MOST`, which are drawn at random."""
    rows = []
    for part, most in MOST.items():
        own = np.flatnonzero(np.asarray(splits) == part)
        drawn = np.random.default_rng(0).permutation(own[is_long[own]])[:most]
        rows += [own[~is_long[own]], drawn]
    return np.sort(np.concatenate(rows))


def main(folder: str) -> None:
    """Measure, and write the tables."""
    encoder = load_encoder(DEFAULT, default_cache())
    reader = Reader(encoder, default_cache())
    counts = [
        "| table | prompts | longer than 256 tokens | than 512 | train, longer than 256 | test |",
        "|---" * 6 + "|",
    ]
    figures = [
        f"| table | rows | long prompts | head | {' | '.join(READINGS)} |",
        "|---" * (4 + len(READINGS)) + "|",
    ]
    for name in TABLES:
        table = RewardTable.read(f"{folder}/{name}.parquet", responses=False)
        lengths = np.asarray([len(ids) for ids in reader.tokens(table.queries)])
        is_long, splits = lengths > WINDOW, np.asarray(table.splits)
        n_train, n_test = (int((is_long & (splits == part)).sum()) for part in ("train", "test"))
        cells = [len(table), int(is_long.sum()), int((lengths > 512).sum()), n_train, n_test]
        counts.append(f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} |")
        if n_train >= FEWEST:
            rows = measured_rows(table.splits or [], is_long)
            figures += _measured(name, table.take(rows), encoder, reader, is_long[rows])
        print(counts[-1], *figures[-2:], sep="\n", flush=True)
        OUT.write_text("\n".join([*counts, "", *figures]) + "\n", "utf-8")


def _measured(
    name: str, table: RewardTable, encoder: Encoder, reader: Reader, is_long: NDArray[np.bool_]
) -> list[str]:
    """Two lines: out of fold on the long prompts of train, and on those of test."""
    known = np.array(encoder.embed(table.queries, default_cache()))
    queries = [table.queries[row] for row in np.flatnonzero(is_long).tolist()]
    rows = {part: table.rows(part) for part in MOST}
    train, test = (table.take(own) for own in rows.values())
    first = fit_head(train, known[rows["train"]], Recipe())
    chosen = first.selection.chosen
    fixed: dict[str, Any] = {
        "temperature": chosen.temperature,
        "beta": chosen.beta if first.tagging else None,
        "l2": chosen.l2,
        "domains": chosen.domains,
    }
    tagging = first.tagging.name if first.tagging else None
    earned: dict[str, list[Array]] = {part: [] for part in MOST}
    for reading in ("head", *READINGS):
        embeddings = known.copy()
        if reading != "head":
            embeddings[is_long] = reader.embed(queries, reading)
        by_seed = []
        for seed in SEEDS:
            recipe = Recipe(seed=seed, **fixed)
            fitted = fit_head(train, embeddings[rows["train"]], recipe, tagging=tagging)
            by_seed.append(reward_of(fitted.selection.logits.argmax(axis=1), train.rewards))
            if seed == SEEDS[0]:
                logits = fitted.head.logits(embeddings[rows["test"]].astype(np.float64))
                earned["test"].append(reward_of(logits.argmax(axis=1), test.rewards))
        earned["train"].append(np.mean(by_seed, axis=0))
    return [
        _line(name, part, [each[is_long[rows[part]]] for each in earned[part]]) for part in MOST
    ]


def _line(name: str, part: str, earned: list[Array]) -> str:
    """Write the mean of the first, and the paired differences of the others to it."""
    cells = [f"{100 * earned[0].mean():.2f}"]
    for other in earned[1:]:
        apart = 100 * (other - earned[0])
        cells.append(f"{apart.mean():+.2f} ± {apart.std() / np.sqrt(len(apart)):.2f}")
    return f"| {name} | {part} | {len(earned[0]):,} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main(sys.argv[1])
