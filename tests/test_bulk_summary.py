"""What a job tells at its end, word for word, and the costs that it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from zooter_lite.bulk.block import Tally
from zooter_lite.bulk.job import Done
from zooter_lite.bulk.work import read_costs
from zooter_lite.errors import DataError


def test_everything() -> None:
    tally = Tally(
        rows=50, empty=3, rejected=7, fallbacks=4, computed=30, cut=2, unread=5, odd=2,
        cost=1.25, cost_single=5.0, cost_cheapest=0.5, experts={"ant": 30, "bee": 10, "cat": 0},
    )  # fmt: skip
    rejects = ["a.rejects.jsonl", "b.rejects.jsonl"]
    assert Done(tally.plus(tally), 50, 2.0, rejects, True, "bee", 256).summary() == [
        "80 rows routed (ant 75%, bee 25%); 6 rows with an empty prompt left unrouted",
        "50 rows in 2.0 s after 50 of an earlier run (25 rows/s)",
        "fallbacks: 8 prompts (10%)",
        "rejected: 14 rows, kept without an expert: a.rejects.jsonl, b.rejects.jsonl",
        "4 of 60 prompts are longer than 256 tokens; what is beyond is not read",
        "10 images or other parts that are no text were not read",
        "4 prompts (5.0%) are unlike anything in training",
        "expected cost of all: 2.5 (0.03125 a prompt); with bee, the best single expert on "
        "train, alone: 10; with the cheapest for each: 1",
    ]
    assert Done(Tally(), 0, 2.0, [], False, "bee", 256).summary() == [
        "0 rows routed (none)",
        "0 rows in 2.0 s (nothing left to do)",
    ]


WRONG = [
    (b'{"ant": true}', r"costs\.json: 'ant' has the cost True"),
    (b'{"ant": -1}', r"costs\.json: 'ant' has the cost -1"),
    (b"{}", r"costs\.json: 'ant' has the cost None; expected a number from 0$"),
    (b"[1]", r"costs\.json: .*expected a JSON object, found list"),
    (b"\xff", r"costs\.json: .*'utf-8' codec"),
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
