"""Evaluate a router on a reward table, beside baselines, with bootstrap intervals.

  python -m zooter_lite.evaluate --router exports/mine --data rewards.parquet
  python -m zooter_lite.evaluate --router exports/mine --data t.parquet --split test --json r.json

Without --split, every split except 'train' is evaluated. Rows of 'train' in the same
table are what the baselines (best per subset, kNN) learn from; without such rows only
the best single expert is known, from the router's own training. In a table without a
column 'split', the queries that the router was fitted on count as 'train'.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Optional

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from zooter_lite.cli import option, run
from zooter_lite.data import RewardTable, read_table
from zooter_lite.data.rows import atomic_text
from zooter_lite.errors import DataError
from zooter_lite.evaluation.baselines import TrainedOn
from zooter_lite.evaluation.compare import Comparison, compare
from zooter_lite.evaluation.report import text_table, verdict
from zooter_lite.labels.diagnostics import observed_mean
from zooter_lite.router.router import Router
from zooter_lite.router.runtime import Precision

SAME = 1e-5  # cosine distance below which two queries are one


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.evaluate`."""

    router: str = option(help="router directory", metavar="DIR")
    data: str = option(help="reward table", metavar="TABLE")
    split: Optional[str] = option(
        None, help="evaluate this split alone (default: every one except train)", kind=str
    )
    subsets: Optional[str] = option(
        None, help="evaluate these subsets alone, separated by commas", kind=str
    )
    json: Optional[str] = option(
        None, help="write the same figures to this file", kind=str, metavar="FILE"
    )
    precision: Literal["fp32", "int8", "auto"] = option(
        "fp32", help="of the router that is evaluated"
    )
    seed: int = option(0, help="of the bootstrap")


def main(options: Options) -> None:
    """Load, embed, compare, print."""
    if options.seed < 0:
        raise DataError(f"--seed {options.seed}: expected a number from 0")
    router = Router.load(options.router, options.precision)
    table = in_router_order(read_table(options.data), router.experts, options.data)
    outputs = _Outputs(router, table)
    if table.splits is None:
        # the tag index holds fp32 embeddings, to which those of another precision are unequal
        exact = (
            outputs if options.precision == "fp32" else _Outputs(Router.load(options.router), table)
        )
        table = _unseen_apart(table, exact)
    elif len(table.leaks()):
        print(f"{len(table.leaks())} evaluated rows have a query that also stands in train")
    chosen = {split: _chosen_rows(table, split, options) for split in _splits(table, options)}
    known = TrainedOn(np.asarray(router.config["training"]["mean_rewards"], dtype=np.float64))
    train_rows = table.rows("train")
    outputs.compute(np.concatenate([train_rows, *chosen.values()]))
    if len(train_rows):
        train = table.take(train_rows)
        known = TrainedOn(observed_mean(train.rewards), train, outputs.embeddings[train_rows])
    comparisons = [
        compare(
            split,
            table.take(rows),
            outputs.probs[rows],
            outputs.embeddings[rows],
            known,
            options.seed,
        )
        for split, rows in chosen.items()
    ]
    print(f"router: {options.router}, {_precision(router, options.precision)}")
    for comparison in comparisons:
        print(text_table(comparison))
        print(verdict(comparison))
        print()
    if options.json is not None:
        _write_json(options.json, comparisons, options.precision)


def _precision(router: Router, precision: Precision) -> str:
    if precision != "auto":
        return precision
    return f"auto: int8, with {router.repeat_share:.1%} of the queries answered again in fp32"


class _Outputs:
    """The router's outputs for the rows of a table, each computed at most once."""

    def __init__(self, router: Router, table: RewardTable) -> None:
        self.router = router
        self._queries = table.queries
        self._done = np.zeros(len(table), dtype=bool)
        self.probs = np.zeros((len(table), len(router.experts)), dtype=np.float32)
        self.embeddings = np.zeros((len(table), router.head.dim), dtype=np.float32)

    def compute(self, rows: NDArray[np.int64]) -> None:
        """Fill in the outputs of these rows."""
        todo = np.unique(rows[~self._done[rows]])
        with tqdm(
            total=len(todo), desc="routing", disable=None, file=sys.stderr, leave=False
        ) as bar:
            queries = [self._queries[row] for row in todo]
            self.probs[todo], self.embeddings[todo] = self.router.embed(queries, bar.update)
        self._done[todo] = True


