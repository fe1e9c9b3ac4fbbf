"""What is evaluated: splits of reward tables, each with its router; a suite file names several.

    [[table]]
    name = "routerdc"
    data = "routerdc.parquet"             # beside the suite file, or in the folder of --data
    router = "../../exports/bench-routerdc"
    splits = ["test", { split = "ood", leave_out = ["javascript"] }]

Instead of subsets to leave out, `only` may name those to evaluate. Without `splits`, every
split except train is evaluated. `also = ["../../exports/other"]` names further routers over
the same experts to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.toml import check_names, from_table, read_toml, tables_of
from zooter_lite.router.router import Router
from zooter_lite.table.reward_table import RewardTable

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SplitChoice:
    """One split to evaluate: the subsets in `only`, or all of them, but those to leave out."""

    split: str
    only: list[str] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TableChoice:
    """One reward table to evaluate.

    Attributes
    ----------
    data, router
        The reward table, or a frame, and the router; or where they are read from.
    splits
        What is evaluated; empty for the subsets in `only`, or all, of every split except train.
    also
        Directories of further routers over the same experts.
    long, separator
        As for `RewardTable.read`.
    """

    name: str
    data: object
    router: str | Router
    splits: list[SplitChoice] = field(default_factory=list)
    only: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    separator: str = ""

    @property
    def source(self) -> str:
        """What errors call the table."""
        return self.data if isinstance(self.data, str) else f"table {self.name!r}"


def read_suite(path: str, folder: str = "") -> list[TableChoice]:
    """Read a suite file.

    Parameters
    ----------
    path
        The TOML file; routers, and tables where `folder` is empty, are looked for beside it.
    folder
        Where the reward tables are instead.

    Raises
    ------
    DataError
        With the file, the table and the key, and what was expected there.
    """
    suite, beside = [], Path(path).parent
    for number, entry in enumerate(tables_of(read_toml(path), "table", path), start=1):
        where = f"{path}: table {entry.get('name', number)!r}"
        read = from_table(TableChoice, entry, where)
        splits = [s if isinstance(s, dict) else {"split": s} for s in entry.get("splits", [])]
        choices = [from_table(SplitChoice, split, f"{where}: splits") for split in splits]
        check_names([choice.split for choice in choices], "split", where)
        data = str(read.data)
        suite.append(
            replace(
                read,
                data=str(Path(folder) / Path(data).name if folder else beside / data),
                router=str(beside / str(read.router)),
                splits=choices,
                also=[str(beside / str(other)) for other in read.also],
            )
        )
    check_names([table.name for table in suite], "table", path)
    return suite


def chosen_splits(table: RewardTable, wanted: TableChoice) -> dict[str, Rows]:
    """Rows of each split that is to be evaluated, by its name.

    DataError for what the table does not have, and where nothing is left to evaluate.
    """
    present = sorted(set(table.splits or []))
    choices = wanted.splits or [
        SplitChoice(name, wanted.only) for name in present if name != "train"
    ]
    if not choices:
        raise DataError(
            f"{wanted.source}: every row has the split 'train', which the router was fitted on; "
            "name it with --split train to evaluate there all the same"
        )
    return {choice.split: _rows(table, choice, wanted.source, present) for choice in choices}


def _rows(table: RewardTable, choice: SplitChoice, source: str, present: list[str]) -> Rows:
    if choice.split not in present:
        raise DataError(
            f"{source}: no row has the split {choice.split!r}; found {', '.join(present)}"
        )
    rows = table.rows(choice.split)
    subsets = np.asarray(table.subsets)[rows]
    known = sorted(set(subsets.tolist()))
    where = f"{source}: split {choice.split!r}"
    for name in [*choice.only, *choice.leave_out]:
        if name not in known:
            raise DataError(f"{where} has no subset {name!r}; found {', '.join(known)}")
    kept = set(choice.only or known) - set(choice.leave_out)
    if not kept:
        raise DataError(f"{where}: every subset is left out")
    return rows[np.isin(subsets, sorted(kept))]
