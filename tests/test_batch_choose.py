"""Decisions on prompts: each computed once, the last ones remembered, in bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import EXPERTS
from zooter_lite.bulk import choose as choose_module
from zooter_lite.bulk.block import Settings
from zooter_lite.bulk.choose import Chooser, FallbackCells
from zooter_lite.errors import DataError, RouterError
from zooter_lite.router.router import Router

PROMPTS = [f"{a} {b}" for a in ("one", "two", "three", "four") for b in ("five", "six", "seven")]


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
    found = Chooser(Settings(str(toy), all_probabilities=True)).choose(PROMPTS)
    decisions = Router.load(toy).route(PROMPTS)
    assert list(found) == PROMPTS
    for decision, cells in zip(decisions, found.values(), strict=True):
        assert cells[0] == decision.expert
        assert cells[1] == pytest.approx(decision.probability, abs=2e-6)
        assert cells[2:] == pytest.approx(list(decision.probabilities.values()), abs=2e-6)
        assert max(cells[2:]) == cells[1]
    assert {len(f"{cells[1]}") <= 8 for cells in found.values()} == {True}


def test_each_prompt_is_computed_once(toy: Path, computed: list[list[str]]) -> None:
    chooser = Chooser(Settings(str(toy)))
    first = chooser.choose(PROMPTS * 3)
    assert computed == [PROMPTS]
    second = chooser.choose([*PROMPTS[:3], "new", *PROMPTS[:3]])
    assert computed[1:] == [["new"]]
    assert {prompt: second[prompt] for prompt in PROMPTS[:3]} == {
        prompt: first[prompt] for prompt in PROMPTS[:3]
    }
    assert chooser.choose(PROMPTS[5:6]) == {PROMPTS[5]: first[PROMPTS[5]]}
    assert len(computed) == 2
    assert chooser.choose([]) == {}


@pytest.mark.parametrize(("name", "bound"), [("REMEMBERED", 5), ("REMEMBERED_CHARACTERS", 48)])
def test_what_is_remembered_is_bounded(
    toy: Path, computed: list[list[str]], monkeypatch: pytest.MonkeyPatch, name: str, bound: int
) -> None:
    monkeypatch.setattr(choose_module, name, bound)
    chooser = Chooser(Settings(str(toy)))
    whole = chooser.choose(PROMPTS)
    assert len(whole) == len(PROMPTS)
    assert len(chooser._recent) == (5 if name == "REMEMBERED" else len(chooser._recent))
    assert sum(map(len, chooser._recent)) == chooser._characters
    assert chooser._characters <= 48
    assert list(chooser._recent) == PROMPTS[-len(chooser._recent) :]
    assert 3 < len(chooser._recent) < 7
    assert chooser.choose(PROMPTS) == whole  # forgetting changes no answer
    assert set(computed[1]).isdisjoint(PROMPTS[-3:])
    chooser.choose(["x" * 100])
    assert chooser._characters <= (48 if name == "REMEMBERED_CHARACTERS" else 200)


def test_the_fallback_gets_what_is_below_the_least(toy: Path) -> None:
    plain = Chooser(Settings(str(toy), all_probabilities=True)).choose(PROMPTS)
    least = float(np.median([cells[1] for cells in plain.values()]))
    settings = Settings(str(toy), all_probabilities=True, fallback=EXPERTS[2], least=least)
    found = Chooser(settings).choose(PROMPTS)
    low = [prompt for prompt in PROMPTS if plain[prompt][1] < least]
    assert 2 < len(low) < 10
    for prompt, cells in found.items():
        assert isinstance(cells, FallbackCells) == (prompt in low)
        assert cells[2:] == plain[prompt][2:]
        if prompt in low:
            assert tuple(cells[:2]) == (EXPERTS[2], plain[prompt][4])
        else:
            assert cells == plain[prompt]


def test_what_a_router_lacks(toy: Path) -> None:
    with pytest.raises(DataError, match=r"^--fallback dog: no such expert; expected ant, bee"):
        Chooser(Settings(str(toy), fallback="dog", least=0.5))
    with pytest.raises(RouterError, match=r"no router\.int8\.onnx"):
        Chooser(Settings(str(toy), precision="int8"))
