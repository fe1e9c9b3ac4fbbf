"""The suite recipe: its file is valid, and its tables hold the figures of the report."""

from __future__ import annotations

import re
from typing import Any

from recipes.suite.write import results
from tests.conftest import ROOT
from tests.report_example import example
from zooter_lite.compare.suite import read_suite

Json = dict[str, Any]


def test_the_suite_file_is_read() -> None:
    suite = read_suite(str(ROOT / "recipes" / "suite" / "suite.toml"), "/data")
    names = ["routerdc", "mmlu_pro", "llmrouter", "code_tags", "bfcl", "zeroeval"]
    assert [table.name for table in suite] == names
    assert suite[0].data == "/data/routerdc.parquet"
    assert suite[0].splits[1].leave_out == ["javascript"]


def test_the_tables_hold_the_figures() -> None:
    report = example(2).to_dict()
    text = results(report)
    one = report["slices"][1]
    router = one["systems"][0]["micro"]
    assert f"## {one['name']}, {one['rows']:,} queries" in text
    assert one["verdict"]["text"] in text
    line = next(
        x for x in text.split(f"## {one['name']}")[1].splitlines() if x.startswith("| router ")
    )
    assert f"{100 * router['value']:.2f} [" in line
    assert line.split()[-4:] == ["-", "|", "-", "|"]  # the router has no gap to itself
    mtr = report["ranking"]["systems"][0]["mtr"]
    assert f"| {mtr['value']:.2f} [" in text.split("## Over all")[1]
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):  # every table has one width
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}
        assert len(widths) == 1
