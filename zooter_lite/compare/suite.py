"""A suite file: which splits of which reward tables are evaluated with which router.

    [[table]]
    name = "routerdc"
    data = "routerdc.parquet"             # beside the suite file, or in the folder of --data
    router = "../../exports/bench-routerdc"

    [[table.splits]]
    split = "test"

    [[table.splits]]
    split = "ood"
    leave_out = ["javascript"]            # or only = [...]: the subsets to evaluate

`splits` may also stand as a list of names. Without it, every split except train is
evaluated. `also = ["../../exports/other"]` names further routers over the same experts to
compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zooter_lite.compare.evaluated_rows import SplitChoice, TableChoice
from zooter_lite.files.toml import check_names, from_table, read_toml, tables_of


@dataclass(frozen=True)
class _Table:
    """A table as the file has it."""

    name: str
    data: str
    router: str
    splits: list[Any] = field(default_factory=list)
    also: list[str] = field(default_factory=list)


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
        read = from_table(_Table, entry, where)
        splits = [split if isinstance(split, dict) else {"split": split} for split in read.splits]
        choices = [from_table(SplitChoice, split, f"{where}: splits") for split in splits]
        check_names([choice.split for choice in choices], "split", where)
        suite.append(
            TableChoice(
                name=read.name,
                data=str(Path(folder) / Path(read.data).name if folder else beside / read.data),
                router=str(beside / read.router),
                splits=choices,
                also=[str(beside / str(other)) for other in read.also],
            )
        )
    check_names([table.name for table in suite], "table", path)
    return suite