def _unseen_apart(table: RewardTable, outputs: _Outputs) -> RewardTable:
    """Split a table without splits: queries that the router was fitted on are `train`.

    They are told by an embedding equal to one in the router's tag index.
    """
    index = outputs.router.tag_index
    seen = np.zeros(len(table), dtype=bool)
    if index is None:
        print("no column 'split', and a router without tags cannot tell what it was fitted on")
    else:
        outputs.compute(np.arange(len(table)))
        # an index that rounds its vectors sees a query a little way off itself
        seen = index.distance(outputs.embeddings) < SAME + 2 * index.choice.error
    if seen.any():
        print(
            f"{int(seen.sum())} of {len(table)} queries are among those the router was fitted on: "
            "they count as 'train' and are not evaluated"
        )
    return replace(table, splits=["train" if s else "all" for s in seen])


def in_router_order(table: RewardTable, experts: Sequence[str], source: str) -> RewardTable:
    """Return the table with the router's experts, in its order.

    Raises
    ------
    DataError
        The table has no rewards for one of the router's experts, or some of its
        rows have none for any of them.
    """
    missing = [expert for expert in experts if expert not in table.experts]
    if missing:
        raise DataError(
            f"{source}: no column 'reward:{missing[0]}'; the router chooses among "
            + ", ".join(repr(expert) for expert in experts)
            + " (--data names another table)"
        )
    order = [table.experts.index(expert) for expert in experts]
    rewards = table.rewards[:, order]
    empty = np.flatnonzero(np.isnan(rewards).all(axis=1))
    if len(empty):
        raise DataError(
            f"{source}: query {table.query_ids[int(empty[0])]!r} has no reward for any expert "
            "of the router"
        )
    return replace(
        table,
        experts=list(experts),
        rewards=rewards,
        costs=None if table.costs is None else table.costs[:, order],
        responses=None
        if table.responses is None
        else [[texts[i] for i in order] for texts in table.responses],
    )


def _splits(table: RewardTable, options: Options) -> list[str]:
    present = sorted(set(table.splits or []))
    if options.split is not None:
        if options.split not in present:
            raise DataError(
                f"{options.data}: no row has the split {options.split!r}; "
                f"found {', '.join(present)}"
            )
        return [options.split]
    splits = [split for split in present if split != "train"]
    if not splits:
        raise DataError(
            f"{options.data}: every row has the split 'train', which the router was fitted on; "
            "name it with --split train to evaluate there all the same"
        )
    return splits


def _chosen_rows(table: RewardTable, split: str, options: Options) -> NDArray[np.int64]:
    rows = table.rows(split)
    if options.subsets is None:
        return rows
    wanted = {name.strip() for name in options.subsets.split(",") if name.strip()}
    kept = np.asarray([row for row in rows if table.subsets[row] in wanted], dtype=np.int64)
    unknown = wanted - {table.subsets[row] for row in rows}
    if unknown or not len(kept):
        found = ", ".join(sorted({table.subsets[row] for row in rows}))
        raise DataError(
            f"{options.data}: split {split!r} has no subset {sorted(unknown)[:1]}; found {found}"
        )
    return kept


def _write_json(path: str, comparisons: list[Comparison], precision: Precision) -> None:
    with atomic_text(path) as stream:
        content = {
            "comparisons": [comparison.to_json() for comparison in comparisons],
            "precision": precision,
        }
        json.dump(content, stream, sort_keys=True, indent=1, ensure_ascii=False)
        stream.write("\n")


if __name__ == "__main__":
    sys.exit(run(Options, main, "evaluate", __doc__ or ""))
