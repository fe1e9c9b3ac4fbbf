"""What a fit says of its own held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zooter_lite.compare.analysis import analyse
from zooter_lite.compare.routed import sliced
from zooter_lite.labels.completion import mean_rewards
from zooter_lite.measure.results import Report
from zooter_lite.measure.system import FloatArray, TrainedOn
from zooter_lite.router.directory.config import Point
from zooter_lite.router.head import Head
from zooter_lite.table.reward_table import RewardTable
from zooter_lite.table.splits import part_of

MOST_ROWS = 20_000  # of a split; its bootstrap takes 2000 bytes a row, and as long


def held_out_report(
    table: RewardTable,
    embeddings: FloatArray,
    head: Head,
    name: str,
    seed: int,
    *,
    points: Sequence[Point] = (),
    tokens: NDArray[np.int64] | None = None,
) -> tuple[Report, list[str]]:
    """Describe every split but train of a table that a head was just fitted on.

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
    points
        Operating points of the router.
    tokens
        (n,) tokens of each query, which costs depend on; None without.

    Returns
    -------
    The report, its slices by split, and what is to be said about their rows.
    """
    inside = table.rows("train")
    train = table.take(inside)
    known = TrainedOn(
        mean_rewards(train.rewards, train.subsets), train, part_of(embeddings, inside)
    )
    slices, notes = [], []
    for split in sorted(set(table.splits or []) - {"train"}):
        rows = table.rows(split)
        if len(rows) > MOST_ROWS:
            notes.append(
                f"split {split}: {MOST_ROWS} of its {len(rows)} rows are evaluated here, drawn at "
                "random; python -m zooter_lite.evaluate takes all"
            )
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
        own = part_of(embeddings, rows)
        lengths = None if tokens is None else tokens[rows]
        outputs = head.predict(own, lengths), own
        one = sliced((name, split), table.take(rows), known, outputs, points=points)
        slices.append(replace(one, temperature=head.temperature))
    return replace(analyse(slices, seed), notes=notes), notes
