"""What a fit says of its held-out rows: all of a small split, some of a large one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import table, units
from zooter_lite.compare import held_out
from zooter_lite.compare.held_out import conclusion, held_out_slices
from zooter_lite.router.head import Head

SPLITS = ["dev"] * 10 + ["test"] * 50 + ["train"] * 60
EMBEDDINGS = units(120, 4, 0).astype(np.float32)
TABLE = replace(table(EMBEDDINGS[:, :3]), splits=SPLITS)
HEAD = Head(np.eye(3, 4) * 9, np.zeros(3))  # takes the expert with the largest reward


def test_every_split_but_train_is_described() -> None:
    slices, notes = held_out_slices(TABLE, EMBEDDINGS, HEAD, "name", 0)
    assert [(one["name"], one["rows"]) for one in slices] == [("name dev", 10), ("name test", 50)]
    assert notes == []
    router = slices[1]["systems"][0]
    assert router["micro"]["value"] == pytest.approx(TABLE.rewards[10:60].max(axis=1).mean())
    said = conclusion(slices)
    assert said.count("sent to: e") == 2
    assert slices[0]["verdict"] in said


def test_a_large_split_is_evaluated_in_part_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held_out, "MOST_ROWS", 20)
    slices, notes = held_out_slices(TABLE, EMBEDDINGS, HEAD, "name", 0)
    assert [one["rows"] for one in slices] == [10, 20]
    assert notes == [
        "split test: 20 of its 50 rows are evaluated here, drawn at random; "
        "python -m zooter_lite.evaluate takes all"
    ]
    again, _ = held_out_slices(TABLE, EMBEDDINGS, HEAD, "name", 0)
    assert again == slices
