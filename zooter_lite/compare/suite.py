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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zooter_lite.compare.evaluated_rows import SplitChoice, TableChoice
from zooter_lite.errors import DataError
from zooter_lite.files.toml import check_names, read_toml, tables_of
from zooter_lite.untrusted.typed_json import typed


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
    entries = tables_of(read_toml(path), "table", path)
    try:
        suite = [_table(each, number, path, folder) for number, each in enumerate(entries, start=1)]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    check_names([table.name for table in suite], "table", path)
    return suite


def _table(entry: dict[str, Any], number: int, path: str, folder: str) -> TableChoice:
    name, beside = entry.get("name"), Path(path).parent
    where = f"table {repr(name) if isinstance(name, str) else number}"
    _check_keys(entry, ("name", "data", "router", "splits", "groups", "also"), where)
    texts = {
        key: typed(str, entry.get(key), f"{where}: {key}") for key in ("name", "data", "router")
    }
    splits = entry.get("splits", [])
    if not isinstance(splits, list):
        raise ValueError(f"{where}: splits is {splits!r}, expected a list")
    for split in splits:
        if isinstance(split, dict):
            _check_keys(split, ("split", "leave_out", "only"), f"{where}: splits")
    choices: tuple[SplitChoice, ...] = tuple(
        SplitChoice(s) if isinstance(s, str) else typed(SplitChoice, s, f"{where}: splits")
        for s in splits
    )
    check_names([choice.split for choice in choices], "split", f"{path}: {where}")
    also = typed(tuple[str, ...], entry.get("also", []), f"{where}: also")
    return TableChoice(
        name=texts["name"],
        data=str(Path(folder) / Path(texts["data"]).name if folder else beside / texts["data"]),
        router=str(beside / texts["router"]),
        splits=choices,
        groups=_groups(entry, f"{where}: groups"),
        also=tuple(str(beside / other) for other in also),
    )


def _groups(entry: dict[str, Any], where: str) -> dict[str, str]:
    groups = entry.get("groups", {})
    if not isinstance(groups, dict):
        raise ValueError(f"{where} is {groups!r}, expected a table")
    group_of: dict[str, str] = {}
    for group, subsets in groups.items():
        for subset in typed(tuple[str, ...], subsets, f"{where}: {group}"):
            if group_of.setdefault(subset, group) != group:
                raise ValueError(
                    f"{where}: subset {subset!r} stands in {group_of[subset]!r} and in {group!r}"
                )
    return group_of


def _check_keys(entry: dict[str, Any], expected: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in expected:
            raise ValueError(f"{where}: unknown key {key!r}; expected {', '.join(expected)}")
