"""What a fit says of its held-out rows: all of a small split, some of a large one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import table, units
from zooter_lite.compare import evaluation
from zooter_lite.compare.evaluation import held_out_report
from zooter_lite.router.head import Head

SPLITS = ["dev"] * 10 + ["test"] * 50 + ["train"] * 60
EMBEDDINGS = units(120, 4, 0).astype(np.float32)
TABLE = replace(table(EMBEDDINGS[:, :3]), splits=SPLITS)
HEAD = Head(np.eye(3, 4) * 9, np.zeros(3))  # takes the expert with the largest reward


def test_every_split_but_train_is_described() -> None:
    report = held_out_report(TABLE, EMBEDDINGS, HEAD, "name", 0)
    assert {key: (one.name, one.rows) for key, one in report.slices.items()} == {
        "dev": ("name dev", 10),
        "test": ("name test", 50),
    }
    assert report.notes == []
    best = TABLE.rewards[10:60].max(axis=1).mean()
    assert report.slices["test"].router.micro.mean == pytest.approx(best)


def test_a_large_split_is_evaluated_in_part_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "MOST_ROWS", 20)
    report = held_out_report(TABLE, EMBEDDINGS, HEAD, "name", 0)
    assert [one.rows for one in report.slices.values()] == [10, 20]
    assert report.notes == [
        "split test: 20 of its 50 rows are evaluated here, drawn at random; "
        "python -m zooter_lite.evaluate takes all"
    ]
    again = held_out_report(TABLE, EMBEDDINGS, HEAD, "name", 0)
    assert again.to_dict() == report.to_dict()
