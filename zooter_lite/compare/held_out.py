"""What a fit says of its own held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.compare.analysis import analyse
from zooter_lite.compare.baselines import TrainedOn
from zooter_lite.compare.slices import described, make_slice
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.report.card import text_table
from zooter_lite.router.head import Head
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.table.splits import part_of

MOST_ROWS = 20_000  # of a split; its bootstrap takes 2000 bytes a row, and as long


def held_out_slices(
    table: RewardTable, embeddings: NDArray[np.float32], head: Head, name: str, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Describe every split but train, as the report dictionary does.

    Parameters
    ----------
    table, embeddings
        All rows, with splits, and their unit embeddings (n, dim).
    head
        Fitted on the rows of train.
    name
        Of the table.
    seed
        Of the bootstrap, and of the `MOST_ROWS` rows that stand for a split that has more.

    Returns
    -------
    The slices, and what is to be said about their rows.
    """
    inside = table.rows("train")
    train = table.take(inside)
    known = TrainedOn(observed_mean(train.rewards), train, part_of(embeddings, inside))
    evaluated, notes = [], []
    for split in sorted(set(table.splits or []) - {"train"}):
        rows = table.rows(split)
        if len(rows) > MOST_ROWS:
            notes.append(
                f"split {split}: {MOST_ROWS} of its {len(rows)} rows are evaluated here, drawn at "
                "random; python -m zooter_lite.evaluate takes all"
            )
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
        own = part_of(embeddings, rows)
        outputs = (head.probs(own).astype(np.float32), own)
        one = make_slice((name, split), table.take(rows), outputs, known)
        evaluated.append(described(one, head.temperature, known))
    slices: list[dict[str, Any]] = analyse(evaluated, {}, seed)["slices"]
    return slices, notes


def conclusion(slices: list[dict[str, Any]]) -> str:
    """Say of every slice how the systems do, where the router sends it, and the verdict."""
    lines = []
    for one in slices:
        shares = sorted(one["shares"].items(), key=lambda item: -item[1])
        sent = ", ".join(f"{name} {share:.0%}" for name, share in shares)
        lines += ["", text_table(one), f"sent to: {sent}", one["verdict"]]
    return "\n".join([*lines, ""])
