"""The ablations recipe: what its refits vary, its noise, and the tables that it writes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.ablations import ablate
from tests.helpers import toy_config, toy_head, toy_router
from tests.test_routed import toy_table
from zooter_lite.router.directory.config import LabelSpec
from zooter_lite.table import write_table

PROSE = "The quick brown fox jumps over the lazy dog while 42 birds watch from afar. " * 60


def test_each_refit_varies_one_thing_of_the_papers_head() -> None:
    labels = LabelSpec("auto 8+16+32", temperature=0.5, beta=0.3)
    recipes = ablate.variants(toy_config(toy_head("linear"), labels=labels), given=False)
    base = recipes.pop("KL(label || router)")
    assert (base.head, base.labels, base.kl) == ("linear", "soft", "label-router")
    assert (base.tags, base.temperature, base.beta, base.l2) == ("auto", 0.5, 0.3, None)
    assert list(recipes.values()) == [
        replace(base, labels="hard", beta=1.0),
        replace(base, kl="router-label"),
        *(replace(base, beta=beta) for beta in ablate.BETAS),
    ]


def test_about_one_letter_in_twenty_is_mistyped() -> None:
    after = ablate.typos(PROSE, random.Random(0))
    words = list(zip(PROSE.split(), after.split(), strict=True))
    wrong = sum(one != other for one, other in words) / len(words)
    letters = sum(len(word.strip(".")) for word in PROSE.split()) / len(words)
    assert wrong == pytest.approx(1 - 0.95**letters, abs=0.03)
    assert after.count("42") == 60  # numbers stay


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
