"""recipes/routerarena: the files are those that RouterArena's own check accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.routerarena.predict import main
from tests.consumers import toy_priced
from zooter_lite import Router

DATA = [
    {"prompt_formatted": 'one "two"\n{x}', "global index": "AIME_1"},
    {"prompt_formatted": "three 専門家", "global index": "MMLU_20"},
    {"prompt_formatted": "four five", "global index": "Ethics_justice_3"},
]


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    for folder in ("dataset", "router_inference/config", "router_inference/predictions"):
        (tmp_path / "arena" / folder).mkdir(parents=True)
    files = {"router_data": DATA, "router_data_10": DATA[1:2], "router_robustness": DATA[:1]}
    for name, rows in files.items():
        text = json.dumps(rows, indent=2, ensure_ascii=False)
        (tmp_path / "arena" / "dataset" / f"{name}.json").write_text(text, "utf-8")
    return tmp_path / "arena"


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return Router.load(toy_priced(tmp_path / "toy"))


def predicted(arena: Path, name: str) -> list[dict[str, Any]]:
    text = (arena / "router_inference/predictions" / f"{name}.json").read_text("utf-8")
    entries: list[dict[str, Any]] = json.loads(text)
    return entries


def test_every_query_has_the_routers_choice(arena: Path, router: Router) -> None:
    assert main([str(router.folder), str(arena), "mine", "--point", "economy"]) == 0
    entries = predicted(arena, "mine")
    wanted = router.route([row["prompt_formatted"] for row in DATA], point="economy")
    empty: dict[str, Any] = {"generated_result": None, "cost": None, "accuracy": None}
    assert entries[:3] == [
        {"global index": row["global index"], "prompt": row["prompt_formatted"]}
        | empty
        | {"prediction": decision.expert, "for_optimality": False}
        for row, decision in zip(DATA, wanted, strict=True)
    ]
    others = [name for name in router.experts if name != wanted[1].expert]
    assert entries[3:] == [
        entries[1] | {"prediction": name, "for_optimality": True} for name in others
    ]
    config = json.loads((arena / "router_inference/config/mine.json").read_text("utf-8"))
    assert config == {"pipeline_params": {"router_name": "mine", "models": ["ant", "bee", "cat"]}}


def test_the_other_splits(arena: Path, router: Router) -> None:
    assert main([str(router.folder), str(arena), "mine", "--split", "robustness"]) == 0
    (entry,) = predicted(arena, "mine-robustness")
    assert entry["global index"] == "AIME_1"
    assert main([str(router.folder), str(arena), "mine", "--split", "sub_10"]) == 0
    assert [one["for_optimality"] for one in predicted(arena, "mine")] == [False, True, True]


def test_what_is_wrong_is_told_in_one_line(
    arena: Path, router: Router, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: object) -> str:
        assert main([*map(str, words)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "point 'fast': expected quality" in told(router.folder, arena, "m", "--point", "fast")
    assert "no config.json" in told(arena, arena, "m")
    (arena / "dataset/router_data.json").write_text('[{"prompt": "a"}]')
    line = told(router.folder, arena, "m")
    assert "router_data.json, line 1: expected 'global index' and 'prompt_formatted'" in line
    assert "No such file" in told(router.folder, arena / "none", "m")
