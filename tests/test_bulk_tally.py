"""What a job tells at its end, word for word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import toy_config, toy_head
from zooter_lite.bulk.tally import Done, Tally, read_costs, table_costs
from zooter_lite.errors import DataError
from zooter_lite.router.directory.config import Training

CONFIG = toy_config(toy_head("linear"), training=Training((0.5, 0.7, 0.6), (1, 2.5, 0)))


def test_everything() -> None:
    tally = Tally(
        rows=100,
        empty=5,
        rejected=15,
        kept=15,
        fallbacks=8,
        computed=60,
        repeated=6,
        experts={"ant": 60, "bee": 20, "cat": 0},
    )
    rejects = ["a.rejects.jsonl", "b.rejects.jsonl"]
    costs = {"ant": 1.0, "bee": 2.5, "cat": 0.0}
    assert Done(tally, 50, 2.0, rejects, costs, "bee", repeats=True).summary() == [
        "80 rows routed (ant 75%, bee 25%); 5 rows with an empty prompt left unrouted",
        "50 rows in 2.0 s after 50 of an earlier run (25 rows/s)",
        "fallbacks: 8 prompts (10%)",
        "rejected: 15 rows, 15 of them kept without an expert: a.rejects.jsonl, b.rejects.jsonl",
        "close calls answered again in fp32: 6 of 60 prompts computed (10.0%)",
        "estimated cost: 110 (ant 60, bee 50); "
        "with bee, the best single expert on train, alone: 200",
    ]


def test_nothing_and_a_rejected_row() -> None:
    assert Done(Tally(experts={"ant": 0}), 0, 0.0, [], {"ant": 1}, "ant").summary() == [
        "0 rows routed (none)",
        "0 rows in 0.0 s (nothing left to do)",
    ]
    one = Tally(rows=2, rejected=1, experts={"ant": 1})
    assert Done(one, 0, 0.5, [], None, "ant").summary()[1:] == [
        "2 rows in 0.5 s (4 rows/s)",
        "rejected: 1 rows, left out",
    ]


def test_sums() -> None:
    one = Tally(rows=3, empty=1, kept=1, experts={"ant": 2})
    assert one.plus(Tally(rows=4, kept=2, experts={"ant": 1, "bee": 3})) == Tally(
        rows=7, empty=1, kept=3, experts={"ant": 3, "bee": 3}
    )


def test_costs_of_the_table() -> None:
    assert table_costs(CONFIG) == {"ant": 1, "bee": 2.5, "cat": 0}
    assert CONFIG.best_single == "bee"
    for costs in (None, (1, None, 2)):
        training = replace(CONFIG.training, mean_costs=costs)
        assert table_costs(replace(CONFIG, training=training)) is None


ODD = [None, True, "1", -1, float("nan"), float("inf"), [1], 10**400]
WRONG = [
    *((json.dumps({"ant": value}).encode(), r"costs\.json: 'ant' has the cost ") for value in ODD),
    (b"{}", r"costs\.json: 'ant' has the cost None; expected a number from 0$"),
    (b"[1]", r"costs\.json: expected a JSON object from expert to the cost of one prompt$"),
    (b"{", r"costs\.json: not JSON \("),
    (b"\xff", r"costs\.json: not JSON \("),
    (b"[" * 100_000, r"costs\.json: not JSON \("),
]


def test_costs_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    with pytest.raises(DataError, match=r"costs\.json: No such file or directory$"):
        read_costs(str(path), ["ant"])
    path.write_text('{"ant": 1, "bee": 0.5, "dog": null}')
    assert read_costs(str(path), ["ant", "bee"]) == {"ant": 1.0, "bee": 0.5}
    for content, message in WRONG:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_costs(str(path), ["ant"])
