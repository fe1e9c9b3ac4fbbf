"""A suite file: which splits of which reward tables are evaluated with which router.

    [[table]]
    name = "routerdc"
    data = "routerdc.parquet"             # beside the suite file, or in the folder of --data
    router = "../../exports/bench-routerdc"
    groups = { knowledge = ["mmlu", "arc_challenge"], maths = ["gsm8k", "math_prealgebra"] }

    [[table.splits]]
    split = "test"

    [[table.splits]]
    split = "ood"
    leave_out = ["javascript"]            # or only = [...]: the subsets to evaluate

`splits` may also stand as a list of names. Without it, every split except train is
evaluated. `groups` may be left out, and `also = ["../../exports/other"]` names further
routers over the same experts to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.files.toml import check_names, read_toml, tables_of
from zooter_lite.table.reward_table import RewardTable

_TABLE_KEYS = {"name", "data", "router", "splits", "groups", "also"}
_SPLIT_KEYS = {"split", "leave_out", "only"}


@dataclass(frozen=True)
class SplitChoice:
    """One split to evaluate, and which of its subsets.

    Attributes
    ----------
    split
        Name of the split.
    only
        The subsets to evaluate; empty for all.
    leave_out
        Subsets that are not evaluated.
    """

    split: str
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class SuiteTable:
    """One reward table of a suite.

    Attributes
    ----------
    name
        As the report shows it.
    data, router
        The reward table and the router directory.
    splits
        What is evaluated; empty for every split except train.
    only
        The subsets to evaluate where `splits` is empty; empty for all.
    groups
        Group of each subset; subsets without one are in none.
    also
        Directories of further routers over the same experts.
    """

    name: str
    data: str
    router: str
    splits: tuple[SplitChoice, ...] = ()
    only: tuple[str, ...] = ()
    groups: Mapping[str, str] | None = None
    also: tuple[str, ...] = ()


def read_suite(path: str, folder: str = "") -> list[SuiteTable]:
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
    tables = tables_of(read_toml(path), "table", path)
    beside = Path(path).parent
    suite = [_table(entry, number, path, beside, folder) for number, entry in enumerate(tables)]
    check_names([table.name for table in suite], "table", path)
    return suite


def table_name(source: str) -> str:
    """Name of a reward table by the file it stands in.

    Examples
    --------
    >>> table_name("tables/mine.csv.gz")
    'mine'
    """
    name = Path(source).name
    for suffix in (".gz", ".csv", ".jsonl", ".parquet"):
        name = name.removesuffix(suffix)
    return name


def chosen_splits(
    table: RewardTable, wanted: SuiteTable
) -> list[tuple[SplitChoice, NDArray[np.int64]]]:
    """Rows of each split that is to be evaluated.

    Raises
    ------
    DataError
        A split or subset that the table does not have, or nothing left to evaluate.
    """
    present = sorted(set(table.splits or []))
    choices = wanted.splits or tuple(
        SplitChoice(name, wanted.only) for name in present if name != "train"
    )
    if not choices:
        raise DataError(
            f"{wanted.data}: every row has the split 'train', which the router was fitted on; "
            "name it with --split train to evaluate there all the same"
        )
    return [(choice, _rows(table, choice, wanted.data, present)) for choice in choices]


def check_groups(table: RewardTable, wanted: SuiteTable) -> dict[str, str]:
    """Group of each subset.

    Raises
    ------
    DataError
        A group names a subset that the table does not have.
    """
    groups = dict(wanted.groups or {})
    unknown = sorted(set(groups) - set(table.subsets))
    if unknown:
        raise DataError(
            f"{wanted.data}: no subset {unknown[0]!r}, which group {groups[unknown[0]]!r} names; "
            f"found {', '.join(sorted(set(table.subsets)))}"
        )
    return groups


def _rows(
    table: RewardTable, choice: SplitChoice, source: str, present: list[str]
) -> NDArray[np.int64]:
    if choice.split not in present:
        raise DataError(
            f"{source}: no row has the split {choice.split!r}; found {', '.join(present)}"
        )
    rows = table.rows(choice.split)
    found = {table.subsets[row] for row in rows}
    unknown = sorted({*choice.only, *choice.leave_out} - found)
    if unknown:
        raise DataError(
            f"{source}: split {choice.split!r} has no subset {unknown[0]!r}; "
            f"found {', '.join(sorted(found))}"
        )
    kept = (set(choice.only) or found) - set(choice.leave_out)
    if not kept:
        raise DataError(f"{source}: split {choice.split!r}: every subset is left out")
    return np.asarray([row for row in rows if table.subsets[row] in kept], dtype=np.int64)


def _table(entry: dict[str, Any], number: int, path: str, beside: Path, folder: str) -> SuiteTable:
    name = entry.get("name")
    where = f"{path}: table {name!r}" if isinstance(name, str) else f"{path}: table {number + 1}"
    _check_keys(entry, _TABLE_KEYS, where)
    texts = {key: _text(entry, key, where) for key in ("name", "data", "router")}
    data = Path(folder) / Path(texts["data"]).name if folder else beside / texts["data"]
    splits = entry.get("splits", [])
    if not isinstance(splits, list):
        raise DataError(f"{where}: splits: expected a list, found {type(splits).__name__}")
    choices = tuple(_split(split, where) for split in splits)
    check_names([choice.split for choice in choices], "split", where)
    return SuiteTable(
        name=texts["name"],
        data=str(data),
        router=str(beside / texts["router"]),
        splits=choices,
        groups=_groups(entry, where),
        also=tuple(
            str(beside / other) for other in _names(entry.get("also", []), f"{where}: also")
        ),
    )


def _split(entry: object, where: str) -> SplitChoice:
    if isinstance(entry, str):
        return SplitChoice(entry)
    if not isinstance(entry, dict):
        raise DataError(
            f"{where}: splits: expected names or tables with the key 'split', found {entry!r}"
        )
    _check_keys(entry, _SPLIT_KEYS, f"{where}: splits")
    lists = [_names(entry.get(key, []), f"{where}: splits: {key}") for key in ("only", "leave_out")]
    return SplitChoice(_text(entry, "split", f"{where}: splits"), *lists)


def _groups(entry: dict[str, Any], where: str) -> dict[str, str]:
    groups = entry.get("groups", {})
    if not isinstance(groups, dict):
        raise DataError(f"{where}: groups: expected a table, found {type(groups).__name__}")
    found: dict[str, str] = {}
    for group, subsets in groups.items():
        for subset in _names(subsets, f"{where}: groups: {group}"):
            if subset in found:
                raise DataError(
                    f"{where}: groups: subset {subset!r} stands in {found[subset]!r} "
                    f"and in {group!r}"
                )
            found[subset] = group
    return found


def _check_keys(entry: dict[str, Any], expected: set[str], where: str) -> None:
    unknown = sorted(set(entry) - expected)
    if unknown:
        raise DataError(
            f"{where}: unknown key {unknown[0]!r}; expected {', '.join(sorted(expected))}"
        )


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}: {key}: expected a text, found {value!r}")
    return value


def _names(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DataError(f"{where}: expected a list of names, found {value!r}")
    return tuple(value)
