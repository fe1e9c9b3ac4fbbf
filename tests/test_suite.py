"""Suite files: read whole, and every mistake named with the file, the table and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from zooter_lite.compare.evaluated_rows import SplitChoice, TableChoice
from zooter_lite.compare.suite import read_suite
from zooter_lite.errors import DataError

WHOLE = """
[[table]]
name = "first"
data = "tables/first.parquet"
router = "../routers/first"

[[table.splits]]
split = "test"

[[table.splits]]
split = "ood"
leave_out = ["javascript"]

[[table]]
name = "second"
data = "second.csv"
router = "/routers/second"
splits = ["test", { split = "shift", only = ["a"] }]

[[table]]
name = "third"
data = "third.csv"
router = "r"
also = ["s", "/t"]
"""


def write(folder: Path, text: str) -> str:
    (folder / "suite.toml").write_text(text, "utf-8")
    return str(folder / "suite.toml")


def test_a_suite_is_read_whole(tmp_path: Path) -> None:
    first, second, third = read_suite(write(tmp_path, WHOLE))
    assert first == TableChoice(
        "first",
        str(tmp_path / "tables" / "first.parquet"),
        str(tmp_path / ".." / "routers" / "first"),
        [SplitChoice("test"), SplitChoice("ood", leave_out=["javascript"])],
        also=[],
    )
    assert second.router == "/routers/second"
    assert second.splits == [SplitChoice("test"), SplitChoice("shift", only=["a"])]
    assert third.splits == []
    assert third.also == [str(tmp_path / "s"), "/t"]


GOOD = 'name = "t"\ndata = "t.csv"\nrouter = "r"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no [[table]]"),
        ('[[table]]\ndata = "t.csv"\nrouter = "r"', "table 1: no name"),
        ('[[table]]\nname = "t"\ndata = "d"\nrouter = 3', "table 't': router is of type int"),
        (f"[[table]]\n{GOOD}[[table]]\n{GOOD}", "two tables have the name 't'"),
        (f'[[table]]\n{GOOD}split = "x"', "unknown field 'split'; expected name, data, router"),
        (f'[[table]]\n{GOOD}splits = "x"', "splits is of type str, expected list"),
        (f"[[table]]\n{GOOD}splits = [3]", "splits: split is of type int, expected str"),
        (f'[[table]]\n{GOOD}splits = ["a", "a"]', "two splits have the name 'a'"),
        (
            f'[[table]]\n{GOOD}splits = [{{ split = "a", leave = [] }}]',
            "splits: unknown field 'leave'; expected split, only, leave_out",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_suite(path)
    assert str(caught.value).startswith(path)
    assert expected in str(caught.value)
