"""Decisions of a worker: each prompt computed once, the last ones remembered, in bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import EXPERTS
from zooter_lite.bulk import work
from zooter_lite.bulk.options import Options
from zooter_lite.bulk.work import Worker
from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.router import Router

PROMPTS = [f"{a} {b}" for a in ("one", "two", "three", "four") for b in ("five", "six", "seven")]


def worker(toy: Path, **options: Any) -> Worker:
    return Worker(Options(str(toy), "-", "-", **options))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Prompts of each call of the router."""
    calls: list[list[str]] = []
    real = Router.predict_proba

    def watched(self: Router, queries: Any, *args: Any, **options: Any) -> Any:
        calls.append(list(queries))
        return real(self, queries, *args, **options)

    monkeypatch.setattr(Router, "predict_proba", watched)
    return calls


def test_cells_are_what_the_library_decides(toy: Path) -> None:
    choices = worker(toy, all_probabilities=True).choose(PROMPTS)
    assert list(choices) == PROMPTS
    for decision, (cells, fallback) in zip(
        Router.load(toy).route(PROMPTS), choices.values(), strict=True
    ):
        assert cells[0] == decision.expert
        assert cells[1] == pytest.approx(decision.probability, abs=2e-6)
        assert cells[2:] == pytest.approx(list(decision.probabilities.values()), abs=2e-6)
        assert max(cells[2:]) == cells[1] == round(cells[1], 6)
        assert not fallback


def test_each_prompt_is_computed_once_while_it_is_remembered(
    toy: Path, computed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "REMEMBERED", 99)
    here = worker(toy)
    first = here.choose(PROMPTS * 3)
    second = here.choose([*PROMPTS[:3], "new", *PROMPTS[:3]])
    assert [second[prompt] for prompt in PROMPTS[:3]] == [first[prompt] for prompt in PROMPTS[:3]]
    assert computed == [PROMPTS, ["new"]]


def test_the_fallback_gets_what_is_below_the_least(toy: Path) -> None:
    plain = worker(toy, all_probabilities=True).choose(PROMPTS)
    least = float(np.median([choice.cells[1] for choice in plain.values()]))
    options = {"all_probabilities": True, "fallback": EXPERTS[1], "min_probability": least}
    choices = worker(toy, **options).choose(PROMPTS)
    low = [prompt for prompt in PROMPTS if plain[prompt].cells[1] < least]
    assert 2 < len(low) < 10
    for prompt, (cells, fallback) in choices.items():
        assert fallback == (prompt in low)
        assert cells[2:] == plain[prompt].cells[2:]
        if fallback:
            assert cells[:2] == (EXPERTS[1], cells[3])
        else:
            assert cells == plain[prompt].cells


def test_what_a_router_lacks(toy: Path) -> None:
    with pytest.raises(DataError, match=r"^--fallback dog: no such expert; expected ant, bee"):
        worker(toy, fallback="dog", min_probability=0.5)
    with pytest.raises(RouterError, match=r"no router\.int8\.onnx"):
        worker(toy, precision="int8")
