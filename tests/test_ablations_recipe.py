"""The ablations recipe: what its refits vary, its noise, and the tables that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.ablations import ablate
from tests.helpers import toy_router
from tests.test_routed import toy_table
from zooter_lite.table import write_table


def test_it_writes_a_table_of_every_refit_and_of_every_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_router(tmp_path / "router")
    write_table(toy_table(), str(tmp_path / "toy.jsonl"))
    suite = '[[table]]\nname = "toy"\ndata = "toy.jsonl"\nrouter = "router"\nsplits = ["test"]'
    (tmp_path / "suite.toml").write_text(suite, "utf-8")
    monkeypatch.setattr(ablate, "BETAS", (0.5,))
    monkeypatch.setattr(ablate, "OUT", tmp_path / "results.md")
    monkeypatch.setenv("ZOOTER_CACHE", str(tmp_path / "cache"))
    ablate.main(str(tmp_path / "suite.toml"), str(tmp_path))
    text = (tmp_path / "results.md").read_text("utf-8")
    refits = ("hard labels", "KL(label \\|\\| router)", "beta 0.5", "linear head, 24 training rows")
    for name in (*refits, *ablate.NOISES):
        assert f"\n| {name} " in text
    assert "Rank correlation of reward entropy" in text
