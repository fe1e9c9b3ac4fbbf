"""What a job tells at its end, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from zooter_lite.bulk.tally import Done, Tally, read_costs
from zooter_lite.errors import DataError


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


def test_what_the_router_expects() -> None:
    tally = Tally(
        rows=50, odd=2, cost=1.25, cost_single=5.0, cost_cheapest=0.5, experts={"ant": 40, "bee": 0}
    )
    lines = Done(tally, 0, 2.0, [], None, "bee").summary()[2:]
    assert lines == [
        "2 prompts (5.0%) are unlike anything in training",
        "expected cost of all: 1.25 (0.03125 a prompt); with bee, the best single expert on "
        "train, alone: 5; "
        "with the cheapest for each: 0.5",
    ]
    twice = Done(tally.plus(tally), 0, 2.0, [], {"ant": 1.0, "bee": 2.0}, "bee").summary()[2:]
    assert twice == [
        "4 prompts (5.0%) are unlike anything in training",
        "estimated cost: 80 (ant 80); with bee, the best single expert on train, alone: 160",
    ]


WRONG = [
    (b'{"ant": true}', r"costs\.json: 'ant' has the cost True"),
    (b'{"ant": -1}', r"costs\.json: 'ant' has the cost -1"),
    (b"{}", r"costs\.json: 'ant' has the cost None; expected a number from 0$"),
    (b"[1]", r"costs\.json: expected a JSON object, found list"),
    (b"\xff", r"costs\.json: 'utf-8' codec"),
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
